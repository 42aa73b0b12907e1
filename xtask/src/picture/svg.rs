//! A terminal's screen as SVG.

use std::fmt::Write;

/// Pixels of a cell, and of the letters in it.
const CELL: (f64, f64) = (8.4, 18.0);
const LETTERS: f64 = 14.0;
const MARGIN: f64 = 10.0;
/// Black to white, and the bright ones.
const COLOURS: [&str; 16] = [
    "#1e1e1e", "#f14c4c", "#23d18b", "#e5e510", "#3b8eea", "#d670d6", "#29b8db", "#d4d4d4", "#8a8a8a", "#f14c4c",
    "#23d18b", "#f5f543", "#3b8eea", "#d670d6", "#29b8db", "#ffffff",
];
const INK: usize = 7;
const PAPER: usize = 0;
/// Bars of one to eight eighths of a cell's height. They are drawn: in many fonts they do not fill their cell.
const BARS: std::ops::RangeInclusive<char> = '\u{2581}'..='\u{2588}';

/// The screen: a text for each run of cells that look alike.
pub fn drawn(screen: &vt100::Screen) -> String {
    let (rows, columns) = screen.size();
    let (rows, columns) = (rows.get(), columns.get());
    let width = f64::from(columns) * CELL.0 + 2.0 * MARGIN;
    let height = f64::from(rows) * CELL.1 + 2.0 * MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         font-family=\"'DejaVu Sans Mono', Menlo, Consolas, monospace\" font-size=\"{LETTERS}\">\n\
         <title>mcrctl top</title>\n<rect width=\"100%\" height=\"100%\" rx=\"6\" fill=\"{}\"/>\n",
        COLOURS[PAPER]
    );
    for row in 0..rows {
        let mut column = 0;
        while column < columns {
            let look = look(screen, row, column);
            let end = (column..columns).find(|at| self::look(screen, row, *at) != look).unwrap_or(columns);
            let cells: Vec<char> = (column..end).map(|at| letter(screen, row, at)).collect();
            run_of_cells(&mut svg, (column, row), &cells, &look);
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

fn letter(screen: &vt100::Screen, row: u16, column: u16) -> char {
    screen.cell(row, column).and_then(|cell| cell.contents().chars().next()).unwrap_or(' ')
}

/// Writing to a String does not fail.
fn run_of_cells(svg: &mut String, (column, row): (u16, u16), cells: &[char], (ink, paper, bold): &Look) {
    let left = |at: usize| MARGIN + (f64::from(column) + at as f64) * CELL.0;
    let top = MARGIN + f64::from(row) * CELL.1;
    if paper != COLOURS[PAPER] {
        let (x, width) = (left(0), cells.len() as f64 * CELL.0);
        let _ = writeln!(
            svg,
            "<rect x=\"{x:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{}\" fill=\"{paper}\"/>",
            CELL.1
        );
    }
    let bars: String =
        cells.iter().enumerate().filter(|(_, c)| BARS.contains(c)).map(|(at, c)| bar(left(at), top, *c)).collect();
    if !bars.is_empty() {
        let _ = writeln!(svg, "<path d=\"{bars}\" fill=\"{ink}\"/>");
    }
    let text: Vec<char> = cells.iter().map(|c| if BARS.contains(c) { ' ' } else { *c }).collect();
    let is_ink = |c: &char| *c != ' ';
    let (Some(first), Some(last)) = (text.iter().position(is_ink), text.iter().rposition(is_ink)) else { return };
    let shown: String = text[first..=last].iter().collect();
    let shown = shown.replace('&', "&amp;").replace('<', "&lt;");
    let (x, y, width) = (left(first), top + LETTERS, (last + 1 - first) as f64 * CELL.0);
    let weight = if *bold { " font-weight=\"bold\"" } else { "" };
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" textLength=\"{width:.1}\" lengthAdjust=\"spacingAndGlyphs\" xml:space=\"preserve\" \
         fill=\"{ink}\"{weight}>{shown}</text>"
    );
}

/// A bar as a part of a path; the top of the cell stays free, so that two lines of full bars are two.
fn bar(x: f64, top: f64, bar: char) -> String {
    let eighths = f64::from(u32::from(bar) - u32::from(*BARS.start()) + 1);
    let height = (CELL.1 - 2.0) * eighths / 8.0;
    format!("M{x:.1} {:.1}h{}v-{height:.1}h-{}z", top + CELL.1, CELL.0, CELL.0)
}
