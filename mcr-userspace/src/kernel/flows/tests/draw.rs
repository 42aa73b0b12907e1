//! Random rules that overlap in every way, and packets that hit them.

use super::{
    world::{INTERFACES, vlan_of},
    *,
};

/// Prefixes of a few addresses, so that many contain one another.
pub(super) fn prefixes(addresses: Vec<u32>, lengths: impl Strategy<Value = u8>) -> impl Strategy<Value = Prefix> {
    (select(addresses), lengths).prop_map(|(address, length)| {
        let prefix = Prefix { address: address.into(), length };
        Prefix { address: (address & prefix.mask()).into(), length }
    })
}

pub(super) const SOURCES: [u32; 4] = [0x0a00_0005, 0x0a00_0006, 0x0a00_8005, 0xc0a8_0101];
pub(super) const GROUPS: [u32; 5] = [0xef01_0101, 0xef01_0102, 0xef81_0101, 0xe000_0101, 0xe800_0001];

/// Ranges whose ends lie on and beside the borders of blocks, and ranges anywhere.
pub(super) fn ports() -> impl Strategy<Value = Ports> {
    let bound = prop_oneof![
        4 => (0u32..=4, -2i32..=2).prop_map(|(block, more)| (4_096 + block as i32 * 16 + more) as u16),
        2 => (1u32..=3, -1i32..=1).prop_map(|(block, more)| (4_096 + block as i32 * 256 + more) as u16),
        2 => (1u32..=15, -1i32..=1).prop_map(|(block, more)| (block as i32 * 4_096 + more) as u16),
        1 => select(vec![1u16, 2, 65_534, 65_535]),
        1 => 1u16..,
    ];
    (bound.clone(), bound, 0u8..8).prop_map(|(a, b, kind)| match (kind, a.cmp(&b)) {
        (0, _) => Ports::Any,
        (1..=2, _) | (_, std::cmp::Ordering::Equal) => Ports::Exact(a),
        (_, std::cmp::Ordering::Less) => Ports::Range(a, b),
        (_, std::cmp::Ordering::Greater) => Ports::Range(b, a),
    })
}

pub(super) fn matches() -> impl Strategy<Value = Match> {
    let source_lens = prop_oneof![3 => Just(0u8), 1 => 0u8..=32, 2 => select(vec![8u8, 24, 32])];
    let group_lens = prop_oneof![3 => Just(32u8), 1 => 4u8..=32, 2 => select(vec![4u8, 8, 31])];
    let vlan = prop_oneof![4 => Just(None), 1 => select(vec![Some(7u16), Some(4_094)])];
    // Mostly one interface: rules that never meet prove little.
    let interface = prop_oneof![5 => Just(0), 1 => Just(1)];
    (interface, prefixes(GROUPS.to_vec(), group_lens), ports(), prefixes(SOURCES.to_vec(), source_lens), vlan).prop_map(
        |(interface, group, ports, source, vlan)| Match {
            interface: INTERFACES[interface].to_owned(),
            group,
            ports,
            source,
            vlan,
        },
    )
}

/// A packet that some rule takes, or nearly: which rule, then which bits of it are another's.
#[derive(Clone, Debug)]
pub(super) struct Shot {
    pub(super) rule: usize,
    pub(super) source: u32,
    pub(super) group: u32,
    pub(super) port: u16,
    pub(super) vlan: u16,
    pub(super) own: [bool; 5],
}

pub(super) fn shots() -> impl Strategy<Value = Shot> {
    let own = [0; 5].map(|_| proptest::bool::weighted(0.9));
    let port = prop_oneof![2 => any::<u16>(), 3 => 4_090u16..4_500, 1 => select(vec![0u16, 1, 65_535])];
    (any::<usize>(), any::<u32>(), any::<u32>(), port, select(vec![0u16, 7, 8, 4_094, 4_095]), own)
        .prop_map(|(rule, source, group, port, vlan, own)| Shot { rule, source, group, port, vlan, own })
}

impl Shot {
    pub(super) fn at(&self, rules: &BTreeMap<String, (Match, FlowValue)>) -> (&'static str, Datagram) {
        let aim = rules.values().nth(self.rule % rules.len().max(1)).map(|(matcher, _)| matcher);
        let address = |own: bool, prefix: Option<Prefix>, bits: u32, others: &[u32]| match (own, prefix) {
            // Another rule's address within the prefix if there is one, else any within.
            (true, Some(prefix)) => {
                let near = others[bits as usize % others.len()];
                let within = u32::from(prefix.address) | bits & !prefix.mask();
                if prefix.contains(near.into()) { near } else { within }
            }
            _ => bits,
        };
        let (first, last) = aim.map_or((0, u16::MAX), |aim| aim.ports.bounds());
        let port = match (self.own[2], self.rule % 3) {
            (true, 0) => first,
            (true, 1) => last,
            (true, _) => first.wrapping_add((u32::from(self.port) % (u32::from(last - first) + 1)) as u16),
            (false, _) => self.port,
        };
        let vlan = match aim {
            Some(aim) if self.own[3] => vlan_of(aim),
            _ if self.vlan == 0 => Vlan::UNTAGGED,
            _ => Vlan::tagged(self.vlan),
        };
        let interface = match aim {
            Some(aim) if self.own[4] => usize::from(aim.interface == INTERFACES[1]),
            _ => self.rule % 2,
        };
        let datagram = Datagram {
            source: address(self.own[0], aim.map(|aim| aim.source), self.source, &SOURCES),
            group: 0xe000_0000 | address(self.own[1], aim.map(|aim| aim.group), self.group, &GROUPS),
            port,
            vlan,
            is_unicast: false,
            ip_offset: 14,
            udp_offset: 34,
        };
        (INTERFACES[interface], datagram)
    }
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    Put(u8, Match),
    Remove(u8),
    Shoot(Vec<Shot>),
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0u8..50, matches()).prop_map(|(name, matcher)| Step::Put(name, matcher)),
        2 => (0u8..50).prop_map(Step::Remove),
        2 => proptest::collection::vec(shots(), 10).prop_map(Step::Shoot),
    ];
    proptest::collection::vec(step, 1..150)
}
