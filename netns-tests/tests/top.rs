//! `mcrctl top` and `mcrctl stats --watch` in terminals, as their users see them.

use std::process::Command;

use anyhow::{Result, ensure};
use netns_tests::{
    daemon::{Daemon, Files},
    needs_root,
    probe::{Load, Share},
    process::Process,
    programs, rules,
    terminal::Terminal,
    topology::{GEN, Network, Topology},
};
use nix::sys::signal::Signal;

/// An ordinary terminal, and a large one.
const SIZES: [(u16, u16); 2] = [(80, 24), (200, 60)];
const LOAD: Load = Load { first: rules::SENT, streams: 3, rate: 600, size: 256, seconds: 60 };

/// Rules of several states, and the traffic of three of them; one of these sends by an interface that is down.
struct Desk {
    network: Network,
    daemon: Daemon,
    _sender: Process,
}

impl Desk {
    fn set_up() -> Result<Self> {
        let network = Topology::fan(1, 2).build()?;
        network.ip("relay", "link set v4 down")?;
        let mut streams = rules::streams(3, "v1", "v2");
        streams[2].name = "lame".to_owned();
        streams[2].outputs[0].interface = "v4".to_owned();
        // In the order of bytes k-10 stands before k-2; none of these has packets.
        let quiet = (1..=40).map(|number| {
            let mut rule = streams[0].clone();
            rule.name = format!("k-{number}");
            rule.group = std::net::Ipv4Addr::new(239, 9, 9, number);
            rule
        });
        let mut away = streams[0].clone();
        away.name = "away".to_owned();
        away.interface = "nosuch0".to_owned();
        let all: Vec<_> = streams.iter().cloned().chain(quiet).chain([away]).collect();
        let daemon = Daemon::start(network.relay(), &rules::file(&all), &[])?;
        let sender = LOAD.send(network.namespace(GEN), "v0", Share::Many)?;
        Ok(Self { network, daemon, _sender: sender })
    }

    fn run(&self, words: &[&str], size: (u16, u16)) -> Result<Terminal> {
        run(self.daemon.files(), words, size)
    }
}

fn run(files: &Files, words: &[&str], size: (u16, u16)) -> Result<Terminal> {
    let mut command = Command::new(programs::path("mcrctl")?);
    command.arg("--socket").arg(files.socket()).args(words);
    Terminal::run(&command, size)
}

/// Names of the rules on a screen, from the top.
fn names(lines: &[String]) -> Vec<&str> {
    let rules = lines.iter().skip_while(|line| !line.starts_with("RULE")).skip(1);
    rules.filter_map(|line| line.split_whitespace().next()).collect()
}

#[test]
fn rules_are_sorted_filtered_and_looked_into() -> Result<()> {
    needs_root!();
    let desk = Desk::set_up()?;
    for size in SIZES {
        let mut top = desk.run(&["top"], size)?;
        let screen = top.until("the worst first", |lines| {
            names(lines).starts_with(&["lame", "away"])
                && lines[0].contains("1 degraded")
                && lines[0].contains("600 pps")
        })?;
        ensure!(screen[0].contains("44 rules, 1 waiting, 1 degraded"), "{screen:#?}");
        ensure!(screen.last().is_some_and(|line| line.contains("s sort: worst")), "{screen:#?}");
        // Wide terminals have room for reasons.
        ensure!(screen[2].contains("v4") == (size.0 > 80), "{screen:#?}");

        top.press("s")?;
        top.until("the most lost first", |lines| names(lines).first() == Some(&"lame"))?;
        top.press("s")?;
        top.until_it_says("s sort: pps")?;
        let screen = top.until("streams first", |lines| names(lines).len() > 3)?;
        let mut three = names(&screen)[..3].to_vec();
        three.sort_unstable();
        ensure!(three == ["lame", "stream-0", "stream-1"], "{three:?}");
        top.press("sss")?;
        let screen = top.until_it_says("s sort: name")?;
        ensure!(names(&screen).starts_with(&["away", "k-1", "k-2", "k-3"]), "natural order: {screen:#?}");

        top.press("/k-3*")?;
        top.until("a glob", |lines| names(lines).starts_with(&["k-3", "k-30", "k-31"]))?;
        top.press("\x1b/stre\r")?;
        top.until("a part of the name", |lines| names(lines).starts_with(&["stream-0", "stream-1", "s"]))?;
        top.press("\x1b/lame\r\r")?;
        top.until_it_says("degraded: ")?;
        let screen = top.until("what it drops", |lines| {
            lines.iter().any(|line| line.contains("link_down") && !line.ends_with(" 0"))
        })?;
        ensure!(screen.iter().any(|line| line.contains("v4 239.10.1.3:6003")), "{screen:#?}");
        let screen = top.until_it_says("fix: ip link set dev v4 up")?;
        ensure!(screen.iter().any(|line| line == " EXPLAIN"), "{screen:#?}");
        top.press("\x1b")?;
        top.until_it_says("s sort: name")?;
        top.press("?")?;
        top.until_it_says("Ctrl-L")?;
        top.press("x")?;
        top.until_it_says("s sort: name")?;
        top.press("q")?;
        top.ended()?.in_order()?;
    }
    Ok(())
}

/// `explain` of a rule without packets watches for two seconds; other rules can be opened meanwhile.
#[test]
fn explain_delays_nothing() -> Result<()> {
    needs_root!();
    let desk = Desk::set_up()?;
    let mut top = desk.run(&["top"], (80, 24))?;
    top.until_it_says("lame")?;
    top.press("/k-1\r\r")?;
    top.until_it_says("v2 239.10.1.1:6001")?;
    let screen = top.until_it_says("no packet has come")?;
    ensure!(!screen.iter().any(|line| line.contains("nothing is wrong")), "{screen:#?}");
    for (rule, said) in [("stream-0", "nothing is wrong"), ("away", "no interface nosuch0"), ("lame", "dev v4 up")] {
        top.press("\x1b")?;
        top.until_it_says("s sort: worst")?;
        top.press("\x1b")?;
        top.until_it_says("/ filter")?;
        top.press(&format!("/{rule}\r\r"))?;
        let is_open = |lines: &[String]| lines[0] == format!(" {rule}");
        top.until(rule, |lines| is_open(lines) && lines.iter().any(|line| line.contains(said)))?;
    }
    top.press("q")?;
    top.ended()?.in_order()?;
    Ok(())
}

#[test]
fn it_scrolls_freezes_and_fits_every_size() -> Result<()> {
    needs_root!();
    let desk = Desk::set_up()?;
    let mut top = desk.run(&["top"], (80, 24))?;
    top.until_it_says("lame")?;
    top.press("sssss")?;
    top.until_it_says("s sort: name")?;
    // Of 44 rules 21 fit: the cursor moves the others in.
    top.press("G")?;
    top.until("the last rules", |lines| names(lines).contains(&"stream-1") && !names(lines).contains(&"k-2"))?;
    top.press("\x1b[5~\x1b[5~\x1b[5~")?;
    top.until("the first rules", |lines| names(lines).starts_with(&["away", "k-1"]))?;
    top.press("f")?;
    top.until_it_says("FROZEN")?;
    desk.daemon.done(&["rule", "del", "k-1"])?;
    top.press("f")?;
    top.until("the rule to go", |lines| names(lines).starts_with(&["away", "k-2"]))?;
    for (columns, rows) in [(200, 60), (20, 5), (1, 1), (10, 2), (132, 43), (80, 24)] {
        top.resize(columns, rows)?;
        top.press("j\r\x1b?x/lame\r\x1bs\x0c")?;
        if columns >= 20 {
            top.until("as much as fits", |lines| lines.len() == usize::from(rows) && names(lines).len() >= 2)?;
        }
    }
    top.press("\x03")?;
    top.ended()?.in_order()?;
    Ok(())
}

#[test]
fn it_goes_on_when_mcrd_restarts() -> Result<()> {
    needs_root!();
    let Desk { network, daemon, _sender } = Desk::set_up()?;
    let mut top = run(daemon.files(), &["top"], (80, 24))?;
    let watch = run(daemon.files(), &["stats", "--watch", "--sort", "matched"], (80, 24))?;
    top.until_it_says("600 pps")?;
    watch.until_it_says("600 pps")?;
    top.press("/lame\r\r")?;
    top.until_it_says("link_down")?;
    let files = daemon.kill()?;
    top.until_it_says("waiting for mcrd")?;
    watch.until_it_says("waiting for mcrd")?;
    let _daemon = Daemon::start_with(files, network.relay(), &[])?;
    top.until("the rule, again", |lines| {
        let says = |text: &str| lines.iter().any(|line| line.contains(text));
        says("link_down") && !says("waiting for mcrd")
    })?;
    top.press("\x1b\x1b")?;
    top.until_it_says("600 pps")?;
    watch.until_it_says("600 pps")?;
    // Whoever stops it from outside gets the terminal back, and sees that it was the signal.
    top.signal(Signal::SIGTERM)?;
    let left = top.ended()?;
    ensure!(left.was_ended_by(Signal::SIGTERM), "{}, restored: {}", left.status, left.is_restored);
    watch.signal(Signal::SIGINT)?;
    watch.ended()?.in_order()?;
    Ok(())
}

#[test]
fn stats_fit_the_terminal() -> Result<()> {
    needs_root!();
    let desk = Desk::set_up()?;
    for size in SIZES {
        let watch = desk.run(&["stats", "--watch=0.5", "--sort", "dropped"], size)?;
        let screen =
            watch.until("rates", |lines| lines[0].contains("600 pps") && names(lines).first() == Some(&"lame"))?;
        ensure!(screen[0].starts_with("mcrd up ") && screen[1].starts_with("RULE "), "the header stays: {screen:#?}");
        ensure!(screen[2].contains("degraded"), "{screen:#?}");
        let more = "... and 23 more: --limit, --sort, mcrctl top";
        ensure!(screen.last().is_some_and(|line| line == more) == (size.1 == 24), "{screen:#?}");
        watch.signal(Signal::SIGINT)?;
        watch.ended()?.in_order()?;
    }
    // By name, a glob, and a limit: totals are those of what is shown.
    let shown = desk.daemon.done(&["--json", "stats", "k-?", "--limit", "3"])?;
    let stats: netns_tests::stats::Stats = serde_json::from_str(&shown)?;
    let names: Vec<&str> = stats.rules.iter().map(|rule| rule.name.as_str()).collect();
    ensure!(names == ["k-1", "k-2", "k-3"] && stats.totals.matched_packets == 0, "{stats:?}");
    let text = desk.daemon.done(&["stats", "stream-*"])?;
    ensure!(text.contains("pass_no_rule") && text.contains("pass_vlan") && !text.contains("MEMBERSHIP"), "{text}");
    for (words, code, said) in [
        (&["stats", "nosuch-*"][..], 1, "no rule matches nosuch-*"),
        (&["stats", "--watch", "5"], 1, "--watch=5"),
        (&["stats", "--interval", "5"], 2, "--watch=5"),
        (&["stats", "--watch=fast"], 2, "--watch=5"),
        (&["top"], 2, "mcrctl stats --watch"),
        (&["--json", "top"], 2, "stats --watch"),
    ] {
        let finished = desk.daemon.ctl(words)?.exited(code)?;
        ensure!(finished.stderr.contains(said), "{}", finished.told());
    }
    Ok(())
}
