//! Behind a virtual interface a sender leaves its UDP checksums to a NIC that is not there: the relay completes them, whatever the kind.

use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};
use netns_tests::{
    daemon::Daemon,
    datagrams::Datagrams,
    ledger::{self, Deleted},
    needs_root,
    raw::Wire,
    rules,
    topology::{GEN, SINK, Topology},
};

/// An interface in the relay, how it is made there and in gen, and the sender's address.
type Kind = (&'static str, &'static str, &'static str, [u8; 4]);

const KINDS: [Kind; 6] = [
    ("v1", "", "", [10, 1, 0, 1]),
    ("mv0", "link add mv0 link v1 type macvlan mode bridge", "", [10, 1, 0, 1]),
    ("mt0", "link add mt0 link v1 type macvtap mode bridge", "", [10, 1, 0, 1]),
    ("mv1", "link add mv1 link v1 type macvlan mode private", "", [10, 1, 0, 1]),
    (
        "vx0",
        "link add vx0 type vxlan id 7 remote 10.1.0.1 dstport 4789 dev v1",
        "link add vx0 type vxlan id 7 remote 10.1.0.2 dstport 4789 dev v0\nlink set vx0 up\naddr add 10.7.0.1/24 dev vx0",
        [10, 7, 0, 1],
    ),
    ("br0", "link add br0 type bridge mcast_snooping 0\nlink set v1 master br0", "", [10, 1, 0, 1]),
];

#[test]
fn partial_checksums_are_completed() -> Result<()> {
    needs_root!();
    for (interface, here, there, sender) in KINDS {
        for flags in [&[][..], &["--mode", "skb"]] {
            let network = Topology::chain(1).build()?;
            network.relay().ip_batch(&format!("{here}\nlink set {interface} up\n"))?;
            network.namespace(GEN).ip_batch(&format!("{there}\n"))?;
            let daemon = Daemon::start(network.relay(), &rules::file(&rules::streams(1, interface, "v2")), flags)?;
            let wire = Wire::open(network.namespace(SINK), "v3")?;
            let datagrams = Datagrams::new(300, 1, 30);
            datagrams.send(network.namespace(GEN), Ipv4Addr::from(sender))?;
            datagrams.arrive(&wire).with_context(|| format!("{interface} {flags:?}"))?;
            let stats = daemon.stats_at_rest()?;
            ensure!(stats.rule("stream-0").matched_packets == 30, "{interface}: {stats:?}");
            ledger::check(&stats, Deleted::None)?;
        }
    }
    Ok(())
}

/// A neighbour on the same NIC is reached without a wire.
#[test]
fn from_a_macvlan_beside() -> Result<()> {
    needs_root!();
    let network = Topology::chain(1).build()?;
    network.ip("relay", "link add mv0 link v1 type macvlan mode bridge\nlink set mv0 up\nlink add mv9 link v1 type macvlan mode bridge\nlink set mv9 netns @gen\n")?;
    network.namespace(GEN).ip_batch("link set mv9 up\naddr add 10.9.0.1/24 dev mv9\n")?;
    let daemon = Daemon::start(network.relay(), &rules::file(&rules::streams(1, "mv0", "v2")), &[])?;
    let wire = Wire::open(network.namespace(SINK), "v3")?;
    let datagrams = Datagrams::new(300, 1, 30);
    datagrams.send(network.namespace(GEN), Ipv4Addr::new(10, 9, 0, 1))?;
    datagrams.arrive(&wire)?;
    ledger::check(&daemon.stats_at_rest()?, Deleted::None)
}

/// A MAC may change while the program runs: multicast under the new one is the rule's, under the old one another host's.
#[test]
fn the_own_mac_changes() -> Result<()> {
    needs_root!();
    let network = Topology::chain(1).build()?;
    network.relay().ip_batch("link add mv0 link v1 type macvlan mode bridge\nlink set mv0 up\n")?;
    for (interface, first, second) in [("v1", 0x21, 0x22), ("mv0", 0x31, 0x32)] {
        let mac = |last: u8| [0x02, 0, 0, 0, 0, last];
        let set = |last: u8| network.relay().run(&format!("ip link set {interface} address 02:00:00:00:00:{last:02x}"));
        set(first)?;
        let daemon = Daemon::start(network.relay(), &rules::file(&rules::streams(1, interface, "v2")), &[])?;
        let wire = Wire::open(network.namespace(GEN), "v0")?;
        let matched = |to_mac: [u8; 6]| -> Result<u64> {
            let before = daemon.stats_at_rest()?.rule("stream-0").matched_packets;
            for id in 0..5 {
                let (group, port) = rules::SENT;
                wire.send(
                    &netns_tests::packet::Packet { id, to_mac, ..netns_tests::packet::Packet::new(group, port) }
                        .frame(),
                )?;
            }
            Ok(daemon.stats_at_rest()?.rule("stream-0").matched_packets - before)
        };
        ensure!((matched(mac(first))?, matched(mac(second))?) == (5, 0), "{interface}: before");
        set(second)?;
        netns_tests::deadline::until("the new MAC", netns_tests::deadline::SOON, || {
            Ok((matched(mac(second))? == 5).then_some(()))
        })?;
        ensure!(matched(mac(first))? == 0, "{interface}: the old MAC");
        ledger::check(&daemon.stats_at_rest()?, Deleted::None)?;
    }
    Ok(())
}
