//! A packet's way through `mcrd`, judged by real senders and receivers.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use netns_tests::{
    crossing::Crossing,
    daemon::{Daemon, Final},
    deadline::{SOON, until},
    ledger::{self, Deleted},
    needs_root,
    netns::Namespace,
    packet::Packet,
    probe::{self, Load},
    process::Process,
    raw::Wire,
    rules,
    topology::{GEN, Network, SINK, Topology},
};

/// A chain, and a daemon on its relay with `streams` rules from v1 to v2.
fn chain(streams: u16) -> Result<(Network, Daemon)> {
    Daemon::in_chain(&rules::file(&rules::streams(streams, "v1", "v2")))
}

#[test]
fn one_rule_end_to_end() -> Result<()> {
    needs_root!();
    let (network, daemon) = chain(1)?;
    let load = Load { first: rules::SENT, streams: 1, rate: 1_000, size: 256, seconds: 2 };
    Crossing::of_chain(&network, &load)?.exactly_once(&load)?;

    let stats = daemon.stats_at_rest()?;
    ledger::check(&stats, Deleted::None)?;
    let rule = stats.rule("stream-0");
    assert_eq!((rule.state.as_str(), rule.matched_packets, rule.matched_bytes), ("active", 2_000, 2_000 * 256));
    let output = &rule.outputs[0];
    assert_eq!((output.interface.as_str(), output.group.as_str(), output.port), ("v2", "239.10.1.1", Some(6001)));
    assert_eq!((output.offered_packets, output.sent_packets, output.sent_bytes), (2_000, 2_000, 2_000 * 256));
    assert_eq!(stats.version, 1);
    let ingress = stats.interface("v1");
    assert_eq!((ingress.driver.as_str(), ingress.queues), ("veth", 1));
    assert_eq!((ingress.xdp.as_str(), ingress.xsk.as_str()), ("driver", "copy"));
    assert!(!ingress.xsk_reason.is_empty(), "veth has no zero-copy, and nobody says so");
    assert_eq!(ingress.verdicts["steered"], 2_000);

    let last = daemon.stop()?;
    assert_eq!(last, Final { matched: 2_000, ingress_dropped: 0, sent: 2_000, egress_dropped: 0 });
    Ok(())
}

/// Each change of a state is one line of the log and one event: a stream stops and returns, and another one never comes.
#[test]
fn a_stream_that_stops_and_returns() -> Result<()> {
    needs_root!();
    let network = Topology::chain(1).build()?;
    let config = rules::file(&rules::streams(2, "v1", "v2")).replacen("match =", "stall_after = \"2s\"\nmatch =", 1);
    let daemon = Daemon::start(network.relay(), &config, &[])?;
    let load = Load { first: rules::SENT, streams: 1, rate: 1_000, size: 256, seconds: 1 };
    let state = |rule: &str| -> Result<String> { Ok(daemon.stats()?.rule(rule).state.clone()) };
    for round in 1..=2 {
        Crossing::of_chain(&network, &load)?.exactly_once(&load)?;
        until("a stream that has stopped", SOON, || Ok((state("stream-0")? == "stalled").then_some(())))?;
        assert_eq!(state("stream-1")?, "idle");
        let log = daemon.log();
        let said = |words: &str| log.lines().filter(|line| line.contains(words)).count();
        assert_eq!(
            (said("rule stream-0: active -> stalled: no packet for 2s"), said("rule stream-0: stalled -> active")),
            (round, round - 1)
        );
    }
    let status: serde_json::Value = serde_json::from_str(&daemon.done(&["--json", "status"])?)?;
    let streams = &status["streams"];
    ensure!(streams[0]["state"] == "stalled" && streams[0]["silent_seconds"].as_f64() >= Some(2.0), "{streams}");
    ensure!(streams[1]["state"] == "idle" && streams[1]["silent_seconds"].is_null(), "{streams}");
    Ok(())
}

/// Packets that fill frames of 4 KiB, which mcrd takes where an interface's MTU wants them.
#[test]
fn large_packets() -> Result<()> {
    needs_root!();
    let network = Topology::chain(1).build()?;
    for (namespace, interfaces) in
        [(network.namespace(GEN), &["v0"][..]), (network.relay(), &["v1", "v2"]), (network.namespace(SINK), &["v3"])]
    {
        for interface in interfaces {
            namespace.run(&format!("ip link set {interface} mtu 3400"))?;
        }
    }
    let daemon = Daemon::start(network.relay(), &rules::file(&rules::streams(1, "v1", "v2")), &[])?;
    let before = daemon.stats_at_rest()?;
    let load = Load { first: rules::SENT, streams: 1, rate: 1_000, size: 3_414, seconds: 2 };
    Crossing::of_chain(&network, &load)?.exactly_once(&load)?;
    let stats = daemon.stats_at_rest()?;
    ledger::check(&stats, Deleted::None)?;
    ledger::check_frames(&before, &stats)
}

/// From frames of 4 KiB into frames of 2 KiB: a packet that fits the egress's MTU has more bytes than such a frame where it comes with
/// two tags. It is counted, and the worker goes on.
#[test]
fn two_tags_and_smaller_frames() -> Result<()> {
    needs_root!();
    let network = Topology::chain(1).build()?;
    network.namespace(GEN).run("ip link set v0 mtu 3400")?;
    network.namespace(SINK).run("ip link set v3 mtu 1774")?;
    network.relay().run("ip link set v1 mtu 3400")?;
    network.relay().run("ip link set v2 mtu 1774")?;
    let daemon = Daemon::start(network.relay(), &rules::file(&rules::streams(1, "v1", "v2")), &[])?;
    let before = daemon.stats_at_rest()?;
    let wire = Wire::open(network.namespace(GEN), "v0")?;
    for (tags, length) in [(2, 1_770), (2, 1_771), (2, 1_774), (1, 1_774), (0, 1_774), (2, 1_000)] {
        let mut packet = Packet::new(rules::SENT.0, rules::SENT.1);
        packet.payload = vec![7; length - 28];
        let mut frame = packet.frame();
        // Priority tags: the frame is in no VLAN.
        for _ in 0..tags {
            frame.splice(12..12, [0x81, 0, 0, 0]);
        }
        wire.send(&frame)?;
    }
    let stats = daemon.stats_at_rest()?;
    let output = &stats.rule("stream-0").outputs[0];
    ensure!((output.offered_packets, output.sent_packets) == (6, 4), "{output:?}");
    ensure!(output.dropped.get("too_big") == Some(&2), "{output:?}");
    ledger::check(&stats, Deleted::None)?;
    ledger::check_frames(&before, &stats)
}

/// Addresses, port, TTL and both checksums, as tcpdump reads them behind the relay. With the sender's checksum
/// offload on a veth carries a partial checksum, which is completed; with it off a whole one, which is updated.
#[test]
fn headers_are_rewritten_and_checksums_are_right() -> Result<()> {
    needs_root!();
    let (network, _daemon) = chain(1)?;
    let (from, sink) = (network.namespace(GEN), network.namespace(SINK));
    let source_mac = network.relay().run("cat /sys/class/net/v2/address")?;
    for offload in ["on", "off"] {
        from.run(&format!("ethtool -K v0 tx {offload}"))?;
        let tcpdump = Process::spawn(
            sink.command("tcpdump").args(["-i", "v3", "-Z", "root", "-U", "-l", "-n", "-e", "-vv", "-c", "1", "udp"]),
        )?;
        until("tcpdump listening", SOON, || Ok(tcpdump.stderr().contains("listening on").then_some(())))?;
        let receiver = udp_dump(sink, "239.10.1.1", 6001, "v3")?;
        send(from, "hello", "239.1.1.1:5001,bind=:7777,ip-multicast-ttl=9")?;
        until("the datagram", SOON, || Ok((receiver.stdout() == "hello\n").then_some(())))
            .with_context(|| format!("checksum offload {offload}: {}", receiver.stdout()))?;
        let seen = tcpdump.wait(SOON)?.stdout;
        for part in [
            format!("{} > 01:00:5e:0a:01:01", source_mac.trim()),
            "ttl 8,".into(),
            "10.2.0.1.7777 > 239.10.1.1.6001: [udp sum ok]".into(),
        ] {
            assert!(seen.contains(&part), "checksum offload {offload}: no {part:?} in {seen}");
        }
        assert!(!seen.contains("bad cksum"), "{seen}");
    }
    let snmp = sink.run("nstat -asz UdpInCsumErrors IpInHdrErrors")?;
    let errors = snmp.lines().filter(|line| !line.starts_with('#')).map(|line| line.split_whitespace().nth(1));
    assert_eq!(errors.collect::<Vec<_>>(), [Some("0"), Some("0")], "{snmp}");
    Ok(())
}

#[test]
fn what_no_rule_matches_reaches_the_host() -> Result<()> {
    needs_root!();
    let (network, daemon) = chain(1)?;
    let relay = network.relay();
    let other_port = udp_dump(relay, "239.1.1.1", 5002, "v1")?;
    let other_group = udp_dump(relay, "239.2.2.2", 5001, "v1")?;
    let unicast = Process::spawn(relay.command("socat").args(["-u", "UDP4-RECV:5003", "-"]))?;
    listening(relay, 5003)?;
    let from = network.namespace(GEN);
    send(from, "port", "239.1.1.1:5002")?;
    send(from, "group", "239.2.2.2:5001")?;
    send(from, "unicast", "10.1.0.2:5003")?;
    for (receiver, text) in [(&other_port, "port\n"), (&other_group, "group\n"), (&unicast, "unicast\n")] {
        until(text, SOON, || Ok((receiver.stdout() == text).then_some(())))?;
    }
    let stats = daemon.stats_at_rest()?;
    assert_eq!(stats.totals.matched_packets, 0);
    assert!(stats.interface("v1").verdicts["pass_no_rule"] >= 3, "{:?}", stats.interface("v1"));
    Ok(())
}

#[test]
fn the_hosts_own_traffic_works_while_forwarding() -> Result<()> {
    needs_root!();
    let (network, daemon) = chain(4)?;
    let load = Load { first: rules::SENT, streams: 4, rate: 4_000, size: 512, seconds: 8 };
    std::thread::scope(|scope| -> Result<()> {
        let crossing = scope.spawn(|| Crossing::of_chain(&network, &load));
        until("the stream", SOON, || Ok((daemon.stats()?.totals.sent_packets > 0).then_some(())))?;
        for (end, interface, relay, relay_interface) in [(GEN, "v0", "10.1.0.2", "v1"), (SINK, "v3", "10.2.0.1", "v2")]
        {
            let end = network.namespace(end);
            // ARP first: nobody knows anybody, in both directions.
            end.run(&format!("ip neigh flush dev {interface}"))?;
            network.relay().run(&format!("ip neigh flush dev {relay_interface}"))?;
            let ping = end.run(&format!("ping -n -c 20 -i 0.05 -W 5 {relay}"))?;
            assert!(ping.contains("20 received, 0% packet loss"), "{ping}");
            let neighbour = end.run(&format!("ip neigh show {relay} dev {interface}"))?;
            assert!(neighbour.contains("lladdr"), "{neighbour}");
            tcp_megabyte(network.relay(), relay, end)?;
        }
        let before = daemon.stats()?.totals.matched_packets;
        ensure!(before < load.packets(), "the stream had ended: nothing was shown");
        crossing.join().expect("no panic")?.exactly_once(&load)
    })?;
    ledger::check(&daemon.stats_at_rest()?, Deleted::None)?;
    assert_eq!(daemon.stop()?.sent, load.packets());
    Ok(())
}

/// ffmpeg makes and sends an MPEG-TS stream; what comes out is the same bytes, and plays.
#[test]
fn a_real_stream_arrives_byte_for_byte_and_plays() -> Result<()> {
    needs_root!();
    let (network, daemon) = chain(1)?;
    let (from, sink) = (network.namespace(GEN), network.namespace(SINK));
    let directory = tempfile::tempdir()?;
    let path = |name: &str| directory.path().join(name);
    // The sender's own group, looped back to it, and the translated one behind the relay.
    let sent = udp_dump_to(&path("sent.ts"), from, "239.1.1.1", 5001, "v0")?;
    let received = udp_dump_to(&path("received.ts"), sink, "239.10.1.1", 6001, "v3")?;
    let url = "udp://239.1.1.1:5001?pkt_size=1316&ttl=16&localaddr=10.1.0.1";
    let encode = "-nostdin -v error -re -f lavfi -i testsrc=duration=4:size=320x240:rate=25 -f lavfi -i \
                  sine=duration=4 -c:v mpeg2video -b:v 1M -c:a mp2 -f mpegts";
    let ffmpeg = Process::spawn(from.command("ffmpeg").args(encode.split_whitespace()).arg(url))?;
    ffmpeg.wait(Duration::from_secs(60))?.success()?;

    let stats = daemon.stats_at_rest()?;
    ledger::check(&stats, Deleted::None)?;
    drop((sent, received));
    let (sent, received) = (fs::read(path("sent.ts"))?, fs::read(path("received.ts"))?);
    assert!(stats.totals.sent_packets > 100, "{:?}", stats.totals);
    assert!(sent.len() > 200_000 && sent.len().is_multiple_of(188), "{} bytes", sent.len());
    assert!(sent == received, "{} bytes sent, {} received", sent.len(), received.len());

    let file = path("received.ts");
    let probe =
        |words: &str| netns_tests::process::finish(from.command("ffprobe").args(words.split_whitespace()).arg(&file));
    let frames =
        probe("-v error -count_frames -show_entries stream=codec_name,nb_read_frames -of csv=p=0")?.success()?;
    assert_eq!(frames.stderr, "", "ffprobe complains");
    assert!(frames.stdout.lines().any(|line| line.starts_with("mpeg2video,100")), "{}", frames.stdout);
    assert!(frames.stdout.lines().any(|line| line.starts_with("mp2,")), "{}", frames.stdout);
    Ok(())
}

/// A plain UDP receiver of a group, writing payloads to its standard output.
fn udp_dump(namespace: &Namespace, group: &str, port: u16, interface: &str) -> Result<Process> {
    udp_dump_to(Path::new("-"), namespace, group, port, interface)
}

/// A plain UDP receiver of a group, writing payloads to a file.
fn udp_dump_to(file: &Path, namespace: &Namespace, group: &str, port: u16, interface: &str) -> Result<Process> {
    // The address keeps other groups' datagrams for this port away.
    let from = format!("UDP4-RECV:{port},bind={group},rcvbuf=4000000,ip-add-membership={group}:{interface}");
    let to = if file == Path::new("-") { "-".into() } else { format!("CREATE:{}", file.display()) };
    let process = Process::spawn(namespace.command("socat").args(["-u", "-b", "65536", &from, &to]))?;
    probe::joined(namespace, interface, group.parse()?, 1)?;
    Ok(process)
}

/// Sends a line in one datagram.
fn send(namespace: &Namespace, line: &str, to: &str) -> Result<()> {
    let script = format!("echo {line} | socat -u - UDP4-DATAGRAM:{to}");
    netns_tests::process::run(namespace.command("sh").args(["-ec", &script]))?;
    Ok(())
}

/// Sends 1,000,000 bytes over TCP to `server`, which listens on `address`, and compares what it got.
fn tcp_megabyte(server: &Namespace, address: &str, client: &Namespace) -> Result<()> {
    const MAKE: &str = "seq 200000 | head -c 1000000";
    let shell = |namespace: &Namespace, script: String| Process::spawn(namespace.command("sh").args(["-ec", &script]));
    let listener = shell(server, format!("socat -u TCP4-LISTEN:7000,bind={address},reuseaddr - | sha256sum"))?;
    listening(server, 7000)?;
    shell(client, format!("{MAKE} | socat -u - TCP4:{address}:7000"))?.wait(SOON)?.success()?;
    let made = shell(client, format!("{MAKE} | sha256sum"))?.wait(SOON)?.success()?.stdout;
    assert_eq!(listener.wait(SOON)?.success()?.stdout, made, "TCP to {address}");
    Ok(())
}

/// Waits until something in `namespace` listens on or receives from `port`.
fn listening(namespace: &Namespace, port: u16) -> Result<()> {
    until(&format!("a socket on port {port}"), SOON, || {
        Ok(namespace.run("ss -Hlntu")?.contains(&format!(":{port} ")).then_some(()))
    })
}
