//! Start, stop and sudden death: what remains in the kernel, and how soon the next daemon forwards.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use netns_tests::{
    crossing::Crossing,
    daemon::Daemon,
    deadline::{SOON, until},
    kernel::{self, Held},
    needs_root,
    probe::{Load, Share},
    rules,
    topology::{GEN, Network, SINK, Topology},
};
use nix::sys::signal::Signal;

const LOAD: Load = Load { first: rules::SENT, streams: 2, rate: 2_000, size: 256, seconds: 1 };

/// A chain of two queues, a daemon with two workers, and what the links looked like before it.
fn start() -> Result<(Network, Daemon, String)> {
    let network = Topology::chain(2).build()?;
    // The kernel tells of a carrier up to a second late.
    let links = until("carrier", SOON, || {
        let links = kernel::links(network.relay())?;
        Ok((!links.contains("NO-CARRIER") && !links.contains("state DOWN")).then_some(links))
    })?;
    let daemon = Daemon::start(network.relay(), &rules::file(&rules::streams(2, "v1", "v2")), &["--workers", "2"])?;
    Crossing::of_chain(&network, &LOAD)?.exactly_once(&LOAD)?;
    let during = kernel::links(network.relay())?;
    ensure!(during.contains("prog/xdp"), "no XDP program while it runs:\n{during}");
    Ok((network, daemon, links))
}

/// Programs, maps and links are freed, and every interface is as it was.
fn nothing_is_left(network: &Network, held: &Held, links: &str) -> Result<()> {
    ensure!(held.count("prog") > 0 && held.count("map") > 0, "it held nothing while it ran: {held:?}");
    held.gone()?;
    assert_eq!(kernel::links(network.relay())?, links, "`ip -d link` before and after");
    Ok(())
}

#[test]
fn sigterm_leaves_nothing() -> Result<()> {
    needs_root!();
    let (network, daemon, links) = start()?;
    let held = Held::by(daemon.pid())?;
    let last = daemon.stop()?;
    assert_eq!((last.matched, last.sent), (LOAD.packets(), LOAD.packets()));
    nothing_is_left(&network, &held, &links)
}

#[test]
fn sigint_is_a_clean_stop_too() -> Result<()> {
    needs_root!();
    let (network, daemon, links) = start()?;
    let (held, socket) = (Held::by(daemon.pid())?, daemon.files().socket());
    ensure!(fs::exists(&socket)?);
    daemon.stop_by(Signal::SIGINT)?;
    ensure!(!fs::exists(&socket)?, "the control socket is still there");
    nothing_is_left(&network, &held, &links)
}

#[test]
fn sigkill_leaves_nothing() -> Result<()> {
    needs_root!();
    let (network, daemon, links) = start()?;
    let held = Held::by(daemon.pid())?;
    let _files = daemon.kill()?;
    nothing_is_left(&network, &held, &links)
}

/// The socket's file is still there, and the kernel may not yet have let go of the queues.
#[test]
fn starts_again_within_a_second_after_sigkill() -> Result<()> {
    needs_root!();
    let (network, daemon, _) = start()?;
    let files = daemon.kill()?;
    let killed = Instant::now();
    let daemon = Daemon::start_with(files, network.relay(), &["--workers", "2"])?;
    let took = killed.elapsed();
    ensure!(took < Duration::from_secs(1), "{took:?} until the control socket answered");
    Crossing::of_chain(&network, &LOAD)?.exactly_once(&LOAD)?;
    assert_eq!(daemon.stop()?.sent, LOAD.packets());
    Ok(())
}

#[test]
fn sighup_reloads() -> Result<()> {
    needs_root!();
    let (network, daemon, _) = start()?;
    fs::write(daemon.files().config(), rules::file(&rules::streams(5, "v1", "v2")))?;
    daemon.signal(Signal::SIGHUP)?;
    until("five rules", SOON, || Ok((daemon.stats()?.rules.len() == 5).then_some(())))?;
    let load = Load { streams: 5, ..LOAD };
    Crossing::of_chain(&network, &load)?.exactly_once(&load)?;
    // Counters went on over the reload.
    assert_eq!(daemon.stop()?.sent, 2 * LOAD.packets());
    Ok(())
}

/// What has been taken is sent before the end, and nothing is taken from then on.
#[test]
fn sigterm_under_load_drains() -> Result<()> {
    needs_root!();
    let network = Topology::chain(2).build()?;
    let config = rules::file(&rules::streams(50, "v1", "v2"));
    let daemon = Daemon::start(network.relay(), &config, &["--workers", "2"])?;
    let load = Load { first: rules::SENT, streams: 50, rate: 20_000, size: 256, seconds: 3 };
    let receiver = load.receive(network.namespace(SINK), "v3", rules::RECEIVED, Share::Many)?;
    let sender = load.send(network.namespace(GEN), "v0", Share::Many)?;
    until("a second of it", SOON, || Ok((daemon.stats()?.totals.sent_packets > load.rate).then_some(())))?;
    let last = daemon.stop()?;
    load.sent(sender)?;
    let received = load.received(receiver)?;
    ensure!(last.matched < load.packets(), "all had passed before the signal: {last:?}");
    assert_eq!((last.ingress_dropped, last.sent, last.egress_dropped), (0, last.matched, 0));
    assert_eq!((received.packets, received.duplicated, received.foreign), (last.sent, 0, 0), "{received:?}");
    Ok(())
}
