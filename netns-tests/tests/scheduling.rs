//! Where workers run, what they leave to others, and what is said of it.

use anyhow::{Context, Result, ensure};
use netns_tests::{
    cgroup::{Grant, Group},
    daemon::{Daemon, Files},
    needs_root, rules,
    threads::{self, Thread},
    topology::Topology,
};
use serde_json::Value;

/// What a daemon that was started so says and is.
struct Seen {
    status: Value,
    warnings: String,
    log: String,
    workers: Vec<Thread>,
    others: Vec<Thread>,
}

/// Starts a daemon with two rules by `words`, lets it answer, and stops it.
fn started(words: &[&str], config: &str, flags: &[&str]) -> Result<Seen> {
    let network = Topology::chain(2).build()?;
    let config = format!("{config}\n{}", rules::file(&rules::streams(2, "v1", "v2")));
    let daemon = Daemon::start_by(words, Files::new(&config)?, network.relay(), flags)?;
    let status: Value = serde_json::from_str(&daemon.done(&["--json", "status"])?)?;
    let (workers, others) =
        threads::of(daemon.pid())?.into_iter().partition(|thread| thread.name.starts_with("mcr-worker"));
    let seen = Seen { warnings: status["warnings"].to_string(), status, log: daemon.log(), workers, others };
    daemon.stop()?;
    Ok(seen)
}

impl Seen {
    /// Whether so many of the workers spin, and the warning says why not more.
    fn spins(&self, spinning: u64, why: &str) -> Result<()> {
        let Self { status, warnings, log, workers, others } = self;
        ensure!(status["scheduling"]["spinning"] == spinning, "{status}");
        for text in [warnings, log] {
            ensure!(text.contains("profile low-latency: ") != why.is_empty() && text.contains(why), "{why:?}: {text}");
        }
        // Each on a CPU of its own, where none of the daemon's other threads runs.
        let bound: Vec<&str> = status["workers"]
            .as_array()
            .context("no workers")?
            .iter()
            .filter_map(|worker| worker["cpu"].as_u64())
            .map(|cpu| workers.iter().map(|thread| &*thread.cpus).find(|cpus| *cpus == cpu.to_string()))
            .map(|found| found.context("a worker that spins is not bound"))
            .collect::<Result<_>>()?;
        ensure!(bound.len() as u64 == spinning, "{status}, {workers:?}");
        ensure!(others.iter().all(|thread| !bound.contains(&&*thread.cpus)), "{bound:?}, {others:?}");
        Ok(())
    }
}

/// CPUs of this machine that tests may use.
fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[test]
fn a_worker_spins_where_a_cpu_is_left_to_others() -> Result<()> {
    needs_root!();
    ensure!(cpus() >= 2, "this needs two CPUs");
    let low_latency = ["--profile", "low-latency"];
    let with = |workers| [&low_latency[..], &["--workers", workers]].concat();
    started(&["taskset", "-c", "0,1"], "", &with("1"))?.spins(1, "")?;
    // As many as find room.
    started(&["taskset", "-c", "0,1"], "", &low_latency)?.spins(1, "")?;
    started(&["taskset", "-c", "0,1"], "", &with("2"))?.spins(1, "restart it with --workers 1")?;
    started(&["taskset", "-c", "1"], "", &low_latency)?.spins(0, "it may run on 1 CPU (1)")?;
    started(&["taskset", "-c", "0"], "", &with("2"))?.spins(0, "it may run on 1 CPU (0)")
}

#[test]
fn a_control_group_is_asked_for_its_cpus_and_its_quota() -> Result<()> {
    needs_root!();
    ensure!(cpus() >= 2, "this needs two CPUs");
    for (label, grant, why) in [
        ("cpus", Grant::Cpus("1"), "it may run on 1 CPU (1)"),
        ("quota", Grant::Quota(100_000), "its control group grants it the time of 1 CPU (cpu.max)"),
        ("half", Grant::Quota(50_000), "its control group grants it the time of 1 CPU (cpu.max)"),
    ] {
        let Some(group) = Group::create(label, grant)? else {
            eprintln!("{label}: this machine has no such controller");
            continue;
        };
        let words = group.words();
        // `ip netns exec` hides control groups from what it starts.
        let entered = ["sh", "-ec", "shift 3; exec nsenter --net=/run/netns/\"$@\"", "sh"];
        let words: Vec<&str> = words.iter().map(String::as_str).chain(entered).collect();
        started(&words, "", &["--profile", "low-latency"])?.spins(0, why)?;
    }
    Ok(())
}

#[test]
fn the_reserve_is_what_the_file_or_the_flag_says() -> Result<()> {
    needs_root!();
    for (config, flags, reserve) in [
        ("", &[][..], 5),
        ("[datapath]\ncpu_reserve = \"20%\"\n", &[], 20),
        ("[datapath]\ncpu_reserve = \"20%\"\n", &["--cpu-reserve", "0%"], 0),
    ] {
        let seen = started(&[], config, flags)?;
        ensure!(seen.status["scheduling"]["cpu_reserve_percent"] == reserve, "{}", seen.status);
        ensure!(seen.log.contains(&format!("{reserve}% of each one's CPU is left to others")), "{}", seen.log);
        ensure!(seen.workers.iter().all(|thread| thread.nice == -20), "{:?}", seen.workers);
    }
    Ok(())
}

/// A worker that spins has a priority at which the kernel's own threads of its CPU keep the reserve.
#[test]
fn a_spinning_worker_leaves_the_reserve_by_its_nice_value() -> Result<()> {
    needs_root!();
    ensure!(cpus() >= 2, "this needs two CPUs");
    for (words, reserve, nice) in
        [(&[][..], "5%", -13), (&[], "25%", -5), (&[], "0%", -20), (&["nice", "-n", "-15"], "5%", -15)]
    {
        let flags = ["--profile", "low-latency", "--workers", "1", "--cpu-reserve", reserve];
        let words = [words, &["taskset", "-c", "0,1"]].concat();
        let seen = started(&words, "", &flags)?;
        ensure!(seen.workers.iter().all(|thread| thread.nice == nice), "{reserve}: {:?}", seen.workers);
    }
    Ok(())
}

#[test]
fn without_the_privilege_it_runs_and_says_so() -> Result<()> {
    needs_root!();
    let seen = started(&["setpriv", "--bounding-set", "-sys_nice", "--inh-caps", "-sys_nice"], "", &[])?;
    ensure!(seen.log.contains("nice -20: ") && seen.log.contains("give mcrd CAP_SYS_NICE"), "{}", seen.log);
    ensure!(seen.workers.iter().all(|thread| thread.nice == 0), "{:?}", seen.workers);
    Ok(())
}

#[test]
fn a_reserve_that_is_none_is_refused() -> Result<()> {
    needs_root!();
    let network = Topology::chain(1).build()?;
    for (config, flags, why) in [
        ("[datapath]\ncpu_reserve = \"51%\"\n", &[][..], "`51%`: write a part of a CPU from \"0%\" to \"50%\""),
        ("[datapath]\ncpu_reserve = 5\n", &[], "it must be a string in quotes"),
        ("", &["--cpu-reserve", "5"], "write a part of a CPU from \"0%\" to \"50%\""),
    ] {
        let files = Files::new(config)?;
        let ended = netns_tests::process::finish(&mut files.command(network.relay(), flags)?)?;
        ensure!(!ended.status.success() && ended.stderr.contains(why), "{}", ended.told());
    }
    Ok(())
}
