//! At 150,000 packets a second each packet comes out exactly once, whatever the queues and workers.

use anyhow::{Result, ensure};
use netns_tests::{
    account::trials,
    crossing::Crossing,
    daemon::{Daemon, Final},
    ledger::{self, Deleted},
    needs_root,
    probe::Load,
    rules,
    topology::Topology,
    watch,
};

/// Fifty streams for ten seconds over four queues.
const FIFTY: Load = Load { first: rules::SENT, streams: 50, rate: 150_000, size: 256, seconds: 10 };
/// One stream for ten seconds; `cargo xtask run --soak` takes a minute.
const ONE: Load = Load { first: rules::SENT, streams: 1, rate: 150_000, size: 1_024, seconds: 10 };

#[test]
fn two_workers() -> Result<()> {
    needs_root!();
    exactly_once(4, 2, &FIFTY)
}

#[test]
fn four_workers() -> Result<()> {
    needs_root!();
    exactly_once(4, 4, &FIFTY)
}

#[test]
fn one_stream() -> Result<()> {
    needs_root!();
    exactly_once(1, 1, &ONE)
}

/// Sends `load` through a chain of `queues` queues and `workers` workers.
fn exactly_once(queues: u32, workers: usize, load: &Load) -> Result<()> {
    trials(|| trial(queues, workers, load))
}

/// What disturbed it; nothing where every packet came.
fn trial(queues: u32, workers: usize, load: &Load) -> Result<Vec<String>> {
    let network = Topology::chain(queues).build()?;
    let config = rules::file(&rules::streams(load.streams, "v1", "v2"));
    let daemon = Daemon::start(network.relay(), &config, &["--workers", &workers.to_string()])?;
    let (before, watch) = watch::begin(&network, &daemon, "v1", &["v2"])?;
    let crossing = Crossing::of_chain(&network, load)?;
    let stats = daemon.stats_at_rest()?;
    eprintln!("{crossing:?}\n{stats:?}");

    let disturbed = crossing.account(watch, &stats, load)?.judge()?;
    ledger::check(&stats, Deleted::None)?;
    ledger::check_frames(&before, &stats)?;
    if !disturbed.is_empty() {
        return Ok(disturbed);
    }
    assert_eq!(stats.workers.len(), workers);
    for worker in &stats.workers {
        ensure!(worker.rx_packets > 0, "worker {} carried nothing: {:?}", worker.id, stats.workers);
    }
    let served: Vec<u32> = stats.workers.iter().flat_map(|worker| worker.rx_queues.clone()).collect();
    assert_eq!(served.len(), queues as usize, "every queue is served once: {served:?}");
    for rule in &stats.rules {
        assert_eq!(rule.matched_packets, load.packets() / u64::from(load.streams), "{rule:?}");
    }
    let all = load.packets();
    assert_eq!(daemon.stop()?, Final { matched: all, ingress_dropped: 0, sent: all, egress_dropped: 0 });
    Ok(Vec::new())
}
