//! The dual bridge: 50 sender processes on br0, 50 receiver processes on br1, the relay between.

use anyhow::{Context, Result};
use netns_tests::{
    account::trials,
    daemon::{Daemon, Final},
    deadline::{SOON, until},
    ledger::{self, Deleted},
    needs_root,
    probe::{Load, Share},
    rules::{self, RECEIVED, SENT, stream},
    topology::{BRIDGES, Network, Topology},
    watch,
};

/// Streams, senders, receivers and rules.
const STREAMS: u16 = 50;
/// One sender's part of 150,000 packets a second for ten seconds.
const PART: Load = Load { first: SENT, streams: 1, rate: 3_000, size: 256, seconds: 10 };

#[test]
fn fifty_senders_and_fifty_receivers() -> Result<()> {
    needs_root!();
    trials(trial)
}

/// What disturbed it; nothing where every packet came.
fn trial() -> Result<Vec<String>> {
    // Four queues, since a veth's has 256 entries: a hundred processes keep both CPUs, and what comes while the first queue's turn is
    // waited for must lie somewhere.
    let network = Topology::dual_bridge(STREAMS.into(), 4).build()?;
    let flags = ["--iface-in", "v1", "--iface-out", "v2", "--workers", "1"];
    let daemon = Daemon::start(network.relay(), "", &flags)?;
    for rule in rules::streams(STREAMS, "v1", "v2") {
        daemon.done(&rule.add())?;
    }
    let part = |i| Load { first: stream(SENT, i), ..PART };
    let receivers = (0..STREAMS)
        .map(|i| part(i).receive(network.namespace(&format!("r{i}")), "e0", stream(RECEIVED, i), Share::Many))
        .collect::<Result<Vec<_>>>()?;
    members(&network, "br0", SENT.0, |_| "v1".into())?;
    members(&network, "br1", RECEIVED.0, |i| format!("r{i}"))?;

    let (before, watch) = watch::begin(&network, &daemon, "v1", &["v2"])?;
    // A hundred processes share the machine as the scheduler likes.
    let senders = (0..STREAMS)
        .map(|i| part(i).send(network.namespace(&format!("s{i}")), "e0", Share::Many))
        .collect::<Result<Vec<_>>>()?;
    let sent = senders.into_iter().map(|sender| PART.sent(sender)).collect::<Result<Vec<_>>>()?;
    let received = receivers.into_iter().map(|receiver| PART.received(receiver)).collect::<Result<Vec<_>>>()?;
    let stats = daemon.stats_at_rest()?;
    let all = PART.packets() * u64::from(STREAMS);
    let offered = (sent.iter().map(|one| one.packets).sum(), sent.iter().map(|one| one.rate_pps).sum());
    // However long they took.
    let disturbed = watch.end(&stats, (all, 0.0), offered, |sent| sent, received.clone())?.judge()?;
    ledger::check(&stats, Deleted::None)?;
    ledger::check_frames(&before, &stats)?;
    let last = daemon.stop()?;
    eprintln!("{last:?}\n{stats:?}");
    if !disturbed.is_empty() {
        return Ok(disturbed);
    }
    assert_eq!(last, Final { matched: all, ingress_dropped: 0, sent: all, egress_dropped: 0 });
    for (i, one) in received.iter().enumerate() {
        assert_eq!((one.packets, one.lost, one.duplicated, one.foreign), (PART.packets(), 0, 0, 0), "{i}: {one:?}");
    }
    Ok(Vec::new())
}

/// Waits until each group from `first` upwards has its member, a port, in `bridge`'s database.
fn members(network: &Network, bridge: &str, first: std::net::Ipv4Addr, port: impl Fn(u16) -> String) -> Result<()> {
    let mut missing = String::new();
    until(&format!("all memberships in {bridge}"), SOON, || {
        let mdb = network.namespace(BRIDGES).run(&format!("bridge mdb show dev {bridge}"))?;
        let entry = |i| format!("port {} grp {} ", port(i), stream((first, 0), i).0);
        missing = (0..STREAMS).map(entry).filter(|entry| !mdb.contains(entry)).collect::<Vec<_>>().join(", ");
        Ok(missing.is_empty().then_some(()))
    })
    .with_context(|| format!("missing: {missing}"))
}
