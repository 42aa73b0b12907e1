//! The smallest bench: that it runs, finds figures, writes them, says what it left out, and leaves nothing behind.

use std::{fs, process::Command, thread::sleep, time::Duration};

use anyhow::{Context, Result};
use netns_tests::{
    deadline::{SOON, until},
    needs_root,
    process::{Process, run},
};
use nix::sys::signal::Signal;
use serde_json::Value;

/// Minutes, where the machine is busy with other things.
const LIMIT: Duration = Duration::from_secs(240);

fn bench(words: &str, out: &std::path::Path) -> Result<Process> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mcr-bench"));
    Process::spawn(command.args(words.split(' ')).arg("--out").arg(out))
}

/// Namespaces that a process made.
fn namespaces(pid: nix::unistd::Pid) -> Result<Vec<String>> {
    let list = run(Command::new("ip").args(["netns", "list"]))?;
    let own = format!("mcrt-{pid}-");
    Ok(list.lines().filter(|name| name.starts_with(&own)).map(str::to_owned).collect())
}

#[test]
fn one_contender_is_measured_and_reported() -> Result<()> {
    needs_root!();
    let out = tempfile::tempdir()?;
    let process = bench("--quick --only mcr-efficient --measure latency cpu control rest", out.path())?;
    let pid = process.pid();
    let finished = process.wait(LIMIT)?.success()?;
    assert!(finished.stdout.contains("LEFT OUT: socat: not asked for"), "{}", finished.told());
    assert_eq!(namespaces(pid)?, Vec::<String>::new());

    let results: Value = serde_json::from_str(&fs::read_to_string(out.path().join("results.json"))?)?;
    let figures = results["figures"].as_array().context("figures")?;
    let median = |what: &str, contender: &str| {
        let of = figures.iter().find(|figure| figure["what"] == what && figure["contender"] == contender);
        of.and_then(|figure| figure["median"].as_f64()).with_context(|| format!("no {what} of {contender}: {results}"))
    };
    for what in ["latency_p50", "latency_p99", "add", "reload", "resident", "pinned"] {
        assert!(median(what, "mcr-efficient")? > 0.0, "{what}");
    }
    // The wire is measured as what CPU is held against.
    assert!(median("cpu", "wire")? > 0.0);
    median("cpu", "mcr-efficient")?;
    let goals = results["goals"].as_array().context("goals")?;
    assert!(goals.iter().any(|goal| goal["met"].is_boolean()) && goals.iter().any(|goal| goal["met"].is_null()));

    let lines = fs::read_to_string(out.path().join("results.csv"))?.lines().count();
    assert_eq!(lines, figures.len() + 1);
    assert!(fs::read_to_string(out.path().join("index.html"))?.contains("<svg"));
    assert!(fs::read_to_string(out.path().join("cpu.svg"))?.starts_with("<svg"));
    Ok(())
}

#[test]
fn interrupted_it_cleans_up() -> Result<()> {
    needs_root!();
    let out = tempfile::tempdir()?;
    let process = bench("--only mcr-efficient --measure latency", out.path())?;
    let pid = process.pid();
    until("a network of the bench", SOON, || Ok((namespaces(pid)?.len() == 3).then_some(())))?;
    sleep(Duration::from_millis(500));
    process.signal(Signal::SIGINT)?;
    let finished = process.wait(LIMIT)?.exited(1)?;
    assert!(finished.stderr.contains("interrupted: everything is cleaned up"), "{}", finished.told());
    assert_eq!(namespaces(pid)?, Vec::<String>::new());
    Ok(())
}
