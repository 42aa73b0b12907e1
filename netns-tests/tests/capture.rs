//! `mcrctl capture`: every packet at every point, with its rule, its output and why it was dropped; and captures that go wrong.

use std::{
    fs,
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use netns_tests::{
    capture::{Capture, Captured, by_point, counted, sums, tshark, unequal},
    connection::Connection,
    daemon::Daemon,
    datagrams::Datagrams,
    deadline::{SOON, until},
    ledger::{self, Deleted},
    needs_root,
    packet::{Packet, Tag},
    programs,
    raw::Wire,
    rules::{self, RECEIVED, SENT},
    topology::{GEN, Network, SINK, Topology},
};
use nix::sys::signal::Signal;
use serde_json::json;

/// A relay with the rule `stream-0` from v1 to v2.
struct Relay {
    network: Network,
    daemon: Daemon,
    wire: Wire,
    directory: tempfile::TempDir,
}

impl Relay {
    fn start(config: &str, outputs: u32) -> Result<Self> {
        let network = Topology::fan(1, outputs).build()?;
        let daemon = Daemon::start(network.relay(), config, &[])?;
        let wire = Wire::open(network.namespace(GEN), "v0")?;
        Ok(Self { network, daemon, wire, directory: tempfile::tempdir()? })
    }

    fn one_stream() -> Result<Self> {
        Self::start(&rules::file(&rules::streams(1, "v1", "v2")), 1)
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("capture.pcapng")
    }

    fn send(&self, packets: &[Packet]) -> Result<()> {
        packets.iter().try_for_each(|packet| self.wire.send(&packet.frame()))
    }

    /// Captures at `points` into a file while `packets` are forwarded: the packets of the file, after its sums were found right.
    fn captured(&self, rule: &str, words: &[&str], packets: &[Packet]) -> Result<Vec<Captured>> {
        let file = self.file();
        let before = self.daemon.stats_at_rest()?;
        let path = file.to_str().context("a plain path")?;
        let capture = Capture::start(&self.daemon, &[&[rule, "--write", path][..], words].concat())?;
        self.send(packets)?;
        let after = self.daemon.stats_at_rest()?;
        let finished = capture.end()?;
        let wrong = unequal(&sums(&finished)?, &counted("v1", before.rule(rule), after.rule(rule)));
        ensure!(wrong.is_empty(), "{wrong:?}\n{}", finished.told());
        ledger::check(&after, Deleted::None)?;
        tshark(&file)
    }
}

fn stream() -> Packet {
    Packet::new(SENT.0, SENT.1)
}

/// Comments of a packet.
fn comments(packet: &Captured) -> Vec<&str> {
    packet.comments.iter().map(String::as_str).collect()
}

#[test]
fn in_as_it_came_out_as_it_was_sent_and_dropped_with_its_reason() -> Result<()> {
    needs_root!();
    let config = "[[rule]]\nname = \"court 1\"\nmatch = { interface = \"v1\", group = \"239.1.1.1\", port = 5001, vlan = 100 }\n\
        output = [\n  { interface = \"v2\", name = \"left\", group = \"239.10.1.1\", port = 6001, vlan = 7 },\n  \
        { interface = \"v4\", ttl = \"keep\", vlan = \"keep\" },\n]\n";
    let config = config.replace("court 1", "court-1");
    let relay = Relay::start(&config, 2)?;
    relay.network.relay().run("ip link set v4 mtu 500")?;
    let until_known = || Ok((relay.daemon.stats()?.interface("v4").mtu == 500).then_some(()));
    until("the new MTU", SOON, until_known)?;
    let tag = Some(Tag { priority: 0, drop_eligible: false, id: 100 });
    let packet = Packet { tag, ..stream() };
    let packets = [
        Packet { payload: b"first".to_vec(), ..packet.clone() },
        Packet { payload: vec![9; 800], ..packet.clone() },
        Packet { ttl: 1, payload: b"old".to_vec(), ..packet.clone() },
    ];
    let file = relay.file();
    let path = file.to_str().context("a plain path")?;
    let before = relay.daemon.stats_at_rest()?;
    let capture = Capture::start(&relay.daemon, &["court-1", "-w", path])?;
    relay.send(&packets)?;
    let after = relay.daemon.stats_at_rest()?;
    let finished = capture.end()?;
    let all = tshark(&file)?;
    let shown: Vec<_> = all
        .iter()
        .map(|packet| {
            (
                packet.point.as_str(),
                comments(packet),
                packet.length,
                packet.ttl.as_str(),
                packet.vlan.as_str(),
                packet.group.as_str(),
            )
        })
        .collect();
    eprintln!("{shown:#?}\n{}", finished.stderr);
    let came = |number: usize| packets[number].frame().len() as u32;
    let row = |point, comments: &[&'static str], length, ttl, vlan, group| {
        (point, comments.to_vec(), length, ttl, vlan, group)
    };
    for wanted in [
        row("v1 in", &["rule court-1"], came(0), "16", "100", "239.1.1.1"),
        row("v1 in", &["rule court-1"], came(1), "16", "100", "239.1.1.1"),
        row("v1 in", &["rule court-1"], came(2), "1", "100", "239.1.1.1"),
        row("v2 out court-1/left", &["rule court-1", "output left"], came(0), "15", "7", "239.10.1.1"),
        row("v2 out court-1/left", &["rule court-1", "output left"], came(1), "15", "7", "239.10.1.1"),
        row(
            "v2 dropped court-1/left",
            &["rule court-1", "output left", "dropped ttl_expired"],
            came(2),
            "1",
            "100",
            "239.1.1.1",
        ),
        row("v4 out court-1/2", &["rule court-1", "output 2"], came(0), "16", "100", "239.1.1.1"),
        row(
            "v4 dropped court-1/2",
            &["rule court-1", "output 2", "dropped too_big"],
            came(1),
            "16",
            "100",
            "239.1.1.1",
        ),
        row("v4 out court-1/2", &["rule court-1", "output 2"], came(2), "1", "100", "239.1.1.1"),
    ] {
        ensure!(shown.contains(&wanted), "not there: {wanted:?}");
    }
    let told = sums(&finished)?;
    let (before, after) = (before.rule("court-1"), after.rule("court-1"));
    assert_eq!(told["v1 in"], (after.matched_packets - before.matched_packets, 0));
    assert_eq!(told["v2 out court-1/left"], (after.outputs[0].sent_packets, 0));
    assert_eq!(told["v4 dropped court-1/2"], (1, 0));
    assert_eq!(told["all points"].0, all.len() as u64);
    Ok(())
}

#[test]
fn dropped_before_the_outputs() -> Result<()> {
    needs_root!();
    let relay = Relay::one_stream()?;
    let loopback = Packet { source: [127, 0, 0, 1].into(), ..stream() };
    let file = relay.file();
    let words = ["stream-0", "--point", "dropped", "--write", file.to_str().context("a plain path")?];
    let capture = Capture::start(&relay.daemon, &words)?;
    relay.send(&[stream(), loopback, stream()])?;
    let after = relay.daemon.stats_at_rest()?;
    assert_eq!(after.rule("stream-0").dropped, [("martian_source".to_owned(), 1)].into());
    let told = sums(&capture.end()?)?;
    let wanted = [("v1 dropped", 1), ("v2 dropped stream-0/1", 0), ("all points", 1)];
    assert_eq!(told, wanted.map(|(point, count)| (point.to_owned(), (count, 0))).into());
    let dropped = tshark(&file)?;
    assert_eq!(dropped.len(), 1, "{dropped:?}");
    assert_eq!(
        (dropped[0].point.as_str(), comments(&dropped[0])),
        ("v1 dropped", vec!["rule stream-0", "dropped martian_source"])
    );
    Ok(())
}

#[test]
fn no_more_bytes_than_were_asked_for() -> Result<()> {
    needs_root!();
    let relay = Relay::one_stream()?;
    let packets = vec![Packet { payload: vec![1; 700], ..stream() }; 20];
    let captured = relay.captured("stream-0", &["-s", "60"], &packets)?;
    assert_eq!(by_point(&captured), [("v1 in".to_owned(), 20), ("v2 out stream-0/1".to_owned(), 20)].into());
    ensure!(captured.iter().all(|packet| (packet.length, packet.kept) == (742, 60)), "{captured:?}");
    Ok(())
}

/// What a sender's kernel has merged is captured as the datagrams that it is.
#[test]
fn merged_datagrams_one_by_one() -> Result<()> {
    needs_root!();
    let network = Topology::chain(1).build()?;
    let daemon = Daemon::start(network.relay(), &rules::file(&rules::streams(1, "v1", "v2")), &["--mode", "skb"])?;
    let wire = Wire::open(network.namespace(SINK), "v3")?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("f");
    let before = daemon.stats_at_rest()?;
    let capture = Capture::start(&daemon, &["stream-0", "-w", file.to_str().context("plain")?])?;
    let datagrams = Datagrams::new(600, 2, 20);
    datagrams.send(network.namespace(GEN), [10, 1, 0, 1].into())?;
    datagrams.arrive(&wire)?;
    let after = daemon.stats_at_rest()?;
    let finished = capture.end()?;
    let wrong = unequal(&sums(&finished)?, &counted("v1", before.rule("stream-0"), after.rule("stream-0")));
    ensure!(wrong.is_empty(), "{wrong:?}\n{}", finished.told());
    let all = tshark(&file)?;
    for (point, group) in [("v1 in", SENT.0), ("v2 out stream-0/1", RECEIVED.0)] {
        let of_point: Vec<_> = all.iter().filter(|packet| packet.point == point).collect();
        assert_eq!(of_point.len(), datagrams.count(), "{point}");
        ensure!(
            of_point.iter().all(|packet| packet.length == 642 && packet.group == group.to_string()),
            "{of_point:?}"
        );
    }
    Ok(())
}

/// Two at once see the same; one that begins later sees what comes later.
#[test]
fn two_captures_of_one_rule() -> Result<()> {
    needs_root!();
    let relay = Relay::one_stream()?;
    let files = ["a", "b"].map(|name| relay.directory.path().join(name));
    let start = |file: &PathBuf| Capture::start(&relay.daemon, &["stream-*", "-w", file.to_str().expect("plain")]);
    let first = start(&files[0])?;
    relay.send(&vec![stream(); 10])?;
    relay.daemon.stats_at_rest()?;
    let second = start(&files[1])?;
    relay.send(&vec![stream(); 15])?;
    relay.daemon.stats_at_rest()?;
    let told = sums(&first.end()?)?;
    assert_eq!((told["v1 in"], told["v2 out stream-0/1"]), ((25, 0), (25, 0)));
    relay.send(&vec![stream(); 5])?;
    relay.daemon.stats_at_rest()?;
    let told = sums(&second.end()?)?;
    assert_eq!((told["v1 in"], told["v2 out stream-0/1"]), ((20, 0), (20, 0)));
    let [first, second] = [tshark(&files[0])?.len(), tshark(&files[1])?.len()];
    assert_eq!((first, second), (50, 40));
    Ok(())
}

/// Capturing goes on under the name: through a replacement, a deletion, and an addition.
#[test]
fn a_rule_that_changes_meanwhile() -> Result<()> {
    needs_root!();
    let relay = Relay::one_stream()?;
    let file = relay.file();
    let capture = Capture::start(&relay.daemon, &["stream-*", "-w", file.to_str().context("plain")?])?;
    let add = |words: &str| {
        let words = format!("rule add {words}");
        relay.daemon.done(&words.split(' ').collect::<Vec<_>>()).map(drop)
    };
    relay.send(&vec![stream(); 10])?;
    relay.daemon.stats_at_rest()?;
    add("--replace --name stream-0 --in v1 --group 239.1.1.1 --port 5001 --out v2,name=new,ttl=9")?;
    relay.send(&vec![stream(); 20])?;
    relay.daemon.stats_at_rest()?;
    relay.daemon.done(&["rule", "del", "stream-0"])?;
    relay.send(&vec![stream(); 5])?;
    add("--name stream-5 --in v1 --group 239.1.1.1 --port 5001 --out v2")?;
    add("--name other --in v1 --group 239.1.1.2 --port 5001 --out v2")?;
    relay.send(&[vec![stream(); 30], vec![Packet::new([239, 1, 1, 2].into(), 5001); 7]].concat())?;
    relay.daemon.stats_at_rest()?;
    capture.end()?;
    let wanted = [("v1 in", 60), ("v2 out stream-0/1", 10), ("v2 out stream-0/new", 20), ("v2 out stream-5/1", 30)];
    assert_eq!(by_point(&tshark(&file)?), wanted.map(|(point, count)| (point.to_owned(), count)).into());
    Ok(())
}

/// Lines for people, objects for programs; the capture ends by itself.
#[test]
fn a_line_for_each_packet() -> Result<()> {
    needs_root!();
    let relay = Relay::one_stream()?;
    let capture = Capture::start(&relay.daemon, &["stream-0", "--count", "6"])?;
    relay.send(&vec![stream(); 10])?;
    let finished = capture.wait()?.success()?;
    let lines: Vec<&str> = finished.stdout.lines().collect();
    assert_eq!(lines.len(), 6, "{}", finished.told());
    ensure!(lines[0].ends_with("Z in      v1 192.0.2.7:7777 > 239.1.1.1:5001 74 bytes stream-0"), "{lines:?}");
    assert_eq!(sums(&finished)?["all points"].0, 6);

    let capture = Capture::start(&relay.daemon, &["stream-0", "--point", "out", "--seconds", "2"])?;
    relay.send(&vec![stream(); 3])?;
    let finished = capture.wait()?.success()?;
    assert_eq!(sums(&finished)?, [("all points".into(), (3, 0)), ("v2 out stream-0/1".into(), (3, 0))].into());
    ensure!(
        finished
            .stdout
            .lines()
            .all(|line| line.contains(" out     v2 10.2.0.1:7777 > 239.10.1.1:6001 74 bytes stream-0/1")),
        "{}",
        finished.told()
    );
    Ok(())
}

/// A pipe into tshark, which ends when it has seen enough: that is success for the capture too.
#[test]
fn into_a_pipe_that_is_closed() -> Result<()> {
    needs_root!();
    let relay = Relay::one_stream()?;
    let mut capture = Command::new(programs::path("mcrctl")?)
        .arg("--socket")
        .arg(relay.daemon.files().socket())
        .args(["capture", "stream-0", "-w", "-"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let pipe = capture.stdout.take().context("a pipe")?;
    // The command keeps its end of the pipe until it is dropped, at the end of this statement.
    let mut tshark = Command::new("tshark")
        .args(["-l", "-n", "-r", "-", "-c", "4", "-T", "fields", "-e", "frame.comment"])
        .stdin(pipe)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let ended = until("the pipe's end", SOON, || {
        relay.send(&[stream()])?;
        Ok(capture.try_wait()?)
    });
    // Whatever happened, nothing is left behind.
    if ended.is_err() {
        capture.kill().ok();
        tshark.kill().ok();
    }
    let mut seen = String::new();
    tshark.stdout.take().context("a pipe")?.read_to_string(&mut seen)?;
    tshark.wait()?;
    capture.wait()?;
    ensure!(ended?.success(), "mcrctl: a closed pipe is no failure");
    assert_eq!(seen.lines().count(), 4, "{seen}");
    ensure!(seen.lines().all(|line| line.starts_with("rule stream-0")), "{seen}");
    Ok(())
}

#[test]
fn wrong_inputs() -> Result<()> {
    needs_root!();
    let relay = Relay::one_stream()?;
    let there = relay.directory.path().join("there");
    fs::write(&there, "precious")?;
    let there = there.to_str().context("plain")?;
    let directory = relay.directory.path().to_str().context("plain")?;
    for (words, code, said) in [
        (&["capture", "stream-9", "-w", there][..], 1, "no rule stream-9; did you mean stream-0?"),
        (&["capture", "x-*"], 1, "no rule matches x-*"),
        (&["capture", "[x"], 2, "is not a pattern"),
        (&["capture"], 2, "NAME"),
        (&["capture", "stream-0", "--point", "nonsense"], 2, "possible values: in, out, dropped"),
        (&["capture", "stream-0", "--count", "0"], 2, "0 is not in 1"),
        (&["capture", "stream-0", "--seconds", "0"], 2, "0 is not in 1"),
        (&["capture", "stream-0", "--snaplen", "70000"], 2, "65535"),
        (&["capture", "stream-0", "-w", directory], 1, "Is a directory"),
        (&["capture", "stream-0", "-w", "/proc/no/such"], 1, "cannot write /proc/no/such: No such file or directory"),
    ] {
        let finished = relay.daemon.ctl(words)?.exited(code)?;
        ensure!(finished.stderr.contains(said) && finished.stdout.is_empty(), "{}", finished.told());
    }
    assert_eq!(fs::read_to_string(there)?, "precious", "a refused capture leaves the file as it was");
    let finished = relay.daemon.ctl(&["--json", "capture", "stream-9"])?.exited(1)?;
    let error: serde_json::Value = serde_json::from_str(&finished.stderr)?;
    assert_eq!(error["error"]["code"], "not_found");

    // The same by the protocol, where no flag stands before it.
    let mut connection = Connection::open(&relay.daemon)?;
    for (request, code) in [
        (json!({"command": "capture", "rules": []}), "invalid"),
        (json!({"command": "capture", "rules": ["stream-0"], "count": 0}), "invalid"),
        (json!({"command": "capture", "rules": ["stream-0"], "seconds": 0}), "invalid"),
        (json!({"command": "capture", "rules": ["stream-0"], "snaplen": 65_536}), "invalid"),
        (json!({"command": "capture", "rules": ["stream-0"], "points": ["nonsense"]}), "invalid"),
        (json!({"command": "capture", "rules": ["stream-0"], "speed": 1}), "invalid"),
        (json!({"command": "capture", "rules": ["nothing"]}), "not_found"),
    ] {
        let answer = connection.ask(&request)?;
        assert_eq!(answer["error"]["code"], code, "{request}: {answer}");
    }
    // What failed has left no capture behind.
    let four: Vec<Capture> = (0..4).map(|_| Capture::start(&relay.daemon, &["stream-0"])).collect::<Result<_>>()?;
    let finished = relay.daemon.ctl(&["--json", "capture", "stream-0"])?.exited(1)?;
    ensure!(
        finished.stderr.contains("\"unavailable\"") && finished.stderr.contains("4 captures run"),
        "{}",
        finished.told()
    );
    four.into_iter().try_for_each(|capture| capture.end().map(drop))?;
    Capture::start(&relay.daemon, &["stream-0"])?.end().map(drop)
}

/// A client that is killed ends its capture, and the daemon goes on as before.
#[test]
fn a_client_that_is_killed() -> Result<()> {
    needs_root!();
    let relay = Relay::one_stream()?;
    for _ in 0..6 {
        let capture = Capture::start(&relay.daemon, &["stream-0", "-w", relay.file().to_str().context("plain")?])?;
        relay.send(&vec![stream(); 50])?;
        capture.process().signal(Signal::SIGKILL)?;
        capture.wait()?;
    }
    let ended = || relay.daemon.log().matches(" ended").count();
    until("the captures' end", SOON, || Ok((ended() == 6).then_some(())))?;
    let captured = relay.captured("stream-0", &[], &vec![stream(); 30])?;
    assert_eq!(captured.len(), 60);
    Ok(())
}

/// A client that takes nothing costs itself packets, which are counted, and others nothing.
#[test]
fn a_client_that_reads_nothing() -> Result<()> {
    needs_root!();
    let relay = Relay::one_stream()?;
    let before = relay.daemon.stats_at_rest()?;
    let mut idle = UnixStream::connect(relay.daemon.files().socket())?;
    idle.set_read_timeout(Some(SOON))?;
    idle.write_all(b"{\"command\":\"capture\",\"rules\":[\"stream-0\"]}\n")?;
    let mut line = Vec::new();
    let mut byte = [0];
    while line.last() != Some(&b'\n') {
        idle.read_exact(&mut byte)?;
        line.push(byte[0]);
    }
    ensure!(line.starts_with(b"{\"capturing\":"), "{}", String::from_utf8_lossy(&line));
    // Far more than the rings and the socket hold.
    let large = Packet { payload: vec![3; 1_400], ..stream() };
    const MANY: usize = 20_000;
    for some in vec![large; MANY].chunks(100) {
        relay.send(some)?;
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let after = relay.daemon.stats_at_rest()?;
    ledger::check(&after, Deleted::None)?;
    let busy = Capture::start(&relay.daemon, &["stream-0", "--count", "2"])?;
    relay.send(&[stream()])?;
    busy.wait()?.success()?;

    // Now it reads all there is, and asks for the end.
    idle.shutdown(std::net::Shutdown::Write)?;
    let file = relay.file();
    std::io::copy(&mut idle, &mut fs::File::create(&file)?)?;
    let points = by_point(&tshark(&file)?);
    let lost = statistics(&file)?;
    let counted = counted("v1", before.rule("stream-0"), after.rule("stream-0"));
    for point in ["v1 in", "v2 out stream-0/1"] {
        let (received, dropped) = lost[point];
        ensure!(dropped > 0, "{point}: nothing was lost, so nothing was shown");
        assert_eq!(received, points[point] + dropped, "{point}");
        assert_eq!(received, counted[point] + 1, "{point}");
    }
    Ok(())
}

/// What a file's statistics say of each point: offered and lost.
fn statistics(file: &std::path::Path) -> Result<std::collections::BTreeMap<String, (u64, u64)>> {
    let bytes = fs::read(file)?;
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let (mut at, mut names, mut found) = (0, Vec::new(), std::collections::BTreeMap::new());
    while at < bytes.len() {
        let (kind, length) = (word(at), word(at + 4) as usize);
        let options = |from: usize| {
            let mut option = from;
            let mut all = Vec::new();
            while word(option) != 0 {
                let (code, size) = (word(option) as u16, (word(option) >> 16) as usize);
                all.push((code, bytes[option + 4..option + 4 + size].to_vec()));
                option += 4 + size.next_multiple_of(4);
            }
            all
        };
        let of = |all: Vec<(u16, Vec<u8>)>, code: u16| {
            all.into_iter().find(|(found, _)| *found == code).map(|(_, value)| value)
        };
        match kind {
            1 => names.push(String::from_utf8(of(options(at + 16), 2).context("if_name")?)?),
            5 => {
                let number = |code| -> Result<u64> {
                    let value = of(options(at + 20), code).with_context(|| format!("isb option {code}"))?;
                    Ok(u64::from_le_bytes(value.as_slice().try_into()?))
                };
                found.insert(names[word(at + 8) as usize].clone(), (number(4)?, number(5)?));
            }
            _ => {}
        }
        at += length;
    }
    Ok(found)
}

/// The daemon ends while it captures: the file has its end too.
#[test]
fn the_daemon_stops() -> Result<()> {
    needs_root!();
    let relay = Relay::one_stream()?;
    let file = relay.file();
    let capture = Capture::start(&relay.daemon, &["stream-0", "-w", file.to_str().context("plain")?])?;
    relay.send(&vec![stream(); 12])?;
    relay.daemon.stats_at_rest()?;
    relay.daemon.stop()?;
    let finished = capture.wait()?.success()?;
    assert_eq!(sums(&finished)?["all points"], (24, 0), "{}", finished.told());
    assert_eq!(tshark(&file)?.len(), 24);
    Ok(())
}
