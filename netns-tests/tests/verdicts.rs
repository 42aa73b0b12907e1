//! The XDP program as the kernel runs it: packet in, verdict and packet out (`BPF_PROG_TEST_RUN`).

mod bench;

use std::collections::HashMap;

use anyhow::{Context, Result};
use bench::{Bench, CAPACITY, LOOPBACK, OWN_MAC, Outcome};
use etherparse::PacketBuilder;
use mcr_common::{
    counter::Verdict,
    hidden, lookup,
    parse::{Parsed, parse},
    unmatched::UnmatchedKey,
};
use mcr_userspace::rules::rule::{Match, Ports, Prefix};
use netns_tests::needs_root;
use proptest::{prelude::*, test_runner::TestRunner};

fn matcher(group: [u8; 4], length: u8, ports: Ports) -> Match {
    Match {
        interface: "lo".into(),
        group: Prefix { address: group.into(), length },
        ports,
        source: Prefix::ANY,
        vlan: None,
    }
}

/// The rules of the table below: their slots are the numbers beside them.
fn rules() -> Vec<(u32, Match)> {
    let source = |address: [u8; 4], length| Prefix { address: address.into(), length };
    vec![
        (1, matcher([239, 1, 1, 1], 32, Ports::Exact(5001))),
        (2, Match { source: source([10, 0, 0, 5], 32), ..matcher([239, 1, 1, 1], 32, Ports::Exact(5001)) }),
        (3, Match { source: source([10, 0, 0, 0], 24), ..matcher([239, 1, 0, 0], 16, Ports::Any) }),
        (4, matcher([239, 2, 0, 0], 16, Ports::Range(5001, 5050))),
        (5, matcher([239, 2, 0, 0], 16, Ports::Range(5008, 5023))),
        (6, matcher([239, 2, 0, 0], 16, Ports::Any)),
        (7, Match { vlan: Some(100), ..matcher([239, 3, 1, 1], 32, Ports::Exact(5001)) }),
        (8, matcher([224, 0, 0, 0], 8, Ports::Exact(9999))),
    ]
}

/// What a row's packet is made of.
#[derive(Clone)]
struct Spec {
    vlan: Option<u16>,
    source: [u8; 4],
    group: [u8; 4],
    port: u16,
    options: usize,
    payload: usize,
}

fn spec(group: [u8; 4], port: u16) -> Spec {
    Spec { vlan: None, source: [192, 0, 2, 1], group, port, options: 0, payload: 32 }
}

impl Spec {
    fn from(self, source: [u8; 4]) -> Self {
        Self { source, ..self }
    }

    fn tagged(self, vlan: u16) -> Self {
        Self { vlan: Some(vlan), ..self }
    }

    fn build(&self) -> Vec<u8> {
        let [_, b, c, d] = self.group;
        let ethernet = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [1, 0, 0x5e, b & 0x7f, c, d]);
        let mut header =
            etherparse::Ipv4Header::new(0, 16, etherparse::IpNumber::UDP, self.source, self.group).expect("it fits");
        header.options = vec![1; self.options].as_slice().try_into().expect("a multiple of four, at most 40");
        let ip = etherparse::IpHeaders::Ipv4(header, Default::default());
        let payload = vec![0xa5; self.payload];
        let mut packet = Vec::new();
        let udp = match self.vlan {
            Some(id) => ethernet.single_vlan(id.try_into().expect("a VLAN ID")).ip(ip).udp(40_000, self.port),
            None => ethernet.ip(ip).udp(40_000, self.port),
        };
        udp.write(&mut packet, &payload).expect("a vector takes it");
        packet
    }

    fn with(&self, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut packet = self.build();
        change(&mut packet);
        packet
    }
}

/// Byte offsets in an untagged frame without options.
const VERSION_IHL: usize = 14;
const FRAGMENT: usize = 20;
const PROTOCOL: usize = 23;

/// Packet in, verdict and slot out.
fn table() -> Vec<(&'static str, Vec<u8>, Verdict, Option<u32>)> {
    use Verdict::{PassFragment, PassNoRule, PassVlan, Steered};
    let plain = spec([239, 1, 1, 1], 5001);
    let fragment = |bits: u16| move |p: &mut Vec<u8>| p[FRAGMENT..FRAGMENT + 2].copy_from_slice(&bits.to_be_bytes());
    vec![
        ("group and port", plain.build(), Steered, Some(1)),
        ("the exact source is more specific", plain.clone().from([10, 0, 0, 5]).build(), Steered, Some(2)),
        ("a longer source beats an exact port", plain.clone().from([10, 0, 0, 6]).build(), Steered, Some(3)),
        (
            "any port, within source and group prefix",
            spec([239, 1, 9, 9], 1).from([10, 0, 0, 6]).build(),
            Steered,
            Some(3),
        ),
        ("outside the source prefix", spec([239, 1, 9, 9], 1).from([10, 0, 1, 6]).build(), PassNoRule, None),
        ("another port", spec([239, 1, 1, 1], 5002).build(), PassNoRule, None),
        ("another group", spec([239, 1, 1, 2], 5001).build(), PassNoRule, None),
        ("no group of any rule", spec([239, 9, 1, 2], 5001).build(), PassNoRule, None),
        ("a range's first port", spec([239, 2, 3, 4], 5001).build(), Steered, Some(4)),
        ("a range's last port", spec([239, 2, 3, 4], 5050).build(), Steered, Some(4)),
        ("past a range: any port", spec([239, 2, 3, 4], 5051).build(), Steered, Some(6)),
        ("the narrower range's first port", spec([239, 2, 3, 4], 5008).build(), Steered, Some(5)),
        ("the narrower range's last port", spec([239, 2, 3, 4], 5023).build(), Steered, Some(5)),
        ("before the narrower range", spec([239, 2, 3, 4], 5007).build(), Steered, Some(4)),
        ("after the narrower range", spec([239, 2, 3, 4], 5024).build(), Steered, Some(4)),
        ("tagged, and no rule for the tag", plain.clone().tagged(5).build(), PassVlan, None),
        ("a priority tag is no VLAN", plain.clone().tagged(0).build(), Steered, Some(1)),
        ("a priority tag with all other bits", plain.clone().tagged(0).with(|p| p[14] = 0xf0), Steered, Some(1)),
        (
            "a provider's priority tag",
            plain.clone().tagged(0).with(|p| p[12..14].copy_from_slice(&[0x88, 0xa8])),
            Steered,
            Some(1),
        ),
        (
            "a provider's tag",
            plain.clone().tagged(5).with(|p| p[12..14].copy_from_slice(&[0x88, 0xa8])),
            PassNoRule,
            None,
        ),
        ("a priority tag before the rule's", double_tagged([239, 3, 1, 1], 0, 100), Steered, Some(7)),
        ("a priority tag before another than the rule's", double_tagged([239, 3, 1, 1], 0, 101), PassVlan, None),
        ("two priority tags", double_tagged([239, 1, 1, 1], 0, 0), Steered, Some(1)),
        ("a priority tag behind the rule's", double_tagged([239, 3, 1, 1], 100, 0), PassNoRule, None),
        ("the rule's tag", spec([239, 3, 1, 1], 5001).tagged(100).build(), Steered, Some(7)),
        ("another tag than the rule's", spec([239, 3, 1, 1], 5001).tagged(101).build(), PassVlan, None),
        ("untagged, and the rule has a tag", spec([239, 3, 1, 1], 5001).build(), PassVlan, None),
        ("the rule's tag, another port", spec([239, 3, 1, 1], 5002).tagged(100).build(), PassNoRule, None),
        ("a short prefix", spec([224, 1, 2, 3], 9999).build(), Steered, Some(8)),
        ("but never 224.0.0.0/24", spec([224, 0, 0, 251], 9999).build(), PassNoRule, None),
        ("PTP event", spec([239, 2, 3, 4], 319).build(), PassNoRule, None),
        ("PTP general", spec([239, 2, 3, 4], 320).build(), PassNoRule, None),
        ("IP options", Spec { options: 40, ..plain.clone() }.build(), Steered, Some(1)),
        ("IP options of one word", Spec { options: 4, ..plain.clone() }.build(), Steered, Some(1)),
        ("no payload", Spec { payload: 0, ..plain.clone() }.build(), Steered, Some(1)),
        ("a large payload", Spec { payload: 1472, ..plain.clone() }.build(), Steered, Some(1)),
        ("a first fragment", plain.with(fragment(0x2000)), PassFragment, None),
        ("a middle fragment", plain.with(fragment(0x2010)), PassFragment, None),
        ("a last fragment", plain.with(fragment(0x0010)), PassFragment, None),
        ("DF is no fragment", plain.with(fragment(0x4000)), Steered, Some(1)),
        ("a fragment of no rule's group", spec([239, 9, 1, 2], 5001).with(fragment(0x2000)), PassNoRule, None),
        ("a fragment under another tag", plain.clone().tagged(5).with(|p| p[24] = 0x20), PassVlan, None),
        ("another host's MAC", plain.with(|p| p[0] = 2), PassNoRule, None),
        ("a MAC that differs from ours in one bit", plain.with(|p| to_us(p, 1)), PassNoRule, None),
        ("our own MAC", plain.with(|p| to_us(p, 0)), Steered, Some(1)),
        ("our own MAC behind a tag", spec([239, 3, 1, 1], 5001).tagged(100).with(|p| to_us(p, 0)), Steered, Some(7)),
        ("our own MAC, no rule", spec([239, 9, 1, 1], 5001).with(|p| to_us(p, 0)), PassNoRule, None),
        ("our own MAC, no group", spec([10, 1, 1, 1], 5001).with(|p| to_us(p, 0)), PassNoRule, None),
        (
            "a fragment to our own MAC",
            plain.with(|p| {
                to_us(p, 0);
                fragment(0x2000)(p)
            }),
            PassFragment,
            None,
        ),
        ("a martian is the worker's to find", plain.clone().from([127, 0, 0, 1]).build(), Steered, Some(1)),
        ("a broadcast MAC is a group's", plain.with(|p| p[..6].fill(0xff)), Steered, Some(1)),
        ("TCP", plain.with(|p| p[PROTOCOL] = 6), PassNoRule, None),
        ("IGMP", plain.with(|p| p[PROTOCOL] = 2), PassNoRule, None),
        ("ARP", plain.with(|p| p[12..14].copy_from_slice(&[8, 6])), PassNoRule, None),
        ("IPv6", plain.with(|p| p[12..14].copy_from_slice(&[0x86, 0xdd])), PassNoRule, None),
        ("IP version 5", plain.with(|p| p[VERSION_IHL] = 0x55), PassNoRule, None),
        ("an IP header of 16 bytes", plain.with(|p| p[VERSION_IHL] = 0x44), PassNoRule, None),
        (
            "an IP header beyond the packet",
            Spec { payload: 0, ..plain.clone() }.with(|p| p[VERSION_IHL] = 0x4f),
            PassNoRule,
            None,
        ),
        ("cut in the UDP header", plain.with(|p| p.truncate(41)), PassNoRule, None),
        ("cut in the IP header", plain.with(|p| p.truncate(33)), PassNoRule, None),
        ("an Ethernet header alone", plain.with(|p| p.truncate(14)), PassNoRule, None),
        ("a tag alone", plain.clone().tagged(5).with(|p| p.truncate(18)), PassNoRule, None),
        ("two tags", double_tagged([239, 1, 1, 1], 6, 5), PassNoRule, None),
        ("a second tag that is cut", double_tagged([239, 1, 1, 1], 6, 5)[..20].to_vec(), PassNoRule, None),
        ("three tags", under(0x88a8, 7, double_tagged([239, 1, 1, 1], 6, 5)), PassNoRule, None),
        ("two tags before a fragment", double_tagged_fragment(), PassNoRule, None),
        ("a tag of an old type", under(0x9100, 5, plain.build()), PassNoRule, None),
        (
            "a tag of an old type before the rule's",
            under(0x9100, 5, spec([239, 3, 1, 1], 5001).tagged(100).build()),
            PassNoRule,
            None,
        ),
        ("a priority tag before a provider's", under(0x8100, 0, under(0x88a8, 5, plain.build())), PassNoRule, None),
        ("PTP in a VLAN", spec([239, 3, 1, 1], 320).tagged(100).build(), PassNoRule, None),
        ("port 0", spec([239, 1, 1, 1], 0).build(), PassNoRule, None),
        ("port 0 under any port", spec([239, 2, 3, 4], 0).build(), Steered, Some(6)),
        ("a bad IP checksum is the worker's to find", plain.with(|p| p[24] ^= 0x55), Steered, Some(1)),
    ]
}

fn double_tagged(group: [u8; 4], outer: u8, inner: u16) -> Vec<u8> {
    spec(group, 5001).tagged(inner).with(|packet| {
        packet.splice(12..12, [0x81, 0x00, 0x00, outer]);
    })
}

/// The frame with one more tag before its own EtherType.
fn under(ethertype: u16, vlan: u16, mut frame: Vec<u8>) -> Vec<u8> {
    frame.splice(12..12, [ethertype, vlan].into_iter().flat_map(u16::to_be_bytes));
    frame
}

fn double_tagged_fragment() -> Vec<u8> {
    let mut frame = double_tagged([239, 1, 1, 1], 6, 5);
    frame[28] = 0x20;
    frame
}

/// What is to be recorded of a packet with this verdict.
fn recorded(packet: &[u8], verdict: Verdict) -> Option<UnmatchedKey> {
    let key = |datagram, is_fragment| UnmatchedKey::new(LOOPBACK, datagram, is_fragment, verdict);
    match parse(packet) {
        _ if verdict == Verdict::Steered => None,
        Parsed::Datagram(datagram) => Some(key(&datagram, false)),
        Parsed::Fragment(datagram) => Some(key(&datagram, true)),
        Parsed::Other => Some(UnmatchedKey::hidden(LOOPBACK, &hidden::look(packet)?, verdict)),
    }
}

/// Sends a frame to the interface's own address, but for these bits of the last byte.
fn to_us(frame: &mut [u8], bits: u8) {
    frame[..6].copy_from_slice(&OWN_MAC);
    frame[5] ^= bits;
}

#[test]
fn every_row_of_the_table() -> Result<()> {
    needs_root!();
    let mut bench = Bench::new(true)?;
    for (slot, matcher) in rules() {
        bench.add(slot, &matcher)?;
    }
    let rows = table();
    for (name, packet, verdict, slot) in &rows {
        let outcome = bench.run(packet).with_context(|| format!("row `{name}`"))?;
        let expected = Outcome { verdict: *verdict, slot: *slot, is_cut: false, packet: packet.clone() };
        assert_eq!(outcome, expected, "row `{name}`");
    }
    Ok(())
}

#[test]
fn a_queue_without_a_socket_passes() -> Result<()> {
    needs_root!();
    let mut bench = Bench::new(false)?;
    bench.add(1, &matcher([239, 1, 1, 1], 32, Ports::Exact(5001)))?;
    let packet = spec([239, 1, 1, 1], 5001).build();
    let outcome = bench.run(&packet)?;
    assert_eq!(outcome, Outcome { verdict: Verdict::PassUnservedQueue, slot: None, is_cut: false, packet });
    assert_eq!(bench.program.count(1).packets, 0, "what is passed is not counted for the rule");
    Ok(())
}

/// What is longer than a frame takes is steered by its headers alone, and counted whole.
#[test]
fn a_packet_too_long_for_a_frame_is_cut() -> Result<()> {
    needs_root!();
    let mut bench = Bench::new(true)?;
    bench.add(1, &matcher([239, 1, 1, 1], 32, Ports::Exact(5001)))?;
    bench.add(7, &Match { vlan: Some(100), ..matcher([239, 3, 1, 1], 32, Ports::Exact(5001)) })?;
    let plain = spec([239, 1, 1, 1], 5001);
    let tagged = Spec { options: 8, ..spec([239, 3, 1, 1], 5001).tagged(100) };
    let mut bytes = 0;
    for (spec, headers, slot) in [(plain, 42, 1), (tagged, 54, 7)] {
        for (more, is_cut) in [(0, false), (1, true), (1200, true)] {
            let packet = Spec { payload: CAPACITY as usize + more - headers, ..spec.clone() }.build();
            let left = if is_cut { packet[..headers].to_vec() } else { packet.clone() };
            let expected = Outcome { verdict: Verdict::Steered, slot: Some(slot), is_cut, packet: left };
            assert_eq!(bench.run(&packet)?, expected, "{more} bytes more than a frame takes");
            bytes += if slot == 1 { packet.len() as u64 } else { 0 };
        }
    }
    let count = bench.program.count(1);
    assert_eq!((count.packets, count.bytes), (3, bytes));
    Ok(())
}

#[test]
fn a_rule_counts_its_packets_and_bytes() -> Result<()> {
    needs_root!();
    let mut bench = Bench::new(true)?;
    bench.add(3, &matcher([239, 1, 1, 1], 32, Ports::Exact(5001)))?;
    let packet = spec([239, 1, 1, 1], 5001).build();
    for _ in 0..7 {
        bench.run(&packet)?;
    }
    let count = bench.program.count(3);
    assert_eq!((count.packets, count.bytes), (7, 7 * packet.len() as u64));
    bench.program.clear_count(3)?;
    assert_eq!(bench.program.count(3).packets, 0);
    Ok(())
}

#[test]
fn a_removed_rule_passes_and_a_nested_range_gives_its_ports_back() -> Result<()> {
    needs_root!();
    let mut bench = Bench::new(true)?;
    let wide = matcher([239, 2, 0, 0], 16, Ports::Range(5001, 5050));
    let narrow = matcher([239, 2, 0, 0], 16, Ports::Range(5008, 5023));
    bench.add(1, &wide)?;
    bench.add(2, &narrow)?;
    let packet = spec([239, 2, 1, 1], 5010).build();
    assert_eq!(bench.run(&packet)?.slot, Some(2));
    bench.remove(2, &narrow)?;
    bench.tidy()?;
    assert_eq!(bench.run(&packet)?.slot, Some(1));
    bench.remove(1, &wide)?;
    assert_eq!(bench.run(&packet)?.verdict, Verdict::PassNoRule);
    bench.tidy()?;
    assert_eq!(bench.run(&packet)?.verdict, Verdict::PassNoRule);
    Ok(())
}

/// Each row of the table that no rule takes, whatever hides it, is recorded as often as it comes, and nothing while nobody asks.
#[test]
fn what_no_rule_takes_is_recorded_while_somebody_asks() -> Result<()> {
    needs_root!();
    let mut bench = Bench::new(true)?;
    for (slot, matcher) in rules() {
        bench.add(slot, &matcher)?;
    }
    let recorder = bench.program.recorder();
    let mut wanted = HashMap::new();
    for (name, packet, verdict, _) in &table() {
        bench.run(packet)?;
        let recording = recorder.begin()?;
        bench.run(packet)?;
        bench.run(packet)?;
        let wanted_now: HashMap<UnmatchedKey, u64> =
            recorded(packet, *verdict).map(|key| (key, 2)).into_iter().collect();
        assert_eq!(recording.flows()?, wanted_now, "row `{name}`");
        wanted.extend(wanted_now);
    }
    let hidden = |tags| wanted.keys().filter(|key| key.tags == tags).count();
    assert!(hidden(1) >= 2 && hidden(2) >= 3 && hidden(3) >= 1, "{wanted:?}");
    Ok(())
}

/// Invariants 2 and 3: kernel and host read a packet alike, and each packet is counted once, whatever it is.
#[test]
fn kernel_and_host_agree_on_random_packets() -> Result<()> {
    needs_root!();
    let mut bench = Bench::new(true)?;
    for (slot, matcher) in rules() {
        bench.add(slot, &matcher)?;
    }
    // Somebody asks for what no rule takes: that too is told alike.
    let recording = bench.program.recorder().begin()?;
    let bench = std::cell::RefCell::new(bench);
    let wanted = std::cell::RefCell::new(HashMap::<UnmatchedKey, u64>::new());
    // Frames that nearly match: a good one with a few bytes changed, and cut somewhere.
    let good = prop::sample::select(table().into_iter().map(|(_, packet, ..)| packet).collect::<Vec<_>>());
    let changes = prop::collection::vec((0usize..64, any::<u8>()), 0..4);
    let mutated = (good, changes, 14usize..200).prop_map(|(mut packet, changes, length)| {
        for (at, value) in changes {
            if let Some(byte) = packet.get_mut(at) {
                *byte = value;
            }
        }
        packet.truncate(length);
        packet
    });
    let config = ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() };
    TestRunner::new_with_rng(config, proptest::test_runner::TestRng::deterministic_rng(Default::default()))
        .run(&mutated, |packet| {
            let mut bench = bench.borrow_mut();
            let outcome = bench.run(&packet).map_err(|error| TestCaseError::fail(format!("{error:#}")))?;
            let expected = match parse(packet.as_slice()) {
                Parsed::Datagram(datagram) if datagram.is_unicast && packet[..6] != OWN_MAC => None,
                Parsed::Datagram(datagram) => lookup::find(&bench.index, LOOPBACK, &datagram).map(|value| value.slot),
                Parsed::Fragment(_) | Parsed::Other => None,
            };
            prop_assert_eq!(outcome.slot, expected);
            if let Some(key) = recorded(&packet, outcome.verdict) {
                *wanted.borrow_mut().entry(key).or_default() += 1;
            }
            prop_assert_eq!(outcome.packet, packet);
            Ok(())
        })
        .map_err(|error| anyhow::anyhow!("{error}"))?;
    // The kernel may forget a flow for another one, and tells of none that did not come.
    let (wanted, flows) = (wanted.into_inner(), recording.flows()?);
    for (key, packets) in &flows {
        assert!(
            wanted.get(key).is_some_and(|wanted| packets <= wanted),
            "{key:?}: {packets}, not {:?}",
            wanted.get(key)
        );
    }
    assert!(flows.len() > 100 && flows.keys().any(|key| key.tags > 1), "{} flows", flows.len());
    Ok(())
}
