//! The lookup that the kernel and the workers share against interface.md, "Matching", over random sets of rules.

use std::collections::BTreeMap;

use mcr_common::{
    flow::Datagram,
    limits::MAX_SHAPES,
    lookup::{find, group_entry},
};
use proptest::{prelude::*, sample::select, test_runner::RngSeed};

use super::*;
use crate::{
    forward::rule::Compiled,
    rules::{
        rule::{Output, Prefix, Rule, Source, Ttl, Vlan as OutputVlan},
        set::RuleSet,
    },
};

/// What the kernel's map holds, from the effects alone, and the shapes beside it.
#[derive(Default)]
struct Kernel {
    entries: HashMap<FlowKey, FlowValue>,
    shapes: Vec<Shape>,
    groups: Vec<Shape>,
}

impl Kernel {
    fn apply(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Set(key, value) => drop(self.entries.insert(key, value)),
                Effect::Delete(key) => drop(self.entries.remove(&key)),
            }
        }
    }
}

impl FlowTable for Kernel {
    fn shape(&self, rank: u32) -> Option<Shape> {
        Some(self.shapes.get(rank as usize).copied().unwrap_or(Shape::END))
    }

    fn group_shape(&self, rank: u32) -> Option<Shape> {
        Some(self.groups.get(rank as usize).copied().unwrap_or(Shape::END))
    }

    fn get(&self, key: &FlowKey) -> Option<FlowValue> {
        self.entries.get(key).copied()
    }
}

/// The rules in every form: the set that accepts them, the index, the kernel's likeness, and a plain list of name, match and value.
struct World {
    set: RuleSet,
    index: FlowIndex,
    kernel: Kernel,
    rules: BTreeMap<String, (Match, FlowValue)>,
    /// As workers judge a hint.
    compiled: BTreeMap<String, Compiled>,
    slots: u32,
}

const INTERFACES: [&str; 2] = ["e0", "e1"];

fn ifindex(interface: &str) -> u32 {
    if interface == INTERFACES[0] { 11 } else { 12 }
}

impl World {
    fn new() -> Self {
        Self {
            set: RuleSet::new(1_000),
            index: FlowIndex::default(),
            kernel: Kernel::default(),
            rules: BTreeMap::new(),
            compiled: BTreeMap::new(),
            slots: 0,
        }
    }

    /// Adds a rule, or puts one in the place of the rule of its name as the daemon does: the new one first. Whether the set takes it.
    fn put(&mut self, name: &str, matcher: &Match) -> bool {
        let rule = rule(name, matcher);
        let compiled = Compiled::new(&rule, ifindex(&matcher.interface), |_| Some(0)).expect("the output has sockets");
        let taken = match self.rules.contains_key(name) {
            true => self.set.replace(rule).is_ok(),
            false => self.set.insert(rule).is_ok(),
        };
        if taken {
            self.slots += 1;
            let value = FlowValue { slot: self.slots, xsk_base: self.slots * 2 };
            let effects = self.index.insert(ifindex(&matcher.interface), matcher, value);
            self.kernel.apply(effects);
            self.compiled.insert(name.to_owned(), compiled);
            if let Some((old, value)) = self.rules.insert(name.to_owned(), (matcher.clone(), value)) {
                self.take(&old, value);
            }
        }
        taken
    }

    fn remove(&mut self, name: &str) {
        if let Some((matcher, value)) = self.rules.remove(name) {
            self.set.remove(name);
            self.compiled.remove(name);
            self.take(&matcher, value);
        }
    }

    fn take(&mut self, matcher: &Match, value: FlowValue) {
        let effects = self.index.remove(ifindex(&matcher.interface), matcher, value);
        self.kernel.apply(effects);
    }

    /// interface.md, "Matching": of the rules that take the packet, the longer source prefix, then the longer group prefix, then exact
    /// port, narrower range, any port.
    fn definition(&self, interface: &str, packet: &Datagram) -> Option<FlowValue> {
        let mut best: Option<((u8, u8, u32), FlowValue)> = None;
        for (matcher, value) in self.rules.values() {
            let rank = match matcher.ports {
                Ports::Exact(_) => 0,
                Ports::Range(first, last) => u32::from(last - first),
                Ports::Any => u32::MAX,
            };
            let rank = (32 - matcher.source.length, 32 - matcher.group.length, rank);
            if takes(matcher, interface, packet) && best.is_none_or(|(other, _)| rank < other) {
                best = Some((rank, *value));
            }
        }
        best.map(|(_, value)| value)
    }

    fn agrees(&mut self, interface: &str, packet: &Datagram) -> Result<(), TestCaseError> {
        self.kernel.shapes.clone_from(&self.index.shape_list);
        self.kernel.groups.clone_from(&self.index.group_list);
        let (index, wanted) = (ifindex(interface), self.definition(interface, packet));
        prop_assert_eq!(find(&self.index, index, packet), wanted, "{:?} on {}", packet, interface);
        prop_assert_eq!(find(&self.kernel, index, packet), wanted, "the kernel: {:?} on {}", packet, interface);
        for (name, (matcher, _)) in &self.rules {
            prop_assert_eq!(self.compiled[name].covers(index, packet), takes(matcher, interface, packet), "{}", name);
        }
        for (vlan, same) in [(packet.vlan, true), (Vlan::ANY, false)] {
            let known = self.rules.values().any(|(matcher, _)| {
                let vlan = if same { packet.vlan } else { vlan_of(matcher) };
                let packet = Datagram { vlan, ..*packet };
                matcher.group.contains(packet.group.into())
                    && matcher.interface == interface
                    && vlan_of(matcher) == vlan
            });
            prop_assert_eq!(group_entry(&self.index, index, vlan, packet).is_some(), known);
            prop_assert_eq!(group_entry(&self.kernel, index, vlan, packet).is_some(), known);
        }
        Ok(())
    }
}

fn vlan_of(matcher: &Match) -> Vlan {
    matcher.vlan.map_or(Vlan::UNTAGGED, Vlan::tagged)
}

fn takes(matcher: &Match, interface: &str, packet: &Datagram) -> bool {
    matcher.interface == interface
        && vlan_of(matcher) == packet.vlan
        && matcher.source.contains(packet.source.into())
        && matcher.group.contains(packet.group.into())
        && match matcher.ports {
            Ports::Exact(port) => packet.port == port,
            Ports::Range(first, last) => first <= packet.port && packet.port <= last,
            Ports::Any => true,
        }
}

fn rule(name: &str, matcher: &Match) -> Rule {
    let output = Output {
        name: None,
        interface: "out".to_owned(),
        group: None,
        port: None,
        source: Source::Keep,
        ttl: Ttl::Keep,
        dscp: None,
        vlan: OutputVlan::None,
    };
    Rule { name: name.to_owned(), matcher: matcher.clone(), outputs: vec![output], stall_after: None }
}

/// Prefixes of a few addresses, so that many contain one another.
fn prefixes(addresses: Vec<u32>, lengths: impl Strategy<Value = u8>) -> impl Strategy<Value = Prefix> {
    (select(addresses), lengths).prop_map(|(address, length)| {
        let prefix = Prefix { address: address.into(), length };
        Prefix { address: (address & prefix.mask()).into(), length }
    })
}

const SOURCES: [u32; 4] = [0x0a00_0005, 0x0a00_0006, 0x0a00_8005, 0xc0a8_0101];
const GROUPS: [u32; 5] = [0xef01_0101, 0xef01_0102, 0xef81_0101, 0xe000_0101, 0xe800_0001];

/// Ranges whose ends lie on and beside the borders of blocks, and ranges anywhere.
fn ports() -> impl Strategy<Value = Ports> {
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

fn matches() -> impl Strategy<Value = Match> {
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
struct Shot {
    rule: usize,
    source: u32,
    group: u32,
    port: u16,
    vlan: u16,
    own: [bool; 5],
}

fn shots() -> impl Strategy<Value = Shot> {
    let own = [0; 5].map(|_| proptest::bool::weighted(0.9));
    let port = prop_oneof![2 => any::<u16>(), 3 => 4_090u16..4_500, 1 => select(vec![0u16, 1, 65_535])];
    (any::<usize>(), any::<u32>(), any::<u32>(), port, select(vec![0u16, 7, 8, 4_094, 4_095]), own)
        .prop_map(|(rule, source, group, port, vlan, own)| Shot { rule, source, group, port, vlan, own })
}

impl Shot {
    fn at(&self, rules: &BTreeMap<String, (Match, FlowValue)>) -> (&'static str, Datagram) {
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
            ip_offset: 14,
            udp_offset: 34,
        };
        (INTERFACES[interface], datagram)
    }
}

#[derive(Clone, Debug)]
enum Step {
    Put(u8, Match),
    Remove(u8),
    Shoot(Vec<Shot>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0u8..50, matches()).prop_map(|(name, matcher)| Step::Put(name, matcher)),
        2 => (0u8..50).prop_map(Step::Remove),
        2 => proptest::collection::vec(shots(), 10).prop_map(Step::Shoot),
    ];
    proptest::collection::vec(step, 1..150)
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), ..ProptestConfig::with_cases(600) })]

    #[test]
    fn the_most_specific_rule_wins(steps in steps(), last in proptest::collection::vec(shots(), 40)) {
        let mut world = World::new();
        for step in steps.into_iter().chain([Step::Shoot(last)]) {
            match step {
                Step::Put(name, matcher) => drop(world.put(&format!("r{name:02}"), &matcher)),
                Step::Remove(name) => world.remove(&format!("r{name:02}")),
                Step::Shoot(shots) => {
                    for shot in shots {
                        let (interface, packet) = shot.at(&world.rules);
                        world.agrees(interface, &packet)?;
                    }
                }
            }
        }
        // What was entered is taken out again to the last entry.
        for name in world.rules.keys().cloned().collect::<Vec<_>>() {
            world.remove(&name);
        }
        prop_assert!(world.index.is_empty() && world.kernel.entries.is_empty());
        prop_assert!(world.index.shape_list.is_empty() && world.index.group_list.is_empty());
    }

    /// Every port in exactly one block, every block aligned, no block that a wider one could hold.
    #[test]
    fn blocks_are_the_range(a: u16, b: u16) {
        let (first, last) = (a.min(b), a.max(b));
        let mut at = u32::from(first);
        let blocks = blocks(first, last);
        for (start, bits) in &blocks {
            prop_assert_eq!(u32::from(*start), at);
            prop_assert!(BLOCK_BITS.contains(bits) && at.is_multiple_of(1 << bits));
            at += 1 << bits;
        }
        prop_assert_eq!(at, u32::from(last) + 1);
        prop_assert!(blocks.len() <= 15 * 6 + 14, "{} blocks", blocks.len());
    }
}

/// That the generators above reach what they are for: sets refused and accepted, and packets that many rules want.
#[test]
fn the_steps_reach_every_corner() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let (mut puts, mut wanted_by) = ([0; 2], [0; 4]);
    for _ in 0..100 {
        let mut world = World::new();
        for step in steps().new_tree(&mut runner).expect("steps").current() {
            match step {
                Step::Put(name, matcher) => puts[usize::from(world.put(&format!("r{name:02}"), &matcher))] += 1,
                Step::Remove(name) => world.remove(&format!("r{name:02}")),
                Step::Shoot(shots) => shots.iter().for_each(|shot| {
                    let (interface, packet) = shot.at(&world.rules);
                    let takers = world.rules.values().filter(|(matcher, _)| takes(matcher, interface, &packet)).count();
                    wanted_by[takers.min(3)] += 1;
                }),
            }
        }
    }
    assert!(puts.iter().all(|count| *count > 100), "refused, accepted: {puts:?}");
    assert!(wanted_by.iter().all(|count| *count > 200), "packets of no rule, one, two, more: {wanted_by:?}");
}

fn matcher(group: &str, ports: Ports, source: &str) -> Match {
    let prefix = |text| crate::rules::value::prefix(text).expect("a prefix");
    Match { interface: "e0".to_owned(), group: prefix(group), ports, source: prefix(source), vlan: None }
}

fn packet(source: u32, group: u32, port: u16) -> Datagram {
    Datagram { source, group, port, vlan: Vlan::UNTAGGED, ip_offset: 14, udp_offset: 34 }
}

#[test]
fn the_ladder_of_interface_md() {
    let mut world = World::new();
    // From the least specific to the most: each added one takes the packet from the one before.
    let ladder = [
        ("224.0.0.0/4", Ports::Any, "0.0.0.0/0"),
        ("224.0.0.0/4", Ports::Range(1, 65_535), "0.0.0.0/0"),
        ("224.0.0.0/4", Ports::Range(5_000, 6_000), "0.0.0.0/0"),
        ("224.0.0.0/4", Ports::Range(5_001, 5_002), "0.0.0.0/0"),
        ("224.0.0.0/4", Ports::Exact(5_001), "0.0.0.0/0"),
        ("239.0.0.0/8", Ports::Any, "0.0.0.0/0"),
        ("239.1.1.1", Ports::Any, "0.0.0.0/0"),
        ("239.1.1.1", Ports::Exact(5_001), "0.0.0.0/0"),
        ("224.0.0.0/4", Ports::Any, "10.0.0.0/8"),
        ("239.1.1.1", Ports::Range(5_001, 5_050), "10.0.0.0/8"),
        ("224.0.0.0/4", Ports::Any, "10.0.0.5"),
        ("239.1.1.1", Ports::Exact(5_001), "10.0.0.5"),
    ];
    let packet = packet(0x0a00_0005, 0xef01_0101, 5_001);
    for (i, (group, ports, source)) in ladder.into_iter().enumerate() {
        assert!(world.put(&format!("r{i}"), &matcher(group, ports, source)), "r{i}");
        assert_eq!(find(&world.index, 11, &packet).map(|value| value.slot), Some(i as u32 + 1));
    }
    for i in (0..ladder.len()).rev() {
        assert_eq!(find(&world.kernel_now(), 11, &packet).map(|value| value.slot), Some(i as u32 + 1));
        world.remove(&format!("r{i}"));
    }
    assert_eq!(find(&world.index, 11, &packet), None);
}

impl World {
    fn kernel_now(&self) -> Kernel {
        let entries = self.kernel.entries.clone();
        Kernel { entries, shapes: self.index.shape_list.clone(), groups: self.index.group_list.clone() }
    }
}

/// Both ranges hold the whole block 5008..5024, and so its entry: the narrower one's, until it goes.
#[test]
fn a_nested_range_gives_its_blocks_back() {
    for narrow_first in [false, true] {
        let mut world = World::new();
        let (wide, narrow) = (Ports::Range(5_000, 5_100), Ports::Range(5_005, 5_030));
        let mut rules = [("wide", wide), ("narrow", narrow)];
        if narrow_first {
            rules.reverse();
        }
        for (name, ports) in rules {
            assert!(world.put(name, &matcher("239.1.1.1", ports, "0.0.0.0/0")));
        }
        let slot = |world: &World, name: &str| world.rules[name].1.slot;
        let found = |world: &World, port: u16| {
            let packet = packet(0x0a00_0005, 0xef01_0101, port);
            let found = find(&world.index, 11, &packet);
            assert_eq!(find(&world.kernel_now(), 11, &packet), found, "port {port}");
            found.map(|value| value.slot)
        };
        for port in 4_990..5_110 {
            let wanted = match port {
                5_005..=5_030 => Some(slot(&world, "narrow")),
                5_000..=5_100 => Some(slot(&world, "wide")),
                _ => None,
            };
            assert_eq!(found(&world, port), wanted, "port {port}");
        }
        world.remove("narrow");
        for port in 4_990..5_110 {
            let wanted = (5_000..=5_100).contains(&port).then(|| slot(&world, "wide"));
            assert_eq!(found(&world, port), wanted, "port {port}");
        }
    }
}

/// A replacement is in force as soon as it is entered, and the rule that it replaces takes nothing away with it.
#[test]
fn of_two_equal_rules_the_later_one_has_the_keys() {
    for ports in [Ports::Exact(5_001), Ports::Range(4_990, 5_100), Ports::Any] {
        let mut index = FlowIndex::default();
        let matcher = matcher("239.1.1.0/24", ports, "10.0.0.0/8");
        let [old, new] = [1, 2].map(|slot| FlowValue { slot, xsk_base: 0 });
        let packet = packet(0x0a00_0005, 0xef01_0101, 5_001);
        let sets = |effects: Vec<Effect>, value| effects.iter().all(|e| matches!(e, Effect::Set(_, v) if *v == value));
        assert!(sets(index.insert(11, &matcher, old), old));
        assert!(sets(index.insert(11, &matcher, new), new), "{ports}");
        assert_eq!(find(&index, 11, &packet), Some(new), "{ports}");
        assert_eq!(index.remove(11, &matcher, old), [], "{ports}");
        assert_eq!(find(&index, 11, &packet), Some(new), "{ports}");
        // The other way round, as when the kernel refused the new one.
        assert!(sets(index.insert(11, &matcher, old), old), "{ports}");
        assert!(sets(index.remove(11, &matcher, old), new), "{ports}");
        assert_eq!(find(&index, 11, &packet), Some(new), "{ports}");
    }
}

/// As many shapes as the set takes, each with ranges of all four sizes of block: they fit the kernel's table, its end included.
#[test]
fn all_shapes_fit_the_kernel_s_table() {
    let mut world = World::new();
    for i in 0..MAX_SHAPES as u8 {
        let group = prefix_of(0xef01_0101, 32 - i / 32);
        let source = prefix_of(0x0a00_0005, 1 + i % 32);
        let ports = Ports::Range(4_095, 4_096 * 2 + 256 + 16);
        let matcher = Match { interface: "e0".to_owned(), group, ports, source, vlan: None };
        assert!(world.put(&format!("r{i}"), &matcher), "r{i}");
    }
    assert!(!world.put("more", &matcher("239.1.1.1", Ports::Any, "0.0.0.0/0")), "one shape too many");
    assert_eq!(world.index.shape_list.len() as u32, TABLE_SHAPES - 1);
    assert!(world.index.shape_list.is_sorted());
    // The last shape of all is reached: one bit of source, the shorter group, a single port.
    let packet = packet(0x7f00_0001, 0xef01_0100, 4_095);
    let wanted = world.definition("e0", &packet);
    assert!(wanted.is_some());
    assert_eq!(find(&world.index, 11, &packet), wanted);
    assert_eq!(find(&world.kernel_now(), 11, &packet), wanted);
}

fn prefix_of(address: u32, length: u8) -> Prefix {
    let mask = Prefix { address: address.into(), length }.mask();
    Prefix { address: (address & mask).into(), length }
}
