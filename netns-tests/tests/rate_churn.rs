//! Rules come and go under load, and the streams of the others lose nothing.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use netns_tests::{
    account::trials,
    connection::Connection,
    crossing::Crossing,
    daemon::Daemon,
    ledger::{self, Deleted},
    needs_root,
    probe::Load,
    rules,
    topology::Topology,
    watch,
};
use serde_json::json;

const LOAD: Load = Load { first: rules::SENT, streams: 50, rate: 100_000, size: 256, seconds: 24 };
/// Each is one rule added and one deleted.
const PAIRS_A_SECOND: u32 = 1_000;
const SECONDS: u32 = 10;
/// Rules that are there at a time, beside the streams'.
const WINDOW: u32 = 100;

#[test]
fn a_thousand_adds_and_deletes_a_second() -> Result<()> {
    needs_root!();
    trials(churned)
}

/// What disturbed it; nothing where every packet came.
fn churned() -> Result<Vec<String>> {
    let network = Topology::chain(2).build()?;
    let config = rules::file(&rules::streams(LOAD.streams, "v1", "v2"));
    let daemon = Daemon::start(network.relay(), &config, &["--workers", "2"])?;
    let (before, watch) = watch::begin(&network, &daemon, "v1", &["v2"])?;
    let (crossing, took) = thread::scope(|scope| -> Result<_> {
        let crossing = scope.spawn(|| Crossing::of_chain(&network, &LOAD));
        netns_tests::deadline::until("the streams", netns_tests::deadline::SOON, || {
            Ok((daemon.stats()?.totals.sent_packets > 0).then_some(()))
        })?;
        let took = churn(&daemon)?;
        let sent = daemon.stats()?.totals.sent_packets;
        ensure!(sent < LOAD.packets(), "the load had ended before the changes did");
        Ok((crossing.join().expect("no panic")?, took))
    })?;
    let stats = daemon.stats_at_rest()?;
    eprintln!("{crossing:?}\nchanges took {took:?}");
    let disturbed = crossing.account(watch, &stats, &LOAD)?.judge()?;
    ledger::check(&stats, Deleted::Some)?;
    ledger::check_frames(&before, &stats)?;
    assert_eq!(stats.rules.len(), usize::from(LOAD.streams), "the churn left rules behind");
    if !disturbed.is_empty() {
        return Ok(disturbed);
    }
    assert_eq!(stats.totals.sent_packets, LOAD.packets());
    // Each change joins or leaves a group too, on CPUs that the streams keep busy.
    let slow = took > Duration::from_millis(u64::from(SECONDS) * 1_150);
    Ok(slow.then(|| format!("the changes took {took:?}")).into_iter().collect())
}

/// Each stream's own rule is swapped for another, again and again, while its packets flow.
#[test]
fn a_rule_is_replaced_without_a_loss() -> Result<()> {
    needs_root!();
    trials(replaced)
}

/// What disturbed it; nothing where every packet came.
fn replaced() -> Result<Vec<String>> {
    const STREAMS: u16 = 4;
    const SWAPS: u32 = 400;
    let load = Load { first: rules::SENT, streams: STREAMS, rate: 100_000, size: 256, seconds: 7 };
    let network = Topology::chain(2).build()?;
    let streams = rules::streams(STREAMS, "v1", "v2");
    let daemon = Daemon::start(network.relay(), &rules::file(&streams), &["--workers", "2"])?;
    let (before, watch) = watch::begin(&network, &daemon, "v1", &["v2"])?;
    let crossing = thread::scope(|scope| -> Result<_> {
        let crossing = scope.spawn(|| Crossing::of_chain(&network, &load));
        netns_tests::deadline::until("the streams", netns_tests::deadline::SOON, || {
            Ok((daemon.stats()?.totals.sent_packets > 0).then_some(()))
        })?;
        let mut connection = Connection::open(&daemon)?;
        let start = Instant::now();
        for i in 0..SWAPS {
            let rule = &streams[(i % u32::from(STREAMS)) as usize];
            // The output differs each time: in a range, as an exact port, with another TTL.
            let port = if i % 8 < 4 { json!(format!("{}-{}", rule.port, rule.port + 100)) } else { json!(rule.port) };
            let output = &rule.outputs[0];
            let answer = connection.ask(&json!({"command": "rule_add", "replace": true, "rule": {
                "name": rule.name,
                "match": {"interface": "v1", "group": rule.group, "port": port},
                "output": [{"interface": "v2", "group": output.group, "port": output.port, "ttl": 32 + i % 100}],
            }}))?;
            ensure!(answer["rule_added"]["replaced"] == true, "{answer}");
            thread::sleep((start + Duration::from_millis(10) * i).saturating_duration_since(Instant::now()));
        }
        ensure!(daemon.stats()?.totals.sent_packets < load.packets(), "the load had ended before the swaps did");
        crossing.join().expect("no panic")
    })?;
    let stats = daemon.stats_at_rest()?;
    eprintln!("{crossing:?}\n{stats:?}");
    let disturbed = crossing.account(watch, &stats, &load)?.judge()?;
    ledger::check(&stats, Deleted::None)?;
    ledger::check_frames(&before, &stats)?;
    if !disturbed.is_empty() {
        return Ok(disturbed);
    }
    assert_eq!(crossing.received.reordered, 0);
    assert_eq!(stats.totals.matched_packets, load.packets());
    // Each rule has counted on under its name; its output is always the same but for its TTL.
    for rule in &stats.rules {
        assert_eq!(rule.matched_packets, load.packets() / u64::from(STREAMS), "{rule:?}");
        assert_eq!(rule.outputs[0].sent_packets, rule.matched_packets, "{rule:?}");
    }
    Ok(Vec::new())
}

/// Adds and deletes over one connection, a pair each millisecond, and returns how long all of it took.
fn churn(daemon: &Daemon) -> Result<Duration> {
    let mut connection = Connection::open(daemon)?;
    let start = Instant::now();
    for i in 0..PAIRS_A_SECOND * SECONDS {
        add(&mut connection, i)?;
        if let Some(old) = i.checked_sub(WINDOW) {
            delete(&mut connection, old)?;
        }
        let due = start + Duration::from_secs(1) * i / PAIRS_A_SECOND;
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    let took = start.elapsed();
    for i in PAIRS_A_SECOND * SECONDS - WINDOW..PAIRS_A_SECOND * SECONDS {
        delete(&mut connection, i)?;
    }
    Ok(took)
}

/// Adds a rule that no stream of the load matches.
fn add(connection: &mut Connection, i: u32) -> Result<()> {
    let group = format!("239.2.{}.{}", i / 250, i % 250 + 1);
    let answer = connection.ask(&json!({"command": "rule_add", "rule": {
        "name": format!("churn-{i}"),
        "match": {"interface": "v1", "group": group, "port": 5001},
        "output": [{"interface": "v2", "group": "239.20.1.1", "port": 6001}],
    }}))?;
    ensure!(answer["rule_added"]["name"] == format!("churn-{i}"), "{answer}");
    Ok(())
}

fn delete(connection: &mut Connection, i: u32) -> Result<()> {
    let name = format!("churn-{i}");
    let answer = connection.ask(&json!({"command": "rule_del", "name": name}))?;
    ensure!(answer["rule_deleted"]["name"] == name, "{answer}");
    Ok(())
}
