//! VLAN tags that a NIC takes out of packets, or that a veth's peer leaves beside them.

use anyhow::{Result, ensure};
use netns_tests::{
    daemon::{Daemon, Files},
    deadline::{SOON, until},
    needs_root,
    netns::Namespace,
    packet::{Packet, Tag},
    process::finish,
    raw::Wire,
    rules,
    topology::{BRIDGES, End, GEN, Link, Network, RELAY, Role, SINK, Topology},
};

/// Whether an offload is on, by the name that `ethtool -k` has for it.
fn is_on(namespace: &Namespace, interface: &str, offload: &str) -> Result<bool> {
    let shown = namespace.run(&format!("ethtool -k {interface}"))?;
    let value = shown.lines().find_map(|line| line.trim().strip_prefix(offload)?.strip_prefix(": "));
    Ok(value.is_some_and(|value| value.starts_with("on")))
}

fn set(namespace: &Namespace, interface: &str, offload: &str, value: &str) -> Result<()> {
    namespace.run(&format!("ethtool -K {interface} {offload} {value}")).map(drop)
}

/// `status`' warnings.
fn warnings(daemon: &Daemon) -> Result<Vec<String>> {
    let status: serde_json::Value = serde_json::from_str(&daemon.done(&["--json", "status"])?)?;
    Ok(serde_json::from_value(status["warnings"].clone())?)
}

const STRIPS: &str = "rx-vlan-offload";

/// Where it runs: `v1`, an ingress, begins with the offload on; `v2`, an egress, is left alone.
fn start() -> Result<(Network, Daemon)> {
    let network = Topology::chain(1).build()?;
    let relay = network.relay();
    ensure!(is_on(relay, "v1", STRIPS)? && is_on(relay, "v2", STRIPS)?, "veth has it on from the start");
    let daemon = Daemon::start(relay, &rules::file(&rules::streams(1, "v1", "v2")), &[])?;
    ensure!(!is_on(relay, "v1", STRIPS)?, "{}", daemon.log());
    ensure!(is_on(relay, "v2", STRIPS)?, "an egress needs no change");
    Ok((network, daemon))
}

#[test]
fn off_while_it_runs_and_on_again_after() -> Result<()> {
    needs_root!();
    let (network, daemon) = start()?;
    ensure!(daemon.log().contains("v1: rx-vlan-offload is off while mcrd runs"), "{}", daemon.log());
    // An egress becomes an ingress.
    daemon.done(&"rule add --in v2 --group 239.9.9.9 --port 1 --out v1".split(' ').collect::<Vec<_>>())?;
    ensure!(!is_on(network.relay(), "v2", STRIPS)?);
    daemon.stop()?;
    for interface in ["v1", "v2"] {
        ensure!(is_on(network.relay(), interface, STRIPS)?, "{interface} was left as mcrd needs it");
    }
    Ok(())
}

#[test]
fn what_was_off_stays_off() -> Result<()> {
    needs_root!();
    let network = Topology::chain(1).build()?;
    set(network.relay(), "v1", STRIPS, "off")?;
    let daemon = Daemon::start(network.relay(), &rules::file(&rules::streams(1, "v1", "v2")), &[])?;
    daemon.stop()?;
    ensure!(!is_on(network.relay(), "v1", STRIPS)?);
    Ok(())
}

/// SIGKILL leaves it off: said in the documentation, and harmless.
#[test]
fn sigkill_leaves_it_off() -> Result<()> {
    needs_root!();
    let (network, daemon) = start()?;
    daemon.kill()?;
    ensure!(!is_on(network.relay(), "v1", STRIPS)?);
    Ok(())
}

/// The first interface is changed, the second one refused.
#[test]
fn a_start_that_fails_changes_nothing() -> Result<()> {
    needs_root!();
    let network = Topology::chain(1).build()?;
    let held = Daemon::start(network.relay(), "", &["--iface-out", "v2"])?;
    let flags = ["--iface-in", "v1", "--iface-in", "v2"];
    let finished = finish(&mut Files::new("")?.command(network.relay(), &flags)?)?.exited(1)?;
    ensure!(finished.stderr.contains("v2"), "{}", finished.told());
    for interface in ["v1", "v2"] {
        ensure!(is_on(network.relay(), interface, STRIPS)?, "{interface} was left changed: {}", finished.told());
    }
    held.stop()?;
    Ok(())
}

/// `gen (v0)-(p0) bridge (p1)-(v1) relay (v2)-(v3) sink`: a tag that comes in at p0 as bytes lies beside the packet from there on, and
/// p1, where it may, leaves it there.
fn behind_a_bridge() -> Result<Network> {
    let port = |name: &str| {
        let role = Role::Port { bridge: "br0".into(), flood: true };
        End { namespace: BRIDGES.into(), name: name.into(), role }
    };
    let ends = [
        [End::sender(GEN, "v0", "10.1.0.1/24"), port("p0")],
        [port("p1"), End::host(RELAY, "v1", "10.1.0.2/24")],
        [End::host(RELAY, "v2", "10.2.0.1/24"), End::host(SINK, "v3", "10.2.0.2/24")],
    ];
    let network = Topology {
        namespaces: [GEN, BRIDGES, RELAY, SINK].map(String::from).into(),
        bridges: vec![(BRIDGES.into(), "br0".into())],
        links: ends.into_iter().map(|ends| Link { queues: 1, ends }).collect(),
        ..Topology::default()
    }
    .build()?;
    // A querier hands groups that nobody asked for to routers alone.
    network.namespace(BRIDGES).run("ip link set br0 type bridge mcast_snooping 0")?;
    Ok(network)
}

/// Packets of each rule: `untagged`, `tagged`.
fn matched(daemon: &Daemon) -> Result<[u64; 2]> {
    let stats = daemon.stats_at_rest()?;
    Ok(["untagged", "tagged"].map(|name| stats.rule(name).matched_packets))
}

#[test]
fn a_tag_beside_the_packet_is_missed_until_the_peer_puts_it_in() -> Result<()> {
    needs_root!();
    let network = behind_a_bridge()?;
    let daemon = Daemon::start(network.relay(), "", &["--iface-in", "v1", "--iface-out", "v2"])?;
    ensure!(warnings(&daemon)?.is_empty(), "no rule asks for tags: {:?}", warnings(&daemon)?);
    let add = |words: &str| daemon.done(&format!("rule add {words} --out v2").split(' ').collect::<Vec<_>>());
    add("--name untagged --in v1 --group 239.1.1.1 --port 5001")?;
    ensure!(warnings(&daemon)?.is_empty());
    add("--name tagged --in v1 --group 239.1.1.1 --port 5001 --vlan 7")?;
    let told = warnings(&daemon)?;
    // The other one is of the membership that it cannot have.
    let of_peer = told.iter().filter(|line| line.contains("ethtool -K PEER tx-vlan-offload off")).count();
    ensure!((told.len(), of_peer) == (2, 1), "{told:?}");
    ensure!(daemon.log().contains("ethtool -K PEER tx-vlan-offload off"), "{}", daemon.log());

    let wire = Wire::open(network.namespace(GEN), "v0")?;
    let tag = Some(Tag { priority: 0, drop_eligible: false, id: 7 });
    let frame = Packet { tag, ..Packet::new("239.1.1.1".parse()?, 5001) }.frame();
    let send = || (0..10).try_for_each(|_| wire.send(&frame));
    send()?;
    assert_eq!(matched(&daemon)?, [10, 0], "a tag beside the packet is not seen");
    set(network.namespace(BRIDGES), "p1", "tx-vlan-offload", "off")?;
    send()?;
    assert_eq!(matched(&daemon)?, [10, 10], "the remedy puts it into the packet");
    daemon.stop()?;
    Ok(())
}

/// A peer in the same namespace can be looked at, and the warning is gone once it is mended.
#[test]
fn a_peer_in_sight_is_named() -> Result<()> {
    needs_root!();
    let network = Topology::chain(1).build()?;
    let relay = network.relay();
    relay.ip_batch("link add x0 type veth peer name x1\nlink set x0 up\nlink set x1 up\n")?;
    let daemon = Daemon::start(relay, "", &["--iface-in", "x0", "--iface-out", "v2"])?;
    let remedy = "ethtool -K x1 tx-vlan-offload off";
    let told = warnings(&daemon)?;
    ensure!(told.len() == 1 && told[0].contains(remedy), "{told:?}");
    let shown = daemon.ctl(&["status"])?.success()?;
    ensure!(shown.stderr.contains(remedy), "{}", shown.told());
    relay.run(remedy)?;
    until("no warning", SOON, || Ok(warnings(&daemon)?.is_empty().then_some(())))?;
    daemon.stop()?;
    Ok(())
}
