//! However `mcrctl top` ends, its user gets the terminal back: the main screen, a cursor, and keys that are shown.

use std::{os::unix::process::ExitStatusExt, process::Command};

use anyhow::{Context, Result, ensure};
use netns_tests::{
    cgroup::{Grant, Group},
    daemon::{Daemon, Files},
    needs_root, programs, rules,
    terminal::{Left, Terminal, lines},
    topology::{Network, Topology},
};
use nix::sys::signal::Signal::{self, SIGHUP, SIGINT, SIGTERM};

fn start() -> Result<(Network, Daemon)> {
    let network = Topology::chain(1).build()?;
    let daemon = Daemon::start(network.relay(), &rules::file(&rules::streams(2, "v1", "v2")), &[])?;
    Ok((network, daemon))
}

fn command(files: &Files) -> Result<Command> {
    let mut command = Command::new(programs::path("mcrctl")?);
    command.arg("--socket").arg(files.socket()).arg("top");
    Ok(command)
}

/// `top` once it shows `text`, when it has the terminal for itself.
fn shown(files: &Files, text: &str) -> Result<Terminal> {
    let top = Terminal::run(&command(files)?, (80, 24))?;
    let screen = top.until_it_says(text)?;
    ensure!(top.is_taken()?, "{screen:#?}");
    Ok(top)
}

/// SIGINT is how a user ends it; other signals have ended it as they end any program.
fn ends_by(top: Terminal, signal: Signal) -> Result<()> {
    top.signal(signal)?;
    let left = top.ended()?;
    let is_fine = if signal == SIGINT { left.status.success() && left.is_restored } else { left.was_ended_by(signal) };
    ensure!(is_fine, "{signal}: {}", told(&left));
    Ok(())
}

fn told(left: &Left) -> String {
    format!("{}, restored: {}\n{}", left.status, left.is_restored, lines(&left.screen).join("\n"))
}

#[test]
fn after_a_signal() -> Result<()> {
    needs_root!();
    let (_network, daemon) = start()?;
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        ends_by(shown(daemon.files(), "stream-1")?, signal)?;
        let mut on_a_rule = shown(daemon.files(), "stream-1")?;
        on_a_rule.press("\r")?;
        on_a_rule.until_it_says("EXPLAIN")?;
        ends_by(on_a_rule, signal)?;
    }
    Ok(())
}

#[test]
fn after_the_end_of_mcrd() -> Result<()> {
    needs_root!();
    let (_network, daemon) = start()?;
    let mut by_key = shown(daemon.files(), "stream-1")?;
    let by_signal = shown(daemon.files(), "stream-1")?;
    let files = daemon.kill()?;
    for top in [&by_key, &by_signal] {
        top.until_it_says("waiting for mcrd")?;
    }
    by_key.press("q")?;
    by_key.ended()?.in_order()?;
    ends_by(by_signal, SIGTERM)?;
    // And where no mcrd was there at any time.
    let mut alone = shown(&files, "waiting for mcrd")?;
    alone.press("q")?;
    alone.ended()?.in_order()?;
    Ok(())
}

/// Its last words have nowhere to go then. It ends as any program whose terminal hangs up, or says that the terminal failed.
#[test]
fn after_the_end_of_its_terminal() -> Result<()> {
    needs_root!();
    let (_network, daemon) = start()?;
    for _ in 0..3 {
        let status = shown(daemon.files(), "stream-1")?.hung_up()?;
        ensure!(status.signal() == Some(SIGHUP as i32) || status.code() == Some(1), "{status}");
    }
    Ok(())
}

/// std panics where a thread cannot be started. The last thread starts when `top` has the terminal already.
#[test]
fn after_a_panic() -> Result<()> {
    needs_root!();
    let (_network, daemon) = start()?;
    let mut panicked_on_its_screen = false;
    for threads in 1..=4 {
        let Some(group) = Group::create(&format!("threads-{threads}"), Grant::Threads(threads))? else {
            eprintln!("skipped: this machine has no controller `pids`");
            return Ok(());
        };
        let words = group.words();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let top = Terminal::run(&programs::before(&words, &command(daemon.files())?), (80, 24))?;
        let left = top.ended().with_context(|| format!("{threads} threads"))?;
        let screen = lines(&left.screen);
        let has_panicked = screen.iter().any(|line| line.contains("failed to spawn thread"));
        ensure!(left.status.code() == Some(101) && has_panicked && left.is_restored, "{threads}: {}", told(&left));
        panicked_on_its_screen |= left.has_been_taken;
    }
    ensure!(panicked_on_its_screen, "no panic came while the terminal was taken: allow more threads");
    Ok(())
}
