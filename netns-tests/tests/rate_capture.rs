//! Ten thousand packets captured at every point, beside a stream of 100,000 a second that loses nothing.

use std::thread;

use anyhow::{Result, bail, ensure};
use netns_tests::{
    account::trials,
    capture::{Capture, by_point, counted, sums, tshark, unequal},
    crossing::Crossing,
    daemon::Daemon,
    deadline::{SOON, until},
    ledger::{self, Deleted},
    needs_root,
    probe::Load,
    process::Process,
    programs,
    rules::{RECEIVED, SENT, stream},
    stats::sum,
    topology::{GEN, Topology},
};

/// The stream that is captured.
const CAPTURED: Load = Load { first: SENT, streams: 1, rate: 2_500, size: 400, seconds: 4 };
/// The stream beside it.
fn beside() -> Load {
    Load { first: stream(SENT, 7), streams: 1, rate: 100_000, size: 256, seconds: 10 }
}

/// One output sends all, one drops all for their TTL, one for their length.
const CONFIG: &str = "[[rule]]\nname = \"feed-a\"\nmatch = { interface = \"v1\", group = \"239.1.1.1\", port = 5001 }\n\
    output = [\n  { interface = \"v2\", name = \"court1\", ttl = 9 },\n  { interface = \"v4\" },\n  \
    { interface = \"v6\", ttl = \"keep\" },\n]\n\n\
    [[rule]]\nname = \"beside\"\nmatch = { interface = \"v1\", group = \"239.1.1.8\", port = 5008 }\n\
    output = [{ interface = \"v2\", group = \"239.10.1.1\", port = 6001 }]\n";

#[test]
fn ten_thousand_beside_a_hundred_thousand_a_second() -> Result<()> {
    needs_root!();
    trials(trial)
}

/// What disturbed it; nothing where every packet came.
fn trial() -> Result<Vec<String>> {
    let network = Topology::fan(1, 3).build()?;
    network.relay().run("ip link set v6 mtu 200")?;
    let daemon = Daemon::start(network.relay(), CONFIG, &[])?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("capture.pcapng");
    let load = beside();
    let before = daemon.stats_at_rest()?;
    let (crossing, finished, after, was_beside) = thread::scope(|scope| -> Result<_> {
        let crossing = scope.spawn(|| Crossing::of_chain_to(&network, &load, RECEIVED));
        until("the stream beside", SOON, || Ok((daemon.stats()?.rule("beside").matched_packets > 0).then_some(())))?;
        let capture = Capture::start(&daemon, &["feed-a", "-w", file.to_str().expect("a plain path")])?;
        let mut sender = network.namespace(GEN).command(programs::path("mcrprobe")?);
        sender.args(CAPTURED.send_words("v0")).args(["--ttl", "1"]);
        let sent = CAPTURED.sent(Process::spawn(&mut programs::before(&["nice", "-n", "-19"], &sender))?)?;
        assert_eq!(sent.packets, CAPTURED.packets());
        let was_beside = daemon.stats()?.rule("beside").matched_packets < load.packets();
        let crossing = crossing.join().expect("no panic")?;
        let after = daemon.stats_at_rest()?;
        Ok((crossing, capture.end()?, after, was_beside))
    })?;
    let (old, new) = (before.rule("feed-a"), after.rule("feed-a"));
    eprintln!("{crossing:?}\n{new:?}\n{}", finished.stderr);

    // Exact, whatever else happened.
    let told = sums(&finished)?;
    let counted = counted("v1", old, new);
    let names = |point: &str| point.replace("feed-a/1", "feed-a/court1");
    let counted = counted.into_iter().map(|(point, count)| (names(&point), count)).collect();
    let wrong = unequal(&told, &counted);
    ensure!(wrong.is_empty(), "{wrong:?}");
    let packets = tshark(&file)?;
    for (point, count) in by_point(&packets) {
        assert_eq!(count, told[&point].0, "{point}: tshark reads as many as mcrctl says");
    }
    for packet in &packets {
        let words: Vec<&str> = packet.point.split(' ').collect();
        let (way, output) = (words[1], words.get(2).and_then(|label| label.strip_prefix("feed-a/")));
        let mut wanted = vec!["rule feed-a".to_owned()];
        wanted.extend(output.map(|output| format!("output {output}")));
        match (way, output) {
            ("dropped", Some("2")) => wanted.push("dropped ttl_expired".to_owned()),
            ("dropped", Some("3")) => wanted.push("dropped too_big".to_owned()),
            ("in", None) | ("out", Some("court1")) => {}
            _ => bail!("an odd point: {packet:?}"),
        }
        assert_eq!(packet.comments, wanted, "{packet:?}");
        assert_eq!(packet.ttl, if way == "out" { "9" } else { "1" }, "{packet:?}");
    }
    ledger::check(&after, Deleted::None)?;

    let mut disturbed: Vec<String> =
        (!was_beside).then(|| "the stream beside ended first".to_owned()).into_iter().collect();
    let other = after.rule("beside");
    let lost = told["all points"].1;
    for (what, count, wanted) in [
        ("matched of the captured stream", new.matched_packets - old.matched_packets, CAPTURED.packets()),
        ("lost by the capture", lost, 0),
        ("matched of the stream beside", other.matched_packets, load.packets()),
        ("dropped of it before its output", sum(&other.dropped), 0),
        ("dropped of it at its output", sum(&other.outputs[0].dropped), 0),
    ] {
        if count != wanted {
            disturbed.push(format!("{what}: {count}, not {wanted}"));
        }
    }
    disturbed.extend(crossing.miscounted(&load));
    if disturbed.is_empty() {
        assert_eq!(by_point(&packets).values().copied().collect::<Vec<_>>(), vec![CAPTURED.packets(); 4]);
    }
    Ok(disturbed)
}
