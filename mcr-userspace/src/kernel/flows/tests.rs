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

mod draw;
mod ladder;
mod world;

use draw::{Step, shots, steps};
use world::{World, takes};

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
    Datagram { source, group, port, vlan: Vlan::UNTAGGED, is_unicast: false, ip_offset: 14, udp_offset: 34 }
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
        let [old, new] = [1, 2].map(|slot| FlowValue { slot, xsk_base: 0, queues: 1 });
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
