//! Faults made on purpose: the first line of `explain NAME` names the cause, its fix makes the stream arrive; `unmatched` tells what comes
//! instead; `explain --in` says what the data path does.

mod explained;

use anyhow::{Context, Result, ensure};
use explained::{Fault, Stream, explain, packet};
use netns_tests::{
    connection::Connection,
    daemon::{Daemon, Files},
    deadline::{SOON, until},
    needs_root,
    packet::{Packet, Tag},
    process::finish,
    programs,
    raw::Wire,
    topology::{GEN, Network, SINK, Topology},
};
use serde_json::{Value, json};

fn tagged(vlan: u16) -> Packet {
    Packet { tag: Some(Tag { priority: 0, drop_eligible: false, id: vlan }), ..packet() }
}

#[test]
fn what_arrives_is_not_what_the_rule_wants() -> Result<()> {
    needs_root!();
    let fault = |name, frame, flags| Fault { name, frame, flags, ..Fault::default() };
    let other_group = Packet { group: [239, 1, 1, 2].into(), to_mac: [1, 0, 0x5e, 1, 1, 2], ..packet() };
    let faults = [
        Fault {
            says: &["239.1.1.2:5001 from 10.1.0.1 on v1", "wants group 239.1.1.1"],
            fix: Some("mcrctl rule set feed --group 239.1.1.2"),
            ..fault("another group", other_group.frame(), &[])
        },
        Fault {
            says: &["239.1.1.1:5002 from 10.1.0.1", "wants port 5001"],
            fix: Some("mcrctl rule set feed --port 5002"),
            ..fault("another port", Packet { port: 5002, ..packet() }.frame(), &[])
        },
        Fault {
            says: &["wants source 10.1.0.9"],
            fix: Some("mcrctl rule set feed --source 10.1.0.1"),
            ..fault("another source", packet().frame(), &["--source", "10.1.0.9"])
        },
        Fault {
            says: &["in VLAN 100", "wants no VLAN tag"],
            fix: Some("mcrctl rule set feed --vlan 100"),
            ..fault("a tag", tagged(100).frame(), &[])
        },
        Fault {
            says: &["untagged", "wants VLAN 100"],
            fix: Some("mcrctl rule set feed --vlan none"),
            ..fault("no tag", packet().frame(), &["--vlan", "100"])
        },
        Fault {
            says: &["wants port 5001 and no VLAN tag"],
            fix: Some("mcrctl rule set feed --port 5003 --vlan 7"),
            ..fault("two at once", Packet { port: 5003, ..tagged(7) }.frame(), &[])
        },
        Fault {
            says: &["wants ports 5001-5010"],
            fix: Some("mcrctl rule set feed --port 5011"),
            ..fault(
                "past a range, under a prefix",
                Packet { port: 5011, ..packet() }.frame(),
                &["--group", "239.1.0.0/16", "--port", "5001-5010"],
            )
        },
    ];
    faults.iter().try_for_each(Fault::check)
}

#[test]
fn packets_that_no_rule_can_forward() -> Result<()> {
    needs_root!();
    let mut damaged = packet().frame();
    damaged[24] ^= 0x55;
    let mut fragment = packet().frame();
    fragment[20] |= 0x20;
    refit(&mut fragment);
    let fault = |name, frame| Fault { name, frame, ..Fault::default() };
    let faults = [
        Fault { says: &["malformed", "checksum"], ..fault("a bad IPv4 checksum", damaged) },
        Fault { says: &["fragments of 239.1.1.1 from 10.1.0.1"], ..fault("fragments", fragment) },
        Fault {
            says: &["martian_source"],
            ..fault("a martian", Packet { source: [127, 0, 0, 1].into(), ..packet() }.frame())
        },
        Fault {
            says: &["another host's Ethernet address"],
            ..fault("unicast frames", Packet { to_mac: [2, 9, 9, 9, 9, 9], ..packet() }.frame())
        },
        Fault {
            says: &["output 1 (v2)", "ttl_expired"],
            fix: Some("mcrctl rule set feed --out v2,ttl=64"),
            ..fault("TTL 1", Packet { ttl: 1, ..packet() }.frame())
        },
    ];
    faults.iter().try_for_each(Fault::check)
}

/// Makes the IPv4 header checksum right again.
fn refit(frame: &mut [u8]) {
    frame[24..26].fill(0);
    let sum: u32 = frame[14..34].chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    frame[24..26].copy_from_slice(&(!((folded & 0xffff) + (folded >> 16)) as u16).to_be_bytes());
}

#[test]
fn interfaces_that_are_not_as_they_should_be() -> Result<()> {
    needs_root!();
    let long = Packet { payload: vec![7; 1000], ..packet() }.frame();
    let fault = |name, change| Fault { name, change, frame: packet().frame(), ..Fault::default() };
    let faults = [
        Fault {
            says: &["output 1 (v2)", "too_big", "MTU of v2, 900"],
            fix: Some("ip link set dev v2 mtu 1500"),
            frame: long,
            ..fault("a small MTU", ("relay", "link set v2 mtu 900"))
        },
        Fault {
            says: &["v2 is down", "output 1 (v2)"],
            fix: Some("ip link set dev v2 up"),
            ..fault("the egress is down", ("relay", "link set v2 down"))
        },
        Fault {
            says: &["v1 is down"],
            fix: Some("ip link set dev v1 up"),
            ..fault("the ingress is down", ("relay", "link set v1 down"))
        },
        Fault { says: &["v2 has no carrier"], ..fault("no carrier", (SINK, "link set v3 down")) },
        Fault {
            says: &["v2 has no IPv4 address"],
            fix: Some("mcrctl rule set feed --out v2,source=keep"),
            ..fault("no address", ("relay", "addr flush dev v2"))
        },
        Fault { says: &["no interface v2"], ..fault("the egress is deleted", ("relay", "link del v2")) },
        Fault { says: &["no interface v1"], ..fault("the ingress is renamed", ("relay", "link set v1 name w1")) },
        Fault {
            says: &["no packet of 239.1.1.1:5001 arrives on v1", "the group is joined"],
            frame: Vec::new(),
            ..fault("nothing", ("relay", "link set lo up"))
        },
    ];
    faults.iter().try_for_each(Fault::check)
}

fn started(rules: &str) -> Result<(Network, Daemon)> {
    let network = Topology::fan(1, 3).build()?;
    let daemon = Daemon::start(network.relay(), rules, &[])?;
    Ok((network, daemon))
}

fn rule(name: &str, matcher: &str, outputs: &str) -> String {
    format!("[[rule]]\nname = \"{name}\"\nmatch = {{ interface = \"v1\", {matcher} }}\noutput = [{outputs}]\n")
}

const EXACT: &str = "group = \"239.1.1.1\", port = 5001";

#[test]
fn a_rule_that_is_well_says_so() -> Result<()> {
    needs_root!();
    let (network, daemon) = started(&rule("feed", EXACT, "{ interface = \"v2\" }, { interface = \"v4\" }"))?;
    // A source that this host has no route to, checked strictly: mcr forwards it.
    network.relay().run("sysctl -qw net.ipv4.conf.v1.rp_filter=1")?;
    let _stream = Stream::begin(&network, Packet { source: [172, 31, 0, 9].into(), ..packet() }.frame())?;
    until("the stream to be matched", SOON, || Ok((daemon.stats()?.rule("feed").state == "active").then_some(())))?;
    let told = daemon.ctl(&["explain", "feed"])?;
    ensure!(told.status.success(), "{}", told.told());
    ensure!(told.stdout.starts_with("feed is active: nothing is wrong\n"), "{}", told.stdout);
    eprintln!("{}", told.stdout);
    ensure!(daemon.ctl(&["explain", "nosuch"])?.exited(1)?.stderr.contains("no rule nosuch"));
    daemon.ctl(&["explain"])?.exited(2)?;
    daemon.ctl(&["explain", "feed", "--in", "v1"])?.exited(2)?;
    daemon.ctl(&["explain", "feed", "--seconds", "0"])?.exited(2)?;
    Ok(())
}

#[test]
fn one_output_of_three_a_stronger_rule_and_a_rule_that_is_off() -> Result<()> {
    needs_root!();
    let three = "{ interface = \"v2\" }, { interface = \"v4\", name = \"court1\" }, { interface = \"v6\" }";
    let wide = rule("wide", "group = \"239.1.0.0/16\"", "{ interface = \"v2\" }");
    let off = rule("off", "group = \"239.1.1.9\", port = 5001", "{ interface = \"v2\" }") + "enabled = false\n";
    let (network, daemon) = started(&(rule("feed", EXACT, three) + &wide + &off))?;
    let _stream = Stream::begin(&network, packet().frame())?;
    network.ip("relay", "link set v4 down")?;
    until("the link to be known", SOON, || Ok((daemon.stats()?.rule("feed").state == "degraded").then_some(())))?;
    let told = explain(&daemon, "feed")?;
    ensure!(told.first.contains("v4 is down") && told.first.contains("output court1 (v4)"), "{told:?}");
    ensure!(told.problems == 1 && told.fix.as_deref() == Some("ip link set dev v4 up"), "{told:?}");

    let told = explain(&daemon, "wide")?;
    ensure!(told.first.contains("rule feed is more specific and takes the packets"), "{told:?}");
    let told = explain(&daemon, "off")?;
    ensure!(told.first.contains("switched off") && told.fix.as_deref() == Some("mcrctl rule enable off"), "{told:?}");

    // Two causes at once are both told.
    network.ip(SINK, "link set v7 down")?;
    until("the second link", SOON, || {
        let told = explain(&daemon, "feed")?;
        Ok((told.problems == 2).then_some(()))
    })?;

    // doctor knows the rules.
    let doctor = finish(network.relay().command(programs::path("mcrctl")?).args([
        "--socket",
        daemon.files().socket().to_str().context("a path")?,
        "--json",
        "doctor",
    ]))?;
    let report: Value = serde_json::from_str(&doctor.stdout)?;
    let host = report["host"].as_array().context("findings")?;
    let found = host.iter().find(|finding| finding["id"] == "rules").context("no finding on rules")?;
    ensure!(found["severity"] == "problem" && doctor.status.code() == Some(1), "{}", doctor.told());
    ensure!(found["found"].as_str().is_some_and(|text| text.contains("rule feed is degraded")), "{found}");
    Ok(())
}

#[test]
fn what_no_rule_matches_is_told_to_each_who_asks_and_recorded_for_nobody_else() -> Result<()> {
    needs_root!();
    let network = Topology::fan(1, 1).build()?;
    let tagged_rule = rule("s1", "group = \"239.1.1.1\", port = 5001, vlan = 100", "{ interface = \"v2\" }");
    let daemon = Daemon::start_by(&["env", "RUST_LOG=debug"], Files::new(&tagged_rule)?, network.relay(), &[])?;
    let plain = Stream::begin(&network, packet().frame())?;
    let other = Packet { group: [239, 7, 7, 7].into(), port: 9, to_mac: [1, 0, 0x5e, 7, 7, 7], ..tagged(300) };
    let _other = Stream::begin(&network, other.frame())?;
    let asked = || daemon.done(&["--json", "unmatched", "--seconds", "2"]);
    let answers: Vec<Result<String>> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..3).map(|_| scope.spawn(asked)).collect();
        asking.into_iter().map(|asking| asking.join().expect("no panic")).collect()
    });
    for answer in answers {
        let answer: Value = serde_json::from_str(&answer?)?;
        let flows = answer["flows"].as_array().context("flows")?;
        let flow = |group: &str| flows.iter().find(|flow| flow["group"] == group);
        let s1 = flow("239.1.1.1").with_context(|| format!("{answer}"))?;
        ensure!(s1["near"] == "s1 wants VLAN 100" && s1["vlan"].is_null() && s1["interface"] == "v1", "{s1}");
        ensure!(s1["source"] == "10.1.0.1" && s1["port"] == 5001, "{s1}");
        let packets = s1["packets"].as_u64().context("packets")?;
        ensure!(packets > 20, "{s1}");
        let other = flow("239.7.7.7").with_context(|| format!("{answer}"))?;
        ensure!(other["vlan"] == 300 && other["near"].is_null(), "{other}");
        ensure!(answer["seconds"] == 2);
    }
    let text = daemon.done(&["unmatched", "v1", "--seconds", "1"])?;
    ensure!(
        text.contains("INTERFACE") && text.contains("239.1.1.1:5001") && text.contains("s1 wants VLAN 100"),
        "{text}"
    );
    eprintln!("{text}");
    ensure!(daemon.ctl(&["unmatched", "v9"])?.exited(1)?.stderr.contains("does not receive on v9"));

    // The record ends with the client that asked for it.
    let ended = || daemon.log().matches("what no rule matches is recorded no more").count();
    let before = ended();
    let mut connection = std::os::unix::net::UnixStream::connect(daemon.files().socket())?;
    std::io::Write::write_all(&mut connection, b"{\"command\":\"unmatched\",\"seconds\":3600}\n")?;
    let begun = || daemon.log().matches("what no rule matches is recorded from now on").count();
    until("the record to begin", SOON, || Ok((begun() == before + 1).then_some(())))?;
    drop(connection);
    until("the record to end", SOON, || Ok((ended() == before + 1).then_some(())))?;

    // Nobody asks: what was counted before is not told to the next one.
    drop(plain);
    std::thread::sleep(std::time::Duration::from_millis(300));
    let answer: Value = serde_json::from_str(&daemon.done(&["--json", "unmatched", "--seconds", "1"])?)?;
    let flows = answer["flows"].as_array().context("flows")?;
    ensure!(flows.iter().all(|flow| flow["group"] != "239.1.1.1"), "{answer}");
    Ok(())
}

/// A few numbers, the same each time.
struct Draw(u64);

impl Draw {
    fn of<T: Copy>(&mut self, values: &[T]) -> T {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        values[(self.0 >> 33) as usize % values.len()]
    }
}

#[test]
fn the_data_path_does_what_explain_says() -> Result<()> {
    needs_root!();
    const PACKETS: u16 = 400;
    let network = Topology::fan(1, 2).build()?;
    network.ip("relay", "link set v4 mtu 1000")?;
    let daemon = Daemon::start(network.relay(), "", &["--iface-in", "v1", "--iface-out", "v2", "--iface-out", "v4"])?;
    let draw = &mut Draw(7);
    let mut rules = 0;
    for i in 0..40 {
        let name = format!("r{i}");
        let group = draw.of(&["239.1.1.1", "239.1.1.2", "239.1.0.0/16", "239.0.0.0/8"]);
        let mut words = vec!["rule", "add", "--name", &name, "--in", "v1", "--group", group];
        let port = draw.of(&["", "5001", "5002", "5001-5010", "5000-5003"]);
        let source = draw.of(&["", "", "10.1.0.1", "10.1.0.0/24"]);
        let vlan = draw.of(&["", "", "100"]);
        for (flag, value) in [("--port", port), ("--source", source), ("--vlan", vlan)] {
            if !value.is_empty() {
                words.extend([flag, value]);
            }
        }
        for _ in 0..draw.of(&[1, 2, 3]) {
            let out = draw.of(&[
                "v2",
                "v4",
                "v2,group=239.10.0.0,ttl=keep",
                "v4,source=keep,vlan=7",
                "v2,port=6000,dscp=46",
                "v4,vlan=keep,ttl=9",
                "v2,source=10.9.9.9,vlan=keep",
            ]);
            words.extend(["--out", out]);
        }
        // Some are refused: equal claims, outputs that are not aligned.
        rules += u32::from(daemon.ctl(&words)?.status.success());
    }
    ensure!(rules >= 12, "{rules} rules");
    let mut connection = Connection::open(&daemon)?;
    let generator = Wire::open(network.namespace(GEN), "v0")?;
    let sinks = [("v2", "v3"), ("v4", "v5")].map(|(near, far)| (near, Wire::open(network.namespace(SINK), far)));
    let mut wanted: Vec<(u16, String, Value)> = Vec::new();
    let (mut matched, mut unmatched) = (0, 0);
    for number in 0..PACKETS {
        let vlan = draw.of(&[None, None, Some(100), Some(101)]);
        let sent = Packet {
            source: draw.of(&[[10, 1, 0, 1], [10, 1, 0, 2], [10, 2, 0, 1], [127, 0, 0, 1]]).into(),
            source_port: 10_000 + number,
            ttl: draw.of(&[0, 1, 2, 64, 64]),
            tag: vlan.map(|id| Tag { priority: 0, drop_eligible: false, id }),
            payload: vec![3; draw.of(&[10, 100, 972, 973, 1200])],
            ..Packet::new(
                draw.of(&[[239, 1, 1, 1], [239, 1, 1, 2], [239, 1, 7, 7], [239, 7, 7, 7]]).into(),
                draw.of(&[5000, 5001, 5002, 5007, 5011, 319]),
            )
        };
        let frame = sent.frame();
        let asked = json!({"command": "explain_packet", "packet": {"in": "v1", "source": sent.source, "group": sent.group,
            "port": sent.port, "vlan": vlan, "ttl": sent.ttl, "size": frame.len()}});
        let answer = connection.ask(&asked)?["packet_explained"].take();
        match answer["rule"].is_null() {
            true => unmatched += 1,
            false => matched += 1,
        }
        for output in answer["outputs"].as_array().with_context(|| format!("{answer}"))? {
            if output.get("drop").is_none() {
                wanted.push((sent.source_port, output["interface"].to_string(), output.clone()));
            }
        }
        generator.send(&frame)?;
        let stats = number % 40 == 39;
        if stats {
            // In small numbers: rings are not what is tried here.
            until("the packets to be handled", SOON, || {
                Ok((daemon.stats()?.totals.matched_packets == matched).then_some(()))
            })?;
        }
    }
    daemon.stats_at_rest()?;
    let mut found: Vec<(u16, String, Value)> = Vec::new();
    for (near, wire) in sinks {
        for frame in wire?.received()? {
            found.extend(explained::read(near, &frame));
        }
    }
    let key = |(port, interface, output): &(u16, String, Value)| (*port, interface.clone(), output.to_string());
    wanted.sort_by_key(key);
    found.sort_by_key(key);
    let odd = wanted.iter().zip(&found).find(|(wanted, found)| key(wanted) != key(found));
    ensure!(odd.is_none() && wanted.len() == found.len(), "{} and {}: {odd:?}", wanted.len(), found.len());
    eprintln!("{rules} rules; {matched} packets matched, {unmatched} not; {} sent", found.len());
    ensure!(matched > 100 && unmatched > 30 && found.len() > 100);
    Ok(())
}
