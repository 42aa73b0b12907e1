//! A packet's whole way through the pure code (parse, rule, validate, plan, rewrite) against the same packet with the
//! new values, built from scratch by etherparse.

use std::net::Ipv4Addr;

use etherparse::{
    EtherType, Ethernet2Header, IpDscp, IpEcn, IpNumber, Ipv4Header, SingleVlanHeader, UdpHeader, VlanId, VlanPcp,
    checksum::Sum16BitWords,
};
use mcr_common::{
    counter::OutputDrop,
    parse::{Parsed, parse},
};
use proptest::{prelude::*, sample::Index, test_runner::RngSeed};

use super::rewrite;
use crate::{
    forward::{
        plan::{EgressFacts, plan},
        rule::Compiled,
        validate::{complete_checksum, end_of_packet},
    },
    rules::rule::{Match, Output, Ports, Prefix, Rule, Source, Ttl, Vlan},
};

/// A packet by its values.
#[derive(Clone, Debug)]
struct Packet {
    from_mac: [u8; 6],
    to_mac: [u8; 6],
    /// Priority, drop eligibility, VLAN ID.
    tag: Option<(u8, bool, u16)>,
    dscp: u8,
    ecn: u8,
    id: u16,
    dont_fragment: bool,
    ttl: u8,
    options: Vec<u8>,
    source: u32,
    group: u32,
    ports: (u16, u16),
    payload: Vec<u8>,
    /// Bytes of the IP packet behind the datagram, which its UDP length leaves out.
    behind: Vec<u8>,
}

/// What the UDP checksum of a packet is when it comes in.
#[derive(Clone, Copy, Debug)]
enum Checksum {
    Right,
    Zero,
    /// Off by so much.
    Damaged(u16),
    /// The pseudo-header's sum alone.
    Partial,
}

impl Packet {
    fn udp(&self) -> UdpHeader {
        UdpHeader {
            source_port: self.ports.0,
            destination_port: self.ports.1,
            length: 8 + self.payload.len() as u16,
            checksum: 0,
        }
    }

    fn right_checksum(&self) -> u16 {
        let (source, group) = (self.source.to_be_bytes(), self.group.to_be_bytes());
        self.udp().calc_checksum_ipv4_raw(source, group, &self.payload).expect("it fits")
    }

    fn partial_checksum(&self) -> u16 {
        let sum = Sum16BitWords::new().add_4bytes(self.source.to_be_bytes()).add_4bytes(self.group.to_be_bytes());
        !sum.add_2bytes([0, 17]).add_2bytes(self.udp().length.to_be_bytes()).ones_complement().to_be()
    }

    /// Makes the first two bytes of the payload such that the checksum is computed as 0.
    fn balance(&mut self) {
        if let Some(word) = self.payload.first_chunk_mut::<2>() {
            *word = [0, 0];
            let rest = self.right_checksum();
            self.payload[..2].copy_from_slice(&rest.to_be_bytes());
        }
    }

    fn bytes(&self, checksum: u16) -> Vec<u8> {
        let mut bytes = Vec::new();
        let ether_type = if self.tag.is_some() { EtherType::VLAN_TAGGED_FRAME } else { EtherType::IPV4 };
        let ethernet = Ethernet2Header { source: self.from_mac, destination: self.to_mac, ether_type };
        bytes.extend(ethernet.to_bytes());
        if let Some((priority, drop_eligible_indicator, id)) = self.tag {
            let tag = SingleVlanHeader {
                pcp: VlanPcp::try_new(priority).expect("three bits"),
                drop_eligible_indicator,
                vlan_id: VlanId::try_new(id).expect("twelve bits"),
                ether_type: EtherType::IPV4,
            };
            bytes.extend(tag.to_bytes());
        }
        let (source, group) = (self.source.to_be_bytes(), self.group.to_be_bytes());
        let mut ip = Ipv4Header::new(0, self.ttl, IpNumber::UDP, source, group).expect("it fits");
        ip.dscp = IpDscp::try_new(self.dscp).expect("six bits");
        ip.ecn = IpEcn::try_new(self.ecn).expect("two bits");
        ip.identification = self.id;
        ip.dont_fragment = self.dont_fragment;
        ip.options = self.options.as_slice().try_into().expect("whole words");
        ip.set_payload_len(8 + self.payload.len() + self.behind.len()).expect("it fits");
        ip.header_checksum = ip.calc_header_checksum();
        bytes.extend(ip.to_bytes());
        bytes.extend(UdpHeader { checksum, ..self.udp() }.to_bytes());
        bytes.extend(&self.payload);
        bytes.extend(&self.behind);
        bytes
    }
}

/// A rule's one output, a packet that the rule takes, and where it goes.
#[derive(Clone, Debug)]
struct Case {
    packet: Packet,
    checksum: Checksum,
    /// Of the frame, behind the IP packet.
    padding: Vec<u8>,
    /// Whether it comes in over an interface that may leave checksums partial.
    is_virtual: bool,
    rule: Rule,
    facts: EgressFacts,
}

fn packets() -> impl Strategy<Value = Packet> {
    let tag = proptest::option::of((0u8..8, any::<bool>(), 1u16..=4094));
    let group = prop_oneof![0xe000_0100u32..=0xefff_ffff, Just(0xef01_0101)];
    let port = prop_oneof![any::<u16>(), 5000u16..5100].prop_filter("PTP stays", |port| !(319..=320).contains(port));
    let ttl = prop_oneof![4 => any::<u8>(), 1 => 0u8..=2];
    let options = (0usize..=10, any::<u8>()).prop_map(|(words, fill)| vec![fill; words * 4]);
    let payload = prop_oneof![
        4 => proptest::collection::vec(any::<u8>(), 0..64),
        1 => (1400usize..=1472, any::<u8>()).prop_map(|(length, seed)| (0..length).map(|i| seed.wrapping_add(i as u8)).collect()),
        1 => (0usize..=1472, prop_oneof![Just(0u8), Just(0xff)]).prop_map(|(length, fill)| vec![fill; length]),
    ];
    let behind = prop_oneof![9 => Just(Vec::new()), 1 => proptest::collection::vec(any::<u8>(), 1..5)];
    (
        (any::<[u8; 6]>(), any::<[u8; 6]>(), tag),
        (0u8..64, 0u8..4, any::<u16>(), any::<bool>(), ttl),
        (options, any::<u32>(), group, any::<u16>(), port),
        (payload, behind),
    )
        .prop_map(|((from_mac, mut to_mac, tag), (dscp, ecn, id, dont_fragment, ttl), ip, (payload, behind))| {
            to_mac[0] |= 1;
            let (options, source, group, source_port, port) = ip;
            Packet {
                from_mac,
                to_mac,
                tag,
                dscp,
                ecn,
                id,
                dont_fragment,
                ttl,
                options,
                source,
                group,
                ports: (source_port, port),
                payload,
                behind,
            }
        })
}

/// A rule that takes `packet`.
fn rules(packet: Packet) -> impl Strategy<Value = (Packet, Rule)> {
    let masked = |bits: u32, length| Prefix { address: (bits & mask(length)).into(), length };
    let port = packet.ports.1;
    let before = any::<Index>().prop_map(move |index| port - index.index(usize::from(port).min(500) + 1) as u16);
    let ports = (0u8..4, before, any::<Index>()).prop_map(move |(kind, first, after)| {
        let last = port + after.index(usize::from(u16::MAX - port).min(500) + 1) as u16;
        match kind {
            0 => Ports::Any,
            1 => Ports::Exact(port),
            _ if first == last => Ports::Exact(port),
            _ => Ports::Range(first, last),
        }
    });
    let vlan = prop_oneof![Just(Vlan::None), Just(Vlan::Keep), (1u16..=4094).prop_map(Vlan::Set)];
    let ttl = prop_oneof![3 => Just(Ttl::Decrement), 1 => Just(Ttl::Keep), 1 => (1u8..).prop_map(Ttl::Set)];
    let source = prop_oneof![
        2 => Just(Source::Interface),
        1 => Just(Source::Keep),
        1 => any::<u32>().prop_map(|address| Source::Address(address.into()))
    ];
    let group = proptest::option::of(0xe000_0000u32..=0xefff_ffff);
    (
        ports,
        4u8..=32,
        0u8..=32,
        (group, any::<Index>(), any::<bool>(), source, ttl, proptest::option::of(0u8..64), vlan),
    )
        .prop_map(move |(ports, group_len, source_len, (group, base, new_port, source, ttl, dscp, vlan))| {
            let width = match ports {
                Ports::Range(first, last) => usize::from(last - first),
                Ports::Exact(_) | Ports::Any => 0,
            };
            let output = Output {
                name: None,
                interface: "out".to_owned(),
                group: group.map(|group| (group & mask(group_len)).into()),
                port: new_port.then(|| 1 + base.index(65_535 - width) as u16),
                source,
                ttl,
                dscp,
                vlan,
            };
            let matcher = Match {
                interface: "in".to_owned(),
                group: masked(packet.group, group_len),
                ports,
                source: masked(packet.source, source_len),
                vlan: packet.tag.map(|(_, _, id)| id),
            };
            (packet.clone(), Rule { name: "r".to_owned(), matcher, outputs: vec![output], stall_after: None })
        })
}

fn mask(length: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0)
}

fn cases() -> impl Strategy<Value = Case> {
    let checksum = prop_oneof![
        3 => Just(Checksum::Right),
        1 => Just(Checksum::Zero),
        2 => (1u16..).prop_map(Checksum::Damaged),
        2 => Just(Checksum::Partial),
    ];
    let padding = prop_oneof![Just(Vec::new()), proptest::collection::vec(any::<u8>(), 0..46)];
    // Whole, or a byte more or less than the packet.
    let mtu = prop_oneof![3 => Just(None), 1 => (-1i64..=1).prop_map(Some)];
    let address = proptest::option::weighted(0.8, any::<u32>());
    (packets().prop_flat_map(rules), checksum, padding, any::<bool>(), 0u8..4, (any::<[u8; 6]>(), address, mtu))
        .prop_map(|((mut packet, rule), checksum, padding, is_virtual, balance, (mac, address, mtu))| {
            let length = 20 + packet.options.len() + 8 + packet.payload.len() + packet.behind.len();
            let mtu = mtu.map_or(1600, |more| length as i64 + more) as u32;
            let facts = EgressFacts { mac, address: address.map(Ipv4Addr::from), mtu };
            // The checksum computed as 0, of what comes in or of what goes out.
            match balance {
                0 => packet.balance(),
                1 => {
                    let mut sent = expected(&packet, &rule, &facts).unwrap_or_else(|_| packet.clone());
                    sent.balance();
                    packet.payload = sent.payload;
                }
                _ => {}
            }
            Case { packet, checksum, padding, is_virtual, rule, facts }
        })
}

/// interface.md in values: the packet that is sent, or every reason that it has not to be.
fn expected(packet: &Packet, rule: &Rule, facts: &EgressFacts) -> Result<Packet, Vec<OutputDrop>> {
    let output = &rule.outputs[0];
    let mut reasons = Vec::new();
    let ttl = match output.ttl {
        Ttl::Decrement => i32::from(packet.ttl) - 1,
        Ttl::Keep => packet.ttl.into(),
        Ttl::Set(ttl) => ttl.into(),
    };
    if ttl <= 0 {
        reasons.push(OutputDrop::TtlExpired);
    }
    if 28 + packet.options.len() + packet.payload.len() + packet.behind.len() > facts.mtu as usize {
        reasons.push(OutputDrop::TooBig);
    }
    let source = match output.source {
        Source::Interface => facts.address,
        Source::Keep => Some(packet.source.into()),
        Source::Address(address) => Some(address),
    };
    if source.is_none() {
        reasons.push(OutputDrop::NoSource);
    }
    let Some(source) = source.filter(|_| reasons.is_empty()) else { return Err(reasons) };
    // An aligned base: the host bits of the packet's group lie in the new range as they are.
    let group =
        output.group.map_or(packet.group, |base| u32::from(base) | packet.group & !mask(rule.matcher.group.length));
    let port = match (output.port, rule.matcher.ports) {
        (None, _) => packet.ports.1,
        (Some(base), Ports::Range(first, _)) => base + (packet.ports.1 - first),
        (Some(port), _) => port,
    };
    let tag = match (output.vlan, packet.tag) {
        (Vlan::None, _) => None,
        (Vlan::Keep, tag) => tag,
        (Vlan::Set(id), None) => Some((0, false, id)),
        (Vlan::Set(id), Some((priority, drop_eligible, _))) => Some((priority, drop_eligible, id)),
    };
    let [_, b, c, d] = group.to_be_bytes();
    Ok(Packet {
        from_mac: facts.mac,
        to_mac: [0x01, 0x00, 0x5e, b & 0x7f, c, d],
        tag,
        dscp: output.dscp.unwrap_or(packet.dscp),
        ttl: ttl as u8,
        source: source.into(),
        group,
        ports: (packet.ports.0, port),
        ..packet.clone()
    })
}

/// `right` off by as much as `found` is off `wanted`, as sums in one's complement, 0 written as all ones.
fn off_alike(right: u16, found: u16, wanted: u16) -> u16 {
    let sum = (u32::from(right) + u32::from(found) + 0xffff - u32::from(wanted)) % 0xffff;
    if sum == 0 { 0xffff } else { sum as u16 }
}

/// The frame that leaves, by the code that workers run.
fn forward(case: &Case, frame: &[u8]) -> Result<Vec<u8>, OutputDrop> {
    let Parsed::Datagram(datagram) = parse(frame) else { panic!("not parsed: {frame:02x?}") };
    let compiled = Compiled::new(&case.rule, 7, |name| (name == "out").then_some(3)).expect("the output has sockets");
    assert!(compiled.covers(7, &datagram), "{datagram:?}");
    assert_eq!(compiled.targets[0].egress, 3);
    let end = end_of_packet(frame, &datagram).expect("well-formed");
    // A frame of the UMEM, with what an earlier packet left in it.
    let mut buffer = vec![0xee; 2048];
    buffer[..frame.len()].copy_from_slice(frame);
    if case.is_virtual {
        complete_checksum(&mut buffer[..end], &datagram);
    }
    let new = plan(&buffer[..end], &datagram, &compiled.targets[0], &case.facts)?;
    let length = rewrite(&mut buffer, end, &datagram, &new);
    buffer.truncate(length);
    Ok(buffer)
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), ..ProptestConfig::with_cases(20_000) })]

    #[test]
    fn a_rewritten_packet_is_one_built_from_scratch(case in cases()) {
        let packet = &case.packet;
        let (right, partial) = (packet.right_checksum(), packet.partial_checksum());
        let found = match case.checksum {
            Checksum::Right => right,
            Checksum::Zero => 0,
            // Adding all ones in one's complement adds nothing: no damage.
            Checksum::Damaged(by) => off_alike(right, by, 0),
            Checksum::Partial => partial,
        };
        let mut frame = packet.bytes(found);
        frame.extend(&case.padding);
        match (forward(&case, &frame), expected(packet, &case.rule, &case.facts)) {
            (Err(reason), Err(reasons)) => prop_assert!(reasons.contains(&reason), "{reason:?}, not {reasons:?}"),
            (Ok(sent), Ok(wanted)) => {
                let checksum = match found {
                    0 => 0,
                    found if found == partial && case.is_virtual => wanted.right_checksum(),
                    found => off_alike(wanted.right_checksum(), found, right),
                };
                prop_assert_eq!(&sent, &wanted.bytes(checksum));
                prop_assert_ne!(wanted.right_checksum(), 0, "etherparse sends a computed 0 as all ones too");
            }
            (sent, wanted) => prop_assert!(false, "{sent:?}, wanted {wanted:?}"),
        }
    }
}

/// That the generator above gets where it should: every reason, every kind of checksum on packets that are sent.
#[test]
fn the_cases_reach_every_corner() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let mut seen = std::collections::BTreeMap::<String, u32>::new();
    for _ in 0..4_000 {
        let case = cases().new_tree(&mut runner).expect("a case").current();
        let mut note = |what: String| *seen.entry(what).or_default() += 1;
        match expected(&case.packet, &case.rule, &case.facts) {
            Err(reasons) => reasons.iter().for_each(|reason| note(reason.name().to_owned())),
            Ok(sent) => {
                note(format!("{:?} {}", std::mem::discriminant(&case.checksum), case.is_virtual));
                if case.packet.right_checksum() == 0xffff {
                    note("computed 0 comes in".to_owned());
                }
                if sent.right_checksum() == 0xffff {
                    note("computed 0 goes out".to_owned());
                }
                note(format!("tagged {} to {}", case.packet.tag.is_some(), sent.tag.is_some()));
                note(format!("odd {}", case.packet.payload.len() % 2 == 1));
            }
        }
    }
    assert_eq!(seen.len(), 3 + 8 + 2 + 4 + 2, "{seen:#?}");
    assert!(seen.values().all(|count| *count >= 20), "{seen:#?}");
}
