//! Senders and receivers on mcrd's own host, which it cannot serve: they are named as long as they are there, and mcrd's own
//! memberships are not taken for them.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use netns_tests::{
    daemon::Daemon,
    deadline::{SOON, until},
    doctor::{Report, words},
    needs_root,
    netns::Namespace,
    probe::{Load, Share},
    process::{Process, finish},
    programs, rules,
    topology::Topology,
};
use serde_json::Value;

const LOAD: Load = Load { first: rules::SENT, streams: 1, rate: 100, size: 128, seconds: 120 };

fn status(daemon: &Daemon) -> Result<Value> {
    Ok(serde_json::from_str(&daemon.done(&["--json", "status"])?)?)
}

/// Rule, kind and group of all that `status` tells, once there are as many warnings as that.
fn told(daemon: &Daemon) -> Result<Vec<String>> {
    let status = status(daemon)?;
    let all = status["own_host"].as_array().context("own_host")?;
    let warnings = status["warnings"].as_array().context("warnings")?;
    let texts: Vec<&str> = all.iter().filter_map(|own| own["text"].as_str()).collect();
    ensure!(
        texts.iter().all(|text| warnings.iter().any(|line| line.as_str().is_some_and(|line| line.ends_with(text)))),
        "{status}"
    );
    let word = |own: &Value, key: &str| own[key].as_str().unwrap_or_default().to_owned();
    let mut told: Vec<String> =
        all.iter().map(|own| ["rule", "kind", "group"].map(|key| word(own, key)).join(" ")).collect();
    told.sort();
    Ok(told)
}

fn until_told(daemon: &Daemon, wanted: &[&str]) -> Result<()> {
    until("what is told", SOON, || Ok((told(daemon)? == wanted).then_some(())))
        .with_context(|| format!("{:?}, not {wanted:?}", told(daemon)))
}

/// What `mcrctl doctor IF` says of the interface.
fn doctor(relay: &Namespace, socket: &Path, interface: &str) -> Result<Option<String>> {
    let mut mcrctl = relay.command(programs::path("mcrctl")?);
    let report = Report::of(&finish(mcrctl.args(words(socket, &[interface], true)))?)?;
    Ok(report.all().find(|finding| finding.id == "own-host").map(|finding| finding.found.clone()))
}

fn add(daemon: &Daemon, words: &str) -> Result<String> {
    Ok(daemon.ctl(&words.split(' ').collect::<Vec<_>>())?.success()?.stderr)
}

/// A receiver of what an output sends, before the rule and after it.
#[test]
fn receivers_of_what_is_sent() -> Result<()> {
    needs_root!();
    let network = Topology::fan(1, 2).build()?;
    let relay = network.relay();
    let daemon = Daemon::start(relay, "", &["--iface-in", "v1", "--iface-out", "v2", "--iface-out", "v4"])?;
    let receiver = LOAD.receive(relay, "v2", rules::RECEIVED, Share::Many)?;
    let said =
        add(&daemon, "rule add --name a --in v1 --group 239.1.1.1 --port 5001 --out v2,group=239.10.1.1,port=6001")?;
    ensure!(said.contains("a receiver on this host has joined 239.10.1.1 on v2"), "{said}");
    until_told(&daemon, &["a receiver_of_output 239.10.1.1"])?;
    // On another interface it is no matter.
    let said =
        add(&daemon, "rule add --name b --in v1 --group 239.1.1.2 --port 5001 --out v4,group=239.10.1.1,port=6001")?;
    ensure!(said.is_empty(), "{said}");
    let found = doctor(relay, &daemon.files().socket(), "v2")?;
    ensure!(found.is_some_and(|found| found.contains("239.10.1.1")), "doctor says nothing");
    let explained = daemon.ctl(&["explain", "a", "--seconds", "1"])?.exited(1)?.stdout;
    ensure!(explained.contains("a receiver on this host has joined 239.10.1.1 on v2"), "{explained}");
    assert_eq!(doctor(relay, &daemon.files().socket(), "v4")?, None);
    drop(receiver);
    until_told(&daemon, &[])?;

    // Of a range, and of a group that is kept.
    add(&daemon, "rule add --name c --in v1 --group 239.2.1.0/28 --port 5001 --out v2,group=239.20.1.0 --out v4")?;
    until_told(&daemon, &[])?;
    let of_range = LOAD.receive(relay, "v2", ("239.20.1.5".parse()?, 5001), Share::Many)?;
    until_told(&daemon, &["c receiver_of_output 239.20.1.5"])?;
    let of_kept = LOAD.receive(relay, "v4", ("239.2.1.7".parse()?, 5001), Share::Many)?;
    until_told(&daemon, &["c receiver_of_output 239.2.1.7", "c receiver_of_output 239.20.1.5"])?;
    drop((of_range, of_kept));
    until_told(&daemon, &[])
}

/// mcrd itself joins on an egress, for another rule; beside it a receiver is seen all the same.
#[test]
fn its_own_memberships_are_not_those_of_others() -> Result<()> {
    needs_root!();
    let network = Topology::chain(1).build()?;
    let relay = network.relay();
    let daemon = Daemon::start(relay, "", &["--iface-in", "v1", "--iface-out", "v2"])?;
    add(&daemon, "rule add --name there --in v1 --group 239.1.1.1 --port 5001 --out v2,group=239.10.1.1,port=6001")?;
    add(&daemon, "rule add --name back --in v2 --group 239.10.1.1 --port 7001 --out v1,group=239.30.1.1")?;
    add(
        &daemon,
        "rule add --name one --in v2 --group 239.10.1.1 --source 10.2.0.2 --port 7002 --out v1,group=239.30.1.2",
    )?;
    assert_eq!(told(&daemon)?, Vec::<String>::new());
    let receiver = LOAD.receive(relay, "v2", rules::RECEIVED, Share::Many)?;
    until_told(
        &daemon,
        &[
            "back receiver_of_match 239.10.1.1",
            "one receiver_of_match 239.10.1.1",
            "there receiver_of_output 239.10.1.1",
        ],
    )?;
    drop(receiver);
    until_told(&daemon, &[])
}

/// Who sends by the interface where a rule takes packets in.
#[test]
fn senders_of_what_is_matched() -> Result<()> {
    needs_root!();
    let network = Topology::chain(1).build()?;
    let relay = network.relay();
    let config = rules::file(&rules::streams(1, "v1", "v2"));
    let daemon = Daemon::start(relay, &config, &[])?;
    until_told(&daemon, &[])?;
    let sender = LOAD.send(relay, "v1", Share::Many)?;
    until_told(&daemon, &["stream-0 sender 239.1.1.1"])?;
    let found = doctor(relay, &daemon.files().socket(), "v1")?;
    ensure!(found.is_some_and(|found| found.contains("sends to 239.1.1.1 port 5001 by v1")), "doctor says nothing");
    drop(sender);
    until_told(&daemon, &[])?;

    // Another program, and streams that no rule takes, one of them another source's.
    let send = |group: &str, port: u16| {
        let line = format!(
            "while :; do echo x; sleep 0.2; done | exec socat -u - UDP4-DATAGRAM:{group}:{port},ip-multicast-if=10.1.0.2"
        );
        Process::spawn(relay.command("sh").args(["-c", &line]))
    };
    add(&daemon, "rule add --name other --in v1 --group 239.1.9.9 --source 10.9.9.9 --port 5001 --out v2")?;
    let _others = [send("239.1.1.1", 5002)?, send("239.1.9.9", 5001)?];
    let _match = send("239.1.1.1", 5001)?;
    until_told(&daemon, &["stream-0 sender 239.1.1.1"])?;
    // A sender elsewhere is none of these.
    let outside = LOAD.send(network.namespace("gen"), "v0", Share::Many)?;
    until("its packets", SOON, || Ok((daemon.stats()?.rule("stream-0").matched_packets > 10).then_some(())))?;
    assert_eq!(told(&daemon)?, ["stream-0 sender 239.1.1.1"]);
    drop(outside);
    Ok(())
}
