//! Links that are down and rings that are driven over: packets are lost, and every one of them is counted.

use std::{thread::sleep, time::Duration};

use anyhow::{Result, ensure};
use netns_tests::{
    crossing::Crossing,
    daemon::Daemon,
    deadline::{SOON, until},
    ledger::{self, Deleted},
    needs_root,
    probe::{Load, Share},
    rules::{self, Rule},
    stats::{Stats, sum},
    topology::{GEN, Network, SINK, Topology},
};
use nix::sys::signal::Signal;

/// Three streams, one to each of v2, v4 and v6.
const LOAD: Load = Load { first: rules::SENT, streams: 3, rate: 3_000, size: 256, seconds: 3 };
/// One stream's packets.
const EACH: u64 = LOAD.rate * LOAD.seconds / 3;

/// Three egress links, and a rule from v1 to each.
fn fan() -> Result<(Network, Vec<Rule>)> {
    let mut rules = rules::streams(3, "v1", "v2");
    rules[1].outputs[0].interface = "v4".into();
    rules[2].outputs[0].interface = "v6".into();
    Ok((Topology::fan(1, 3).build()?, rules))
}

/// v4 has no carrier, v6 is administratively down.
fn take_links_down(network: &Network) -> Result<()> {
    network.namespace(SINK).run("ip link set v5 down")?;
    network.relay().run("ip link set v6 down")?;
    let links = network.relay().run("ip -br link show")?;
    ensure!(links.contains("NO-CARRIER"), "{links}");
    Ok(())
}

/// Sends [`LOAD`] and returns the counters after it.
fn send(network: &Network, daemon: &Daemon) -> Result<Stats> {
    let matched = daemon.stats()?.totals.matched_packets;
    let sent = LOAD.sent(LOAD.send(network.namespace(GEN), "v0", Share::Alone)?)?;
    assert_eq!(sent.packets, LOAD.packets());
    let stats = daemon.stats_at_rest()?;
    assert_eq!(stats.totals.matched_packets - matched, LOAD.packets());
    Ok(stats)
}

/// What each of the three outputs sent and dropped so far.
fn outcomes(stats: &Stats) -> [(u64, u64); 3] {
    [0, 1, 2].map(|i| {
        let output = &stats.rule(&format!("stream-{i}")).outputs[0];
        (output.sent_packets, sum(&output.dropped))
    })
}

#[test]
fn links_that_go_down_while_it_runs() -> Result<()> {
    needs_root!();
    let (network, rules) = fan()?;
    let daemon = Daemon::start(network.relay(), &rules::file(&rules), &[])?;
    let before = daemon.stats_at_rest()?;
    let stats = send(&network, &daemon)?;
    assert_eq!(outcomes(&stats), [(EACH, 0), (EACH, 0), (EACH, 0)]);

    take_links_down(&network)?;
    let stats = send(&network, &daemon)?;
    eprintln!("{stats:?}");
    assert_eq!(outcomes(&stats), [(2 * EACH, 0), (EACH, EACH), (EACH, EACH)]);
    ledger::check(&stats, Deleted::None)?;
    for rule in &stats.rules[1..] {
        let reasons: Vec<&str> = rule.outputs[0].dropped.keys().map(String::as_str).collect();
        ensure!(reasons.iter().all(|reason| ["tx_refused", "link_down"].contains(reason)), "{rule:?}");
    }

    // Up again: all three carry, and no frame stayed behind.
    network.namespace(SINK).run("ip link set v5 up")?;
    network.relay().run("ip link set v6 up")?;
    until("carrier", SOON, || Ok((!network.relay().run("ip -br link")?.contains("NO-CARRIER")).then_some(())))?;
    let stats = send(&network, &daemon)?;
    eprintln!("{stats:?}");
    assert_eq!(outcomes(&stats), [(3 * EACH, 0), (2 * EACH, EACH), (2 * EACH, EACH)]);
    ledger::check(&stats, Deleted::None)?;
    ledger::check_frames(&before, &stats)?;
    let last = daemon.stop()?;
    assert_eq!((last.matched, last.sent, last.egress_dropped), (9 * EACH, 7 * EACH, 2 * EACH));
    Ok(())
}

#[test]
fn links_that_are_down_from_the_start() -> Result<()> {
    needs_root!();
    let (network, rules) = fan()?;
    take_links_down(&network)?;
    let daemon = Daemon::start(network.relay(), &rules::file(&rules), &[])?;
    let stats = send(&network, &daemon)?;
    assert_eq!(outcomes(&stats), [(EACH, 0), (0, EACH), (0, EACH)]);
    ledger::check(&stats, Deleted::None)
}

/// The daemon stands still while packets go on coming: what its rings cannot hold is `rx_ring`, all of it.
#[test]
fn a_receive_ring_driven_over() -> Result<()> {
    needs_root!();
    let network = Topology::chain(1).build()?;
    let daemon = Daemon::start(network.relay(), &rules::file(&rules::streams(2, "v1", "v2")), &[])?;
    let before = daemon.stats_at_rest()?;
    let load = Load { first: rules::SENT, streams: 2, rate: 30_000, size: 256, seconds: 4 };
    let crossing = std::thread::scope(|scope| -> Result<_> {
        let crossing = scope.spawn(|| Crossing::of_chain(&network, &load));
        until("the streams", SOON, || Ok((daemon.stats()?.totals.sent_packets > 0).then_some(())))?;
        daemon.signal(Signal::SIGSTOP)?;
        sleep(Duration::from_secs(2));
        daemon.signal(Signal::SIGCONT)?;
        crossing.join().expect("no panic")
    })?;
    let stats = daemon.stats_at_rest()?;
    eprintln!("{crossing:?}\n{stats:?}");
    ledger::check(&stats, Deleted::None)?;
    ledger::check_frames(&before, &stats)?;
    let lost = stats.totals.dropped["rx_ring"];
    ensure!(lost > 0, "the ring held everything: nothing was shown");
    assert_eq!(stats.totals.matched_packets, load.packets());
    assert_eq!(stats.totals.sent_packets, load.packets() - lost);
    let received = &crossing.received;
    assert_eq!((received.packets, received.lost, received.duplicated), (load.packets() - lost, lost, 0));
    Ok(())
}
