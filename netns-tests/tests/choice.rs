//! Random sets of rules in the kernel's own maps: the program, the lookup in user space and interface.md choose alike.

mod bench;

use std::cell::{Cell, RefCell};

use anyhow::Result;
use bench::{Bench, LOOPBACK, Outcome};
use mcr_common::{
    counter::Verdict,
    lookup,
    parse::{Parsed, parse},
};
use mcr_userspace::rules::{
    rule::{Match, Output, Ports, Prefix, Rule, Source, Ttl, Vlan},
    set::RuleSet,
};
use netns_tests::{
    needs_root,
    packet::{Packet, Tag},
};
use proptest::{
    prelude::*,
    sample::select,
    test_runner::{RngSeed, TestRunner},
};

/// Sets of rules, and packets for each.
const SETS: u32 = 60;
const PACKETS: usize = 60;

/// Few addresses, so that many prefixes of them contain one another.
const SOURCES: [u32; 4] = [0x0a00_0005, 0x0a00_0006, 0x0a00_8005, 0xc0a8_0101];
const GROUPS: [u32; 6] = [0xef01_0101, 0xef01_0102, 0xef81_0101, 0xe000_0101, 0xe000_0005, 0xe800_0001];
const VLANS: [Option<u16>; 3] = [None, Some(7), Some(4_094)];

fn prefixes(addresses: &'static [u32], lengths: impl Strategy<Value = u8>) -> impl Strategy<Value = Prefix> {
    (select(addresses), lengths).prop_map(|(address, length)| {
        let prefix = Prefix { address: address.into(), length };
        Prefix { address: (address & prefix.mask()).into(), length }
    })
}

/// Ranges whose ends lie on and beside the borders of the blocks that they are cut into, and ranges anywhere.
fn ports() -> impl Strategy<Value = Ports> {
    let bound = prop_oneof![
        4 => (0u16..=4, 0u16..=4).prop_map(|(block, more)| 4_094 + block * 16 + more),
        2 => (1u16..=3, 0u16..=2).prop_map(|(block, more)| 4_095 + block * 256 + more),
        2 => (1u16..=15, 0u16..=2).prop_map(|(block, more)| block * 4_096 - 1 + more),
        1 => select(vec![1u16, 319, 320, 65_535]),
    ];
    (bound.clone(), bound, 0u8..8).prop_map(|(a, b, kind)| match kind {
        0 => Ports::Any,
        1..=2 => Ports::Exact(a),
        _ if a == b => Ports::Exact(a),
        _ => Ports::Range(a.min(b), a.max(b)),
    })
}

fn matches() -> impl Strategy<Value = Match> {
    let source_lens = prop_oneof![3 => Just(0u8), 3 => select(vec![8u8, 24, 32]), 1 => 1u8..=32];
    let group_lens = prop_oneof![3 => Just(32u8), 3 => select(vec![4u8, 8, 31]), 1 => 4u8..=32];
    let vlan = prop_oneof![4 => Just(None), 1 => select(&VLANS[1..])];
    let interface = prop_oneof![8 => Just("lo"), 1 => Just("other")];
    (interface, prefixes(&GROUPS, group_lens), ports(), prefixes(&SOURCES, source_lens), vlan).prop_map(
        |(interface, group, ports, source, vlan)| Match { interface: interface.into(), group, ports, source, vlan },
    )
}

/// A packet for a rule of the set, or nearly: where `own` is not set, a value from elsewhere.
#[derive(Clone, Debug)]
struct Shot {
    rule: prop::sample::Index,
    own: [bool; 4],
    source: u32,
    group: u32,
    port: u16,
    vlan: Option<u16>,
}

fn shots() -> impl Strategy<Value = Shot> {
    let own = [0; 4].map(|_| prop::bool::weighted(0.95));
    let port = prop_oneof![4 => 4_090u16..4_200, 1 => any::<u16>(), 1 => 317u16..=322];
    let vlan = select(vec![None, Some(0), Some(7), Some(8), Some(4_094), Some(4_095)]);
    (any::<prop::sample::Index>(), own, select(&SOURCES[..]), select(&GROUPS[..]), port, vlan)
        .prop_map(|(rule, own, source, group, port, vlan)| Shot { rule, own, source, group, port, vlan })
}

impl Shot {
    /// With what is not fixed by the rule taken from the shot, so that other rules want the packet too.
    fn at(&self, rules: &[(u32, Match)]) -> Packet {
        let (_, aim) = self.rule.get(rules);
        let within = |own: bool, prefix: Prefix, bits: u32| match own {
            true => u32::from(prefix.address) | bits & !prefix.mask(),
            false => bits,
        };
        let (first, last) = aim.ports.bounds();
        let port = match (self.own[2], (first..=last).contains(&self.port), self.port % 2) {
            (false, ..) | (true, true, _) => self.port,
            (true, false, 0) => first,
            (true, false, _) => last,
        };
        let vlan = if self.own[3] { aim.vlan } else { self.vlan };
        Packet {
            source: within(self.own[0], aim.source, self.source).into(),
            tag: vlan.map(|id| Tag { priority: 3, drop_eligible: false, id }),
            ..Packet::new(within(self.own[1], aim.group, self.group).into(), port)
        }
    }
}

/// The rules that are accepted beside those before them, with the slots that they get.
fn accepted(matches: Vec<Match>) -> Vec<(u32, Match)> {
    let mut set = RuleSet::new(1_000);
    let rule = |slot: usize, matcher: &Match| {
        let (source, ttl, vlan) = (Source::Keep, Ttl::Keep, Vlan::None);
        let output =
            Output { name: None, interface: "out".into(), group: None, port: None, source, ttl, dscp: None, vlan };
        Rule {
            name: format!("r{slot}"),
            matcher: matcher.clone(),
            outputs: vec![output],
            stall_after: None,
            description: None,
            enabled: true,
        }
    };
    let numbered = (1..).zip(matches).filter(|(slot, matcher)| set.insert(rule(*slot, matcher)).is_ok());
    numbered.map(|(slot, matcher)| (slot as u32, matcher)).collect()
}

/// interface.md, "Matching", read word by word: slot and verdict, and how many rules want the packet.
fn definition(rules: &[(u32, Match)], packet: &Packet) -> (Option<u32>, Verdict, usize) {
    let never = packet.group.octets()[..3] == [224, 0, 0] || (319..=320).contains(&packet.port);
    let same_group = |matcher: &Match| matcher.interface == "lo" && matcher.group.contains(packet.group) && !never;
    // VLAN ID 0 is no VLAN.
    let same_tag = |matcher: &Match| matcher.vlan == packet.tag.map(|tag| tag.id).filter(|id| *id != 0);
    let takes = |matcher: &Match| {
        let (first, last) = matcher.ports.bounds();
        same_group(matcher)
            && same_tag(matcher)
            && matcher.source.contains(packet.source)
            && (first..=last).contains(&packet.port)
    };
    // The longer source prefix, then the longer group prefix, then exact port, narrower range, any port.
    let rank = |matcher: &Match| {
        let ports = match matcher.ports {
            Ports::Exact(_) => 0,
            Ports::Range(first, last) => u32::from(last - first),
            Ports::Any => u32::MAX,
        };
        (32 - matcher.source.length, 32 - matcher.group.length, ports)
    };
    let wanting: Vec<&(u32, Match)> = rules.iter().filter(|(_, matcher)| takes(matcher)).collect();
    let best = wanting.iter().min_by_key(|(_, matcher)| rank(matcher)).map(|(slot, _)| *slot);
    let near =
        |with_tag: bool| rules.iter().any(|(_, matcher)| same_group(matcher) && (same_tag(matcher) || !with_tag));
    let verdict = match best {
        Some(_) => Verdict::Steered,
        None if !near(true) && near(false) => Verdict::PassVlan,
        None => Verdict::PassNoRule,
    };
    (best, verdict, wanting.len())
}

#[test]
fn random_rules_in_the_kernel_s_maps() -> Result<()> {
    needs_root!();
    let bench = RefCell::new(Bench::new(true)?);
    let entered = RefCell::new(Vec::<(u32, Match)>::new());
    let wanted_by = [0; 4].map(Cell::new);
    let sets = (prop::collection::vec(matches(), 4..24), prop::collection::vec(shots(), PACKETS));
    let config = ProptestConfig {
        cases: SETS,
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        // Each step of it enters a whole set.
        max_shrink_iters: 200,
        ..ProptestConfig::default()
    };
    let failed = |error: anyhow::Error| TestCaseError::fail(format!("{error:#}"));
    TestRunner::new(config)
        .run(&sets, |(matches, shots)| {
            let (mut bench, mut entered) = (bench.borrow_mut(), entered.borrow_mut());
            for (slot, matcher) in entered.drain(..) {
                bench.remove(slot, &matcher).map_err(failed)?;
            }
            bench.tidy().map_err(failed)?;
            *entered = accepted(matches);
            for (slot, matcher) in entered.iter() {
                bench.add(*slot, matcher).map_err(failed)?;
            }
            for shot in shots {
                let packet = shot.at(&entered);
                let (slot, verdict, wanting) = definition(&entered, &packet);
                let frame = packet.frame();
                let found = match parse(frame.as_slice()) {
                    Parsed::Datagram(datagram) => lookup::find(&bench.index, LOOPBACK, &datagram),
                    Parsed::Fragment(_) | Parsed::Other => None,
                };
                prop_assert_eq!(found.map(|value| value.slot), slot, "user space: {:?}", packet);
                let outcome = bench.run(&frame).map_err(failed)?;
                prop_assert_eq!(
                    outcome,
                    Outcome { verdict, slot, is_cut: false, packet: frame },
                    "the kernel: {:?}",
                    packet
                );
                let count = &wanted_by[wanting.min(3)];
                count.set(count.get() + 1);
            }
            Ok(())
        })
        .map_err(|error| anyhow::anyhow!("{error}"))?;
    let wanted_by = wanted_by.map(Cell::into_inner);
    eprintln!("packets of no rule, one, two, more: {wanted_by:?}");
    assert!(wanted_by.iter().all(|packets| *packets > 100), "packets of no rule, one, two, more: {wanted_by:?}");
    Ok(())
}
