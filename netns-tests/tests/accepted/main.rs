//! What random rules make of random packets, judged by others: the receiving kernel's own UDP stack, and tcpdump.

mod draw;
mod receive;
mod tcpdump;

use std::{collections::BTreeMap, net::SocketAddrV4, thread::sleep, time::Duration};

use anyhow::{Context, Result};
use draw::Case;
use netns_tests::{
    daemon::Daemon,
    ledger::{self, Deleted},
    needs_root,
    packet::Checksum,
    raw::Wire,
    topology::{GEN, SINK, Topology},
};

/// Packets sent in one go: less than a veth's ring holds.
const BURST: usize = 32;

#[test]
fn one_queue_skb() -> Result<()> {
    needs_root!();
    all_are_accepted(1, &["--mode", "skb"])
}

#[test]
fn four_queues_copy() -> Result<()> {
    needs_root!();
    all_are_accepted(4, &["--mode", "copy", "--workers", "4"])
}

fn all_are_accepted(queues: u32, flags: &[&str]) -> Result<()> {
    let Case { streams, packets } = draw::case();
    let network = Topology::chain(queues).build()?;
    let sink = network.namespace(SINK);
    let config: String = streams.iter().map(|stream| stream.rule.as_str()).collect();
    let daemon = Daemon::start(network.relay(), &config, flags)?;
    let before = daemon.stats_at_rest()?;
    let sockets = receive::sockets(sink, &streams)?;
    let capture = tcpdump::Capture::start(sink)?;

    let wire = Wire::open(network.namespace(GEN), "v0")?;
    for burst in packets.chunks(BURST) {
        for (_, packet) in burst {
            wire.send(&packet.frame())?;
        }
        sleep(Duration::from_millis(2));
    }
    let stats = daemon.stats_at_rest()?;
    assert_eq!(stats.totals.sent_packets, packets.len() as u64, "{:?}", stats.totals);
    ledger::check(&stats, Deleted::None)?;
    ledger::check_frames(&before, &stats)?;

    let mut wanted: BTreeMap<usize, Vec<(Vec<u8>, SocketAddrV4)>> = BTreeMap::new();
    let mut count = tcpdump::Count::default();
    for (stream, packet) in &packets {
        match packet.checksum {
            Checksum::Damaged(_) => count.bad += 1,
            Checksum::Zero => count.none += 1,
            Checksum::Right | Checksum::Partial => count.ok += 1,
        }
        if !matches!(packet.checksum, Checksum::Damaged(_)) {
            let from = SocketAddrV4::new(streams[*stream].source_of(packet), packet.source_port);
            wanted.entry(*stream).or_default().push((packet.payload.clone(), from));
        }
    }
    for (number, (stream, socket)) in streams.iter().zip(&sockets).enumerate() {
        let mut wanted = wanted.remove(&number).unwrap_or_default();
        let mut came = receive::all(socket).with_context(|| stream.rule.clone())?;
        wanted.sort();
        came.sort();
        assert!(came == wanted, "{}\ncame {came:02x?}\nwanted {wanted:02x?}", stream.rule);
    }
    // Sockets that were read have judged every checksum.
    let bad = count.bad;
    assert_eq!(receive::errors(sink)?, [bad, bad, 0, 0, 0], "{:?}", receive::ERRORS);
    let seen = capture.end(packets.len())?;
    eprintln!("{} rules, {} packets: {seen:?}", streams.len(), packets.len());
    assert_eq!(seen, count);
    Ok(())
}
