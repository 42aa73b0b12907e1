//! Datagrams that a kernel has merged under one header leave the relay as they would have come alone, each once and in order.
//!
//! A sender's kernel merges them (`UDP_SEGMENT`), the relay's own does (GRO), or a virtual machine's; generic XDP sees one packet.

use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};
use netns_tests::{
    daemon::Daemon,
    datagrams::Datagrams,
    deadline::{SOON, until},
    ledger::{self, Deleted},
    needs_root,
    packet::Packet,
    raw::Wire,
    rules::{self, SENT},
    tap::Tap,
    topology::{GEN, Network, SINK, Topology},
};

const SENDER: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);

/// A bridge over v1 in the relay.
fn bridge(network: &Network) -> Result<()> {
    network.relay().ip_batch("link add br0 type bridge mcast_snooping 0\nlink set v1 master br0\nlink set br0 up\n")
}

/// Sends through a rule on `ingress`; all arrive, and all is counted by datagrams.
fn crosses(network: &Network, ingress: &str, flags: &[&str], datagrams: Datagrams) -> Result<()> {
    let daemon = Daemon::start(network.relay(), &rules::file(&rules::streams(1, ingress, "v2")), flags)?;
    let before = daemon.stats_at_rest()?;
    let wire = Wire::open(network.namespace(SINK), "v3")?;
    datagrams.send(network.namespace(GEN), SENDER)?;
    settle(&daemon, &before, &wire, datagrams)
}

fn settle(daemon: &Daemon, before: &netns_tests::stats::Stats, wire: &Wire, datagrams: Datagrams) -> Result<()> {
    datagrams.arrive(wire)?;
    let stats = daemon.stats_at_rest()?;
    let (rule, count) = (stats.rule("stream-0"), datagrams.count() as u64);
    ensure!((rule.matched_packets, rule.outputs[0].sent_packets) == (count, count), "{rule:?}");
    ensure!(rule.matched_bytes == rule.outputs[0].sent_bytes, "bytes of each datagram's own frame: {rule:?}");
    ledger::check(&stats, Deleted::None)?;
    ledger::check_frames(before, &stats)
}

#[test]
fn by_the_sender_behind_a_bridge() -> Result<()> {
    needs_root!();
    let network = Topology::chain(1).build()?;
    bridge(&network)?;
    // As the issue has it; two that fit a frame together; the most that there can be; a last one that is shorter, of odd lengths.
    for datagrams in [
        Datagrams::new(1_316, 7, 20),
        Datagrams::new(500, 2, 20),
        Datagrams::new(1_000, 64, 10),
        Datagrams { last: 5, ..Datagrams::new(777, 3, 20) },
        Datagrams::new(4, 100, 5),
    ] {
        crosses(&network, "br0", &[], datagrams).with_context(|| format!("{datagrams:?}"))?;
    }
    Ok(())
}

#[test]
fn by_the_sender_in_skb_mode() -> Result<()> {
    needs_root!();
    let network = Topology::chain(1).build()?;
    network.relay().ip_batch("link add mv0 link v1 type macvlan mode bridge\nlink set mv0 up\n")?;
    for (ingress, flags) in [("v1", &["--mode", "skb"][..]), ("mv0", &[])] {
        for datagrams in [Datagrams::new(1_316, 7, 20), Datagrams::new(600, 2, 20)] {
            crosses(&network, ingress, flags, datagrams).with_context(|| format!("{ingress}: {datagrams:?}"))?;
        }
    }
    Ok(())
}

/// The sender's side sends them one by one, and the bridge's port merges them again.
#[test]
fn by_the_relay_s_own_kernel() -> Result<()> {
    needs_root!();
    let network = Topology::chain(1).build()?;
    bridge(&network)?;
    network.namespace(GEN).run("ethtool -K v0 tx-udp-segmentation off")?;
    let packets =
        || -> Result<u64> { Ok(network.relay().run("cat /sys/class/net/br0/statistics/rx_packets")?.trim().parse()?) };
    for feature in ["rx-udp-gro-forwarding", "rx-gro-list"] {
        network.relay().run("ethtool -K v1 gro on rx-udp-gro-forwarding off rx-gro-list off")?;
        network.relay().run(&format!("ethtool -K v1 {feature} on"))?;
        for datagrams in [Datagrams::new(1_316, 7, 20), Datagrams::new(400, 4, 20)] {
            let before = packets()?;
            crosses(&network, "br0", &[], datagrams).with_context(|| format!("{feature}: {datagrams:?}"))?;
            let (came, sent) = (packets()? - before, datagrams.count() as u64);
            ensure!(came < sent, "{feature}: {came} packets for {sent} datagrams: the kernel has merged none");
        }
    }
    Ok(())
}

/// A tap in driver mode runs the program itself on some packets, and leaves merged ones to generic XDP.
#[test]
fn by_a_virtual_machine() -> Result<()> {
    needs_root!();
    let network = Topology::chain(1).build()?;
    let mut tap = Tap::new(network.relay(), "tap0")?;
    for mode in ["auto", "skb"] {
        for datagrams in [Datagrams::new(1_316, 7, 20), Datagrams::new(500, 2, 20), Datagrams::new(500, 1, 20)] {
            let rules = rules::file(&rules::streams(1, "tap0", "v2"));
            let daemon = Daemon::start(network.relay(), &rules, &["--mode", mode])?;
            let before = daemon.stats_at_rest()?;
            let wire = Wire::open(network.namespace(SINK), "v3")?;
            for payload in datagrams.payloads() {
                let packet = Packet { payload, ..Packet::new(SENT.0, SENT.1) };
                tap.send(packet, (datagrams.at_once > 1).then_some(datagrams.size))?;
            }
            settle(&daemon, &before, &wire, datagrams).with_context(|| format!("{mode}: {datagrams:?}"))?;
        }
    }
    Ok(())
}

/// Longer than a frame takes: counted by its own name, said once, and nothing of it is sent.
#[test]
fn too_long_for_a_frame() -> Result<()> {
    needs_root!();
    for (flags, at_once) in [(&[][..], 1), (&["--mode", "skb"], 1), (&["--mode", "skb"], 3)] {
        let network = Topology::chain(1).build()?;
        let daemon = Daemon::start(network.relay(), &rules::file(&rules::streams(1, "v1", "v2")), flags)?;
        let before = daemon.stats_at_rest()?;
        for (label, interface) in [(GEN, "v0"), ("relay", "v1"), ("relay", "v2"), (SINK, "v3")] {
            network.namespace(label).run(&format!("ip link set {interface} mtu 3400"))?;
        }
        let wire = Wire::open(network.namespace(SINK), "v3")?;
        let (long, fits) = (Datagrams::new(3_000, at_once, 20), Datagrams::new(1_400, 1, 20));
        long.send(network.namespace(GEN), SENDER)?;
        fits.send(network.namespace(GEN), SENDER)?;
        fits.arrive(&wire).with_context(|| format!("{flags:?}, {at_once} at once"))?;
        let stats = daemon.stats_at_rest()?;
        let rule = stats.rule("stream-0");
        ensure!(rule.dropped == [("oversize".to_owned(), 20)].into(), "{flags:?}, {at_once} at once: {rule:?}");
        ensure!((rule.matched_packets, rule.outputs[0].sent_packets) == (40, 20), "{rule:?}");
        ledger::check(&stats, Deleted::None)?;
        ledger::check_frames(&before, &stats)?;
        let said = || {
            daemon.log().lines().filter(|line| line.contains("rule stream-0") && line.contains("(oversize)")).count()
        };
        until("a word about it", SOON, || Ok((said() > 0).then_some(())))?;
        long.send(network.namespace(GEN), SENDER)?;
        let stats = daemon.stats_at_rest()?;
        ensure!(stats.rule("stream-0").dropped["oversize"] == 40 && said() == 1, "said {} times", said());
    }
    Ok(())
}
