//! A large reload beside a stream that it does not touch.

use std::{fs, net::Ipv4Addr, thread};

use anyhow::{Result, ensure};
use netns_tests::{
    crossing::Crossing,
    daemon::Daemon,
    deadline::{SOON, until},
    ledger::{self, Deleted},
    needs_root,
    probe::Load,
    rules::{self, Rule},
    topology::Topology,
};

const LOAD: Load = Load { first: rules::SENT, streams: 1, rate: 45_000, size: 256, seconds: 10 };

/// Tens of thousands of rules come, and go again, while a stream flows: workers handle their share between two batches of packets.
#[test]
fn tens_of_thousands_of_rules_come_and_go() -> Result<()> {
    needs_root!();
    const RULES: u32 = 40_000;
    let network = Topology::chain(1).build()?;
    let own = rules::streams(1, "v1", "v2");
    let mut all: Vec<Rule> = (0..RULES)
        .map(|number| Rule {
            name: format!("r{number}"),
            group: Ipv4Addr::from_bits(0xef02_0000 + number),
            ..own[0].clone()
        })
        .collect();
    all.extend(own.clone());
    let daemon = Daemon::start(network.relay(), &rules::file(&own), &[])?;
    let reload = |of: &[Rule]| -> Result<String> {
        fs::write(daemon.files().config(), rules::file(of))?;
        daemon.done(&["reload"])
    };
    let crossing = thread::scope(|scope| -> Result<_> {
        let crossing = scope.spawn(|| Crossing::of_chain(&network, &LOAD));
        until("the stream", SOON, || Ok((daemon.stats()?.totals.sent_packets > 0).then_some(())))?;
        reload(&all)?;
        reload(&own)?;
        ensure!(daemon.stats()?.totals.sent_packets < LOAD.packets(), "the load had ended before the changes did");
        crossing.join().expect("no panic")
    })?;
    let stats = daemon.stats_at_rest()?;
    crossing.exactly_once(&LOAD)?;
    assert_eq!(stats.rules.len(), 1);
    ledger::check(&stats, Deleted::Some)
}
