//! `cargo xtask picture`: the real screen of `mcrctl top`, as an SVG for the documentation.

use std::{fmt::Write, fs, process::Command, thread::sleep, time::Duration};

use anyhow::{Result, ensure};
use netns_tests::{
    daemon::Daemon,
    probe::{Load, Share},
    programs, rules,
    terminal::Terminal,
    topology::{GEN, Topology},
};

use crate::{build, root, step, workspace};

/// Columns and rows of the terminal.
const SIZE: (u16, u16) = (110, 22);
/// Traffic before the picture is taken, so that the history is full.
const EXPOSURE: Duration = Duration::from_secs(25);
const STREAMS: Load = Load { first: rules::SENT, streams: 12, rate: 24_000, size: 1_370, seconds: 60 };
/// Pixels of a cell, and of the letters in it.
const CELL: (f64, f64) = (8.4, 18.0);
const LETTERS: f64 = 14.0;
const MARGIN: f64 = 10.0;
/// Black to white, and the bright ones (xterm's).
const COLOURS: [&str; 16] = [
    "#1e1e1e", "#f14c4c", "#23d18b", "#e5e510", "#3b8eea", "#d670d6", "#29b8db", "#d4d4d4", "#8a8a8a", "#f14c4c",
    "#23d18b", "#f5f543", "#3b8eea", "#d670d6", "#29b8db", "#ffffff",
];
const INK: usize = 7;
const PAPER: usize = 0;

/// Builds, and takes the picture as root.
///
/// # Errors
///
/// Something does not build, or root is not to be had.
pub fn run() -> Result<()> {
    let programs = build::debug()?;
    let mut command = root::command("to make network namespaces", std::env::current_exe()?)?;
    command.arg("picture-as-root").env(programs::DIRECTORY, programs);
    let status = command.status()?;
    ensure!(status.success(), "{}: {status}", step::line(&command));
    Ok(())
}

/// Runs mcrd with rules of several states under traffic, and draws what `top` shows into docs/charts/top.svg.
///
/// # Errors
///
/// A program does not do what it should, or the file cannot be written.
pub fn take() -> Result<()> {
    let network = Topology::fan(1, 3).build()?;
    let mut all = rules::streams(STREAMS.streams + 4, "v1", "v2");
    for (number, rule) in all.iter_mut().enumerate() {
        rule.name = format!("court-{}", number + 1);
    }
    // Sends by an interface that is down; waits for one that is not there; the last four have no packets.
    all[4].outputs[0].interface = "v4".to_owned();
    all[9].interface = "eth7".to_owned();
    network.ip("relay", "link set v4 down")?;
    let daemon = Daemon::start(network.relay(), &rules::file(&all), &[])?;
    let _sender = STREAMS.send(network.namespace(GEN), "v0", Share::Many)?;
    let mut command = Command::new(programs::path("mcrctl")?);
    command.arg("--socket").arg(daemon.files().socket()).arg("top");
    let mut top = Terminal::run(&command, SIZE)?;
    top.until_it_says("1 degraded")?;
    sleep(EXPOSURE);
    let svg = drawn(&top.screen());
    top.press("q")?;
    top.ended()?.in_order()?;
    let path = workspace::root().join("docs/charts/top.svg");
    fs::write(&path, svg)?;
    println!("{}", path.display());
    Ok(())
}

/// The screen as SVG: a text for each run of cells that look alike.
fn drawn(screen: &vt100::Screen) -> String {
    let (columns, rows) = (f64::from(SIZE.0), f64::from(SIZE.1));
    let (width, height) = (columns * CELL.0 + 2.0 * MARGIN, rows * CELL.1 + 2.0 * MARGIN);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         font-family=\"'DejaVu Sans Mono', Menlo, Consolas, monospace\" font-size=\"{LETTERS}\">\n\
         <title>mcrctl top</title>\n<rect width=\"100%\" height=\"100%\" rx=\"6\" fill=\"{}\"/>\n",
        COLOURS[PAPER]
    );
    for row in 0..SIZE.1 {
        let mut column = 0;
        while column < SIZE.0 {
            let look = look(screen, row, column);
            let end = (column..SIZE.0).find(|at| self::look(screen, row, *at) != look).unwrap_or(SIZE.0);
            run_of_cells(&mut svg, screen, row, column, end, &look);
            column = end;
        }
    }
    svg + "</svg>\n"
}

/// Ink, paper, and whether it is bold.
type Look = (String, String, bool);

fn look(screen: &vt100::Screen, row: u16, column: u16) -> Look {
    let Some(cell) = screen.cell(row, column) else { return (COLOURS[INK].into(), COLOURS[PAPER].into(), false) };
    let (ink, paper) = (colour(cell.fgcolor(), INK), colour(cell.bgcolor(), PAPER));
    if cell.inverse() { (paper, ink, cell.bold()) } else { (ink, paper, cell.bold()) }
}

fn colour(colour: vt100::Color, usual: usize) -> String {
    match colour {
        vt100::Color::Default => COLOURS[usual].to_owned(),
        vt100::Color::Idx(index) => COLOURS.get(usize::from(index)).unwrap_or(&COLOURS[usual]).to_string(),
        vt100::Color::Rgb(red, green, blue) => format!("#{red:02x}{green:02x}{blue:02x}"),
    }
}

fn run_of_cells(svg: &mut String, screen: &vt100::Screen, row: u16, from: u16, to: u16, (ink, paper, bold): &Look) {
    let text: String = (from..to)
        .map(|column| match screen.cell(row, column).map(vt100::Cell::contents) {
            None | Some("") => " ".to_owned(),
            Some(text) => text.replace('&', "&amp;").replace('<', "&lt;"),
        })
        .collect();
    let (x, y) = (MARGIN + f64::from(from) * CELL.0, MARGIN + f64::from(row) * CELL.1);
    let width = f64::from(to - from) * CELL.0;
    // Writing to a String does not fail.
    if paper != COLOURS[PAPER] {
        let _ = writeln!(
            svg,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{}\" fill=\"{paper}\"/>",
            CELL.1
        );
    }
    if !text.trim().is_empty() {
        let weight = if *bold { " font-weight=\"bold\"" } else { "" };
        let base = y + LETTERS;
        let _ = writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{base:.1}\" textLength=\"{width:.1}\" lengthAdjust=\"spacingAndGlyphs\" xml:space=\"preserve\" \
             fill=\"{ink}\"{weight}>{text}</text>"
        );
    }
}
