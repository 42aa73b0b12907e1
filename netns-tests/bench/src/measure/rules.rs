//! What the number of rules costs: throughput of packets without pattern over all of them, and the XDP program's own run time.

use std::{fs, os::fd::OwnedFd};

use anyhow::{Context, Result, ensure};
use aya::sys::{Stats, enable_stats};
use nix::unistd::Pid;

use super::bench::{Bench, Turns};
use crate::{
    load::stage::{Sender, Trial},
    relay::{Contender, Job},
    results::{Key, What},
};

/// Packets a second while the program's time is taken: no contender loses any.
const CALM: f64 = 100_000.0;
/// Bytes of a frame: the smallest that has a goal, so that the look-up counts for most.
pub const SIZE: u32 = 64;

/// Measures it for mcr, spinning.
///
/// # Errors
/// As [`super::throughput::measure`].
pub fn measure(bench: &mut Bench) -> Result<()> {
    let (rules, repeats, trial) = (bench.plan.rules, bench.plan.others, bench.plan.trial);
    let contenders = bench.who(|contender| contender == Contender::McrLowLatency);
    bench.take_turns(
        Turns { name: "rules", contenders, repeats, seconds: bench.plan.budget.rules },
        |bench, contender, _| {
            for rules in rules {
                let mut running = contender.start(Job { scattered: true, ..Job::of(*rules) })?;
                let key = |what| Key::of(what, contender).streams(*rules).size(SIZE);
                let before = bench.results.median(key(What::Rules)).filter(|rate| *rate > 0.0);
                let rate = bench.lossless(&mut running, SIZE, before)?;
                bench.results.add_rate(key(What::Rules), rate.pps, rate.is_limited);

                let pid = running.pids()[0];
                let counting: OwnedFd =
                    enable_stats(Stats::RunTime).context("the kernel's run times of BPF programs")?;
                let before = run_time(pid)?;
                running.trial(&Trial {
                    size: SIZE,
                    packets: (CALM * trial.max(0.2)) as u32,
                    rate: Some(CALM),
                    sender: Sender::Kernel,
                    every_delay: false,
                })?;
                let after = run_time(pid)?;
                drop(counting);
                ensure!(after.1 > before.1, "the XDP program has not run");
                bench.results.add(key(What::RulesXdp), (after.0 - before.0) as f64 / (after.1 - before.1) as f64);
            }
            Ok(())
        },
    )
}

/// Nanoseconds and runs of the BPF programs that a process holds, each counted once.
fn run_time(pid: Pid) -> Result<(u64, u64)> {
    let mut programs = std::collections::BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        // A descriptor may be closed meanwhile.
        let text = fs::read_to_string(entry?.path()).unwrap_or_default();
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
        if let (Some(id), Some(time), Some(count)) = (field("prog_id:"), field("run_time_ns:"), field("run_cnt:")) {
            programs.insert(id, (time, count));
        }
    }
    ensure!(!programs.is_empty(), "process {pid} holds no BPF program");
    Ok(programs.values().fold((0, 0), |(time, count), (t, c)| (time + t, count + c)))
}
