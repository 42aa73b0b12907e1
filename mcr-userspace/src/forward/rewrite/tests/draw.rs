//! Random packets, each with a rule that takes it.

use super::*;
use crate::rules::rule::draw;

/// A rule's one output, a packet that the rule takes, and where it goes.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) packet: Packet,
    pub(super) checksum: Checksum,
    /// Of the frame, behind the IP packet.
    pub(super) padding: Vec<u8>,
    /// Whether it comes in over an interface that may leave checksums partial.
    pub(super) is_virtual: bool,
    pub(super) rule: Rule,
    pub(super) facts: EgressFacts,
}

pub(super) fn packets() -> impl Strategy<Value = Packet> {
    let tag = proptest::option::of((0u8..8, any::<bool>(), prop_oneof![4 => 1u16..=4094, 1 => Just(0)]));
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
pub(super) fn rules(packet: Packet) -> impl Strategy<Value = (Packet, Rule)> {
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
    let (vlan, ttl, source) = (draw::vlan(), draw::ttl(), draw::source());
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
                // VLAN ID 0 is no VLAN.
                vlan: packet.tag.map(|(_, _, id)| id).filter(|id| *id != 0),
            };
            (
                packet.clone(),
                Rule {
                    name: "r".to_owned(),
                    matcher,
                    outputs: vec![output],
                    stall_after: None,
                    description: None,
                    enabled: true,
                },
            )
        })
}

pub(super) fn mask(length: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0)
}

pub(super) fn cases() -> impl Strategy<Value = Case> {
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
            let facts = EgressFacts { mac, address: address.map(Ipv4Addr::from), mtu, ..EgressFacts::default() };
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
