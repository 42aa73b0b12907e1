//! smcroute as the other party: a receiver that joins what mcr sends, and a router that sends into the segment where mcr joins.

use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};
use netns_tests::{
    daemon::Daemon,
    deadline::{SOON, until},
    needs_root,
    netns::Namespace,
    packet::is_stream,
    probe::{Load, Share},
    raw::Wire,
    rules,
    smcroute::Smcroute,
    topology::{BRIDGES, End, GEN, Link, Network, Topology},
};

const LOAD: Load = Load { first: rules::SENT, streams: 1, rate: 500, size: 128, seconds: 1 };
/// The relay's own address on br1, which its outputs send from.
const OWN: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 1);
/// What another output sends from.
const OTHER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// The line of br1's database that r0 asks for `group` by, where it does.
fn asked(network: &Network, group: Ipv4Addr) -> Result<Option<String>> {
    let text = network.namespace(BRIDGES).run("bridge -d mdb show dev br1")?;
    Ok(text.lines().find(|line| line.contains(&format!("port r0 grp {group} "))).map(str::to_owned))
}

/// Waits until br1's database has r0's line for `group`, or has none.
fn asks(network: &Network, group: Ipv4Addr, wanted: bool) -> Result<()> {
    until("the bridge's database", SOON, || Ok((asked(network, group)?.is_some() == wanted).then_some(())))
}

/// Sends `LOAD` from `e0` of `sender`, all of which mcr is to send on by `outputs` outputs; how many frames of the streams
/// reach r0 from each of [`OWN`] and [`OTHER`].
fn reach(network: &Network, daemon: &Daemon, sender: (&Namespace, &str), outputs: u64) -> Result<[usize; 2]> {
    let before = daemon.stats()?.totals.sent_packets;
    let wire = Wire::open(network.namespace("r0"), "e0")?;
    LOAD.sent(LOAD.send(sender.0, sender.1, Share::Many)?)?;
    let sent = daemon.stats_at_rest()?.totals.sent_packets - before;
    ensure!(sent == LOAD.packets() * outputs, "mcr sent {sent}");
    let frames = wire.received()?;
    let from =
        |source: Ipv4Addr| frames.iter().filter(|frame| is_stream(frame) && frame[26..30] == source.octets()).count();
    Ok([from(OWN), from(OTHER)])
}

/// A receiver by smcroute is sent what it has joined, of whom it has joined it, while it has joined it.
#[test]
fn a_receiver() -> Result<()> {
    needs_root!();
    let all = LOAD.packets() as usize;
    let network = Topology::dual_bridge(1, 1).with_igmp(3).build()?;
    let daemon = Daemon::start(network.relay(), "", &["--iface-in", "v1", "--iface-out", "v2"])?;
    let (group, port) = rules::RECEIVED;
    let mut words = rules::streams(1, "v1", "v2")[0].add();
    words.extend(["--out".into(), format!("v2,group={group},port={port},source={OTHER}")]);
    daemon.done(&words)?;
    let receiver = Smcroute::start(network.namespace("r0"), &["-N"])?;
    let sender = (network.namespace("s0"), "e0");

    for (what, reaching) in [(format!("{group}"), [all, all]), (format!("{OWN} {group}"), [all, 0])] {
        assert_eq!(reach(&network, &daemon, sender, 2)?, [0, 0], "before `join e0 {what}`");
        receiver.done(&format!("join e0 {what}"))?;
        asks(&network, group, true)?;
        assert_eq!(reach(&network, &daemon, sender, 2)?, reaching, "{what}: {:?}", asked(&network, group)?);
        receiver.done(&format!("leave e0 {what}"))?;
        asks(&network, group, false)?;
        assert_eq!(reach(&network, &daemon, sender, 2)?, [0, 0], "after `leave e0 {what}`");
    }
    Ok(())
}

/// smcroute on either side: gen, a router, the bridge that asks mcr's host, mcr, the other bridge, a receiver.
#[test]
fn a_router() -> Result<()> {
    needs_root!();
    let mut topology = Topology::dual_bridge(1, 1);
    topology.namespaces.push(GEN.into());
    let ends = [End::sender(GEN, "v0", "10.3.0.1/24"), End::host("s0", "e1", "10.3.0.2/24")];
    topology.links.push(Link { queues: 1, ends });
    let network = topology.build()?;
    let router = Smcroute::start(network.namespace("s0"), &[])?;
    router.done(&format!("add e1 10.3.0.1 {} e0", rules::SENT.0))?;
    let receiver = Smcroute::start(network.namespace("r0"), &["-N"])?;
    receiver.done(&format!("join e0 {}", rules::RECEIVED.0))?;
    asks(&network, rules::RECEIVED.0, true)?;
    let sender = (network.namespace(GEN), "v0");

    // All is routed into mcr's segment, and none of it comes as long as mcr's host has not asked.
    let daemon = Daemon::start(network.relay(), "", &["--iface-in", "v1", "--iface-out", "v2"])?;
    let wire = Wire::open(network.relay(), "v1")?;
    assert_eq!(reach(&network, &daemon, sender, 0)?, [0, 0]);
    assert_eq!(wire.received()?.iter().filter(|frame| is_stream(frame)).count(), 0);
    assert_eq!(routed(&network)?, LOAD.packets());

    daemon.done(&rules::streams(1, "v1", "v2")[0].add())?;
    until("mcr's port in the bridge's database", SOON, || {
        let text = network.namespace(BRIDGES).run("bridge mdb show dev br0")?;
        Ok(text.contains(&format!("port v1 grp {}", rules::SENT.0)).then_some(()))
    })?;
    assert_eq!(reach(&network, &daemon, sender, 1)?, [LOAD.packets() as usize, 0]);
    assert_eq!(routed(&network)?, 2 * LOAD.packets());
    Ok(())
}

/// How many packets the kernel has routed in s0, as smcroute told it to.
fn routed(network: &Network) -> Result<u64> {
    let text = network.namespace("s0").run("ip -s mroute show")?;
    let words = text.split_whitespace().zip(text.split_whitespace().skip(1));
    let packets = words.filter(|(_, unit)| unit.starts_with("packets")).map(|(count, _)| count).next();
    packets.context("no route")?.parse().with_context(|| text.clone())
}
