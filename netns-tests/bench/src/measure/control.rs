//! What changing rules takes, as its user waits for it: whole commands.

use std::{fs, process::Command, time::Instant};

use anyhow::{Context, Result, ensure};
use netns_tests::{daemon::Daemon, programs, rules};

use super::bench::{Bench, Turns};
use crate::{
    relay::{Contender, Job, rules_of},
    results::{Key, What},
};

/// Measures `mcrctl rule add`, one after the other, and `mcrctl reload` to the largest number of rules.
///
/// # Errors
/// As [`super::throughput::measure`].
pub fn measure(bench: &mut Bench) -> Result<()> {
    let (adds, most, repeats) =
        (bench.plan.adds, bench.plan.rules.iter().copied().max().unwrap_or(1), bench.plan.others);
    let contenders = bench.who(|contender| contender == Contender::McrEfficient);
    bench.take_turns(
        Turns { name: "control", contenders, repeats, seconds: bench.plan.budget.control },
        |bench, contender, _| {
            // The first rule is there, so both interfaces are.
            let running = contender.start(Job::of(1))?;
            let daemon = running.daemon.as_ref().context("mcr has a daemon")?;
            let all = rules_of(Job::of(most.max(adds + 1)));
            for rule in &all[1..=adds as usize] {
                let milliseconds = timed(daemon, &rule.add())?;
                bench.results.add(Key::of(What::Add, contender), milliseconds);
            }
            fs::write(daemon.files().config(), rules::file(&all[..1]))?;
            timed(daemon, &["reload".to_owned()])?;
            fs::write(daemon.files().config(), rules::file(&all))?;
            let milliseconds = timed(daemon, &["reload".to_owned()])?;
            bench.results.add(Key::of(What::Reload, contender).streams(most), milliseconds);
            Ok(())
        },
    )
}

/// Milliseconds that `mcrctl` takes, which must succeed.
fn timed(daemon: &Daemon, words: &[String]) -> Result<f64> {
    let mut command = Command::new(programs::path("mcrctl")?);
    command.arg("--socket").arg(daemon.files().socket()).args(words);
    let start = Instant::now();
    let output = command.output().context("mcrctl")?;
    let milliseconds = start.elapsed().as_secs_f64() * 1e3;
    ensure!(output.status.success(), "mcrctl {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr));
    Ok(milliseconds)
}
