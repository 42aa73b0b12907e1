//! `cargo xtask picture`: the real screen of `mcrctl top`, as an SVG for the documentation.

mod svg;

use std::{
    fs,
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use netns_tests::{
    daemon::Daemon,
    probe::{Load, Share},
    process::Process,
    programs, rules,
    terminal::Terminal,
    topology::{GEN, Network, RELAY, Topology},
};

use crate::{build, root, step, workspace};

/// Columns and rows of the terminal.
const SIZE: (u16, u16) = (100, 24);
/// Seconds of traffic before the picture is taken: as many as the history has columns.
const EXPOSURE: u64 = 45;
/// Seven packets of an MPEG transport stream, and a frame that is too long for eth3.
const FRAME: u32 = 1_370;
const LONG: u32 = 1_450;
const MTU: u32 = 1_400;

/// A channel: its packets a second, and the seconds of the exposure from which and to which it sends.
const CHANNELS: [(&str, u64, u64, u64); 19] = [
    ("news-hd", 730, 0, 90),
    ("news-intl", 365, 0, 90),
    ("sport-1-hd", 910, 0, 90),
    (DOWN, 910, 0, 90),
    ("sport-3-uhd", 2_280, 14, 90),
    ("movies-hd", 820, 0, 90),
    (LOSING, 2_370, 0, 90),
    ("series-hd", 730, 0, 90),
    ("docu-hd", 640, 8, 90),
    ("kids-1", 455, 0, 90),
    ("kids-2", 455, 27, 90),
    ("music-hd", 640, 0, 90),
    ("region-north", 365, 0, 90),
    ("region-south", 365, 0, 90),
    ("parliament", 275, 0, 24),
    ("weather", 180, 0, 90),
    ("radio-mux", 140, 0, 90),
    ("backup-1", 0, 0, 0),
    (ABSENT, 0, 0, 0),
];
/// Sends by an interface that is down; loses what is too long; comes from an interface that is not there.
const DOWN: &str = "sport-2-hd";
const LOSING: &str = "movies-uhd";
const ABSENT: &str = "studio-link";

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
    let network = network()?;
    let daemon = Daemon::start(network.relay(), &rules::file(&channels()), &[])?;
    let mut command = Command::new(programs::path("mcrctl")?);
    command.arg("--socket").arg(daemon.files().socket()).arg("top");
    let mut top = Terminal::run(&command, SIZE)?;
    let senders = expose(&network)?;
    let screen = top.until("the states of the rules", |lines| lines[0].contains("1 degraded"));
    screen.and(top.until_it_says(LOSING))?;
    let picture = svg::drawn(&top.screen());
    drop(senders);
    top.press("q")?;
    top.ended()?.in_order()?;
    let path = workspace::root().join("docs/charts/top.svg");
    fs::write(&path, picture)?;
    println!("{}", path.display());
    Ok(())
}

/// A fan whose relay has eth0 for receiving, eth1 to eth3 for sending, of which eth2 is down.
fn network() -> Result<Network> {
    let mut topology = Topology::fan(1, 3);
    for (number, link) in topology.links.iter_mut().enumerate() {
        for end in link.ends.iter_mut().filter(|end| end.namespace == RELAY) {
            end.name = format!("eth{number}");
        }
    }
    let network = topology.build()?;
    network.ip("relay", "link set eth2 down")?;
    network.ip("relay", &format!("link set eth3 mtu {MTU}"))?;
    Ok(network)
}

fn channels() -> Vec<rules::Rule> {
    let mut all = rules::streams(CHANNELS.len() as u16, "eth0", "eth1");
    for (rule, (name, ..)) in all.iter_mut().zip(CHANNELS) {
        rule.name = name.to_owned();
        match name {
            DOWN => rule.outputs[0].interface = "eth2".to_owned(),
            LOSING => rule.outputs[0].interface = "eth3".to_owned(),
            ABSENT => rule.interface = "eth7".to_owned(),
            _ => {}
        }
    }
    all
}

/// Sends each channel in its time, and returns at the end of the exposure.
fn expose(network: &Network) -> Result<Vec<Process>> {
    let send = |number: usize, rate: u64, size: u32, seconds: u64| {
        let load = Load { first: rules::stream(rules::SENT, number as u16), streams: 1, rate, size, seconds };
        load.send(network.namespace(GEN), "v0", Share::Many)
    };
    let (begun, mut senders) = (Instant::now(), Vec::new());
    for second in 0..EXPOSURE {
        for (number, (name, rate, from, to)) in CHANNELS.into_iter().enumerate() {
            if rate > 0 && from == second {
                senders.push(send(number, rate, FRAME, to - from)?);
                if name == LOSING {
                    senders.push(send(number, rate / 50, LONG, to - from)?);
                }
            }
        }
        sleep((Duration::from_secs(second + 1)).saturating_sub(begun.elapsed()));
    }
    Ok(senders)
}
