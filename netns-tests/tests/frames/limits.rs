//! The limit of frames: what is refused says which limit would do, and wakes when frames are free again.

use std::fs;

use anyhow::{Context, Result, ensure};
use netns_tests::{
    daemon::Daemon,
    deadline::{SOON, until},
    needs_root, rules,
};

use crate::relay::{Relay, all_active, rule};

fn file(frames: &str, rules: &[rules::Rule]) -> String {
    format!("[limits]\nframes = {frames}\n\n{}", rules::file(rules))
}

/// The limit that a state names.
fn named(state: &str) -> Result<u64> {
    let number = state.split("[limits] frames = ").nth(1).and_then(|rest| rest.split(' ').next());
    number.and_then(|number| number.parse().ok()).with_context(|| format!("no limit is named in {state:?}"))
}

/// Each limit that is too small names one that is enough, for one pair of interfaces and for five.
#[test]
fn a_limit_that_is_named_is_enough() -> Result<()> {
    needs_root!();
    for (pairs, small) in [(1, 100), (1, 2048), (5, 4096), (5, 9000)] {
        let relay = Relay::new()?;
        relay.link(0..pairs)?;
        let of: Vec<rules::Rule> = (0..pairs).map(|number| rule(number, number)).collect();
        let daemon = Daemon::start(&relay.relay, &file(&small.to_string(), &of), &[])?;
        let states: Vec<String> = daemon.stats()?.rules.into_iter().map(|rule| rule.outcome()).collect();
        let refused = states.iter().find(|state| state.starts_with("waiting")).context("all were started")?;
        ensure!(refused.contains("no frames are left for it"), "{refused}");
        let enough = named(refused)?;
        daemon.stop()?;
        let daemon = Daemon::start(&relay.relay, &file(&enough.to_string(), &of), &[])?;
        all_active(&daemon, pairs).with_context(|| format!("{enough} in place of {small} for {pairs} pairs"))?;
        let worker = daemon.stats()?.workers.remove(0);
        ensure!(worker.frames_limit == enough && worker.frames_total <= enough, "{worker:?}");
        relay.carries(&of[pairs - 1])?;
    }
    Ok(())
}

/// A rule that waits for frames forwards once another rule's interfaces have given theirs back.
#[test]
fn a_rule_that_waits_for_frames_wakes() -> Result<()> {
    needs_root!();
    let relay = Relay::new()?;
    relay.link(0..8)?;
    let daemon = Daemon::start(&relay.relay, &file("8192", &[]), &[])?;
    let mut number = 0;
    let refused = loop {
        let done = daemon.ctl(&rule(number, number).add())?;
        if !done.status.success() {
            break done;
        }
        number += 1;
        ensure!(number < 8, "8192 frames were enough for eight pairs");
    };
    ensure!(refused.stderr.contains("no frames are left for it"), "{}", refused.told());
    // It may be told to wait, and in a file it waits.
    let last = rule(number, number);
    let mut words = last.add();
    words.push("--wait".into());
    daemon.done(&words)?;
    let state = || Ok::<_, anyhow::Error>(daemon.stats()?.rule(&last.name).outcome());
    ensure!(state()?.contains("no frames are left for it"), "{}", state()?);
    let of: Vec<rules::Rule> = (0..=number).map(|number| rule(number, number)).collect();
    fs::write(daemon.files().config(), file("8192", &of))?;
    daemon.done(&["reload"])?;
    ensure!(state()?.contains("no frames are left for it"), "{}", state()?);
    daemon.done(&["rule", "del", "r0"])?;
    until("the last rule to forward", SOON, || Ok((state()? == "forwards").then_some(())))?;
    relay.carries(&last)
}

/// `auto` is a quarter of what there is, and is shown.
#[test]
fn auto_is_a_quarter_of_the_memory() -> Result<()> {
    needs_root!();
    let relay = Relay::new()?;
    relay.link(0..1)?;
    let daemon = Daemon::start(&relay.relay, &rules::file(&[rule(0, 0)]), &["--workers", "1"])?;
    let limit = daemon.stats()?.workers[0].frames_limit;
    let meminfo = fs::read_to_string("/proc/meminfo")?;
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")).context("MemTotal")?;
    let total: u64 = total.trim().trim_end_matches(" kB").parse()?;
    ensure!(limit <= total * 1024 / 4 / 2048 && limit >= 1024, "{limit} frames, {total} kB");
    let shown = daemon.done(&["status"])?;
    ensure!(shown.contains(&limit.to_string()) && shown.contains("RX FRAMES"), "{shown}");
    let frames = daemon.stats()?.interface("i0").frames;
    ensure!((frames.rx, frames.tx) == (8192, 2048), "{frames:?}");
    Ok(())
}
