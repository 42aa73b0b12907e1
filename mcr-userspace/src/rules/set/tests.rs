//! The set against the definition of a conflict, rule by rule, and its limits.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::rules::{
    reach::overlap,
    rule::{Match, Output, Ports, Prefix, Source, Ttl, Vlan},
    value,
};

fn rule(name: &str, interface: &str, group: &str, ports: Ports, source: &str) -> Rule {
    let prefix = |text| value::prefix(text).expect("a prefix");
    let (group, source) = (prefix(group), prefix(source));
    Rule {
        name: name.to_owned(),
        matcher: Match { interface: interface.to_owned(), group, ports, source, vlan: None },
        outputs: vec![to("out", None)],
        stall_after: None,
        description: None,
        enabled: true,
    }
}

fn to(interface: &str, group: Option<&str>) -> Output {
    Output {
        name: None,
        interface: interface.to_owned(),
        group: group.map(|group| group.parse().expect("a group")),
        port: None,
        source: Source::Interface,
        ttl: Ttl::Decrement,
        dscp: None,
        vlan: Vlan::None,
    }
}

fn any(name: &str, group: &str) -> Rule {
    rule(name, "in", group, Ports::Any, "0.0.0.0/0")
}

/// interface.md, "Matching", word by word.
fn equal_rank_and_shared(a: &Match, b: &Match) -> bool {
    let ports: Vec<u16> = (0..=12)
        .filter(|port| {
            [a, b].iter().all(|m| {
                let (first, last) = m.ports.bounds();
                (first..=last).contains(port)
            })
        })
        .collect();
    let width = |ports: Ports| match ports {
        Ports::Exact(_) => 1,
        Ports::Range(first, last) => u32::from(last - first) + 1,
        Ports::Any => 65_536,
    };
    let nested = width(a.ports).min(width(b.ports)) == ports.len() as u32 && width(a.ports) != width(b.ports);
    a.interface == b.interface
        && a.vlan == b.vlan
        && (a.source.length, a.group.length) == (b.source.length, b.group.length)
        && overlap(a.source, b.source)
        && overlap(a.group, b.group)
        && !ports.is_empty()
        && !nested
}

fn matches() -> impl Strategy<Value = Match> {
    let prefix = |bits: std::ops::Range<u32>, base: u32| {
        (bits, 29u8..=32).prop_map(move |(bits, length)| {
            let raw = Prefix { address: (base + bits).into(), length };
            Prefix { address: (u32::from(raw.address) & raw.mask()).into(), length }
        })
    };
    let ports = prop_oneof![
        1 => Just(Ports::Any),
        3 => (1u16..=12).prop_map(Ports::Exact),
        6 => (1u16..=11, 1u16..=6).prop_map(|(first, more)| Ports::Range(first, (first + more).min(12))),
    ];
    let source = prop_oneof![3 => Just(Prefix::ANY), 1 => prefix(0..4, 0x0a00_0000)];
    (0..2, prefix(0..4, 0xef01_0100), ports, source, proptest::option::weighted(0.2, Just(7))).prop_map(
        |(interface, group, ports, source, vlan)| Match {
            interface: format!("e{interface}"),
            group,
            ports,
            source,
            vlan,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn conflicts_are_the_definition_s(steps in proptest::collection::vec((matches(), 0u8..4), 1..60)) {
        let mut set = RuleSet::new(1000);
        let mut held: Vec<Rule> = Vec::new();
        for (i, (matcher, action)) in steps.into_iter().enumerate() {
            if action == 0 && !held.is_empty() {
                let gone = held.swap_remove(i % held.len());
                prop_assert_eq!(set.remove(&gone.name), Some(gone));
                continue;
            }
            let new = Rule { name: format!("r{i}"), matcher, outputs: vec![to("out", None)], stall_after: None, description: None, enabled: true };
            let wanted: Vec<&str> = held.iter().filter(|old| equal_rank_and_shared(&old.matcher, &new.matcher)).map(|old| old.name.as_str()).collect();
            match set.insert(new.clone()) {
                Ok(_) => prop_assert!(wanted.is_empty(), "{:?} was let in beside {wanted:?}", new.matcher),
                Err(problem) => prop_assert!(
                    wanted.iter().any(|name| problem.message.contains(&format!("`{name}`"))) && problem.message.contains(&new.name),
                    "{:?}: {problem}; wanted {wanted:?}", new.matcher
                ),
            }
            if wanted.is_empty() {
                held.push(new);
            }
        }
        prop_assert_eq!(set.len(), held.len());
    }
}

#[test]
fn names_and_limits_are_kept() {
    let mut set = RuleSet::new(2);
    set.insert(any("a", "239.1.1.1")).expect("room");
    let twice = set.insert(any("a", "239.1.1.2")).expect_err("the name is taken");
    assert!(twice.message.contains("already another rule `a`"), "{twice}");
    set.insert(any("b", "239.1.1.2")).expect("room");
    let full = set.insert(any("c", "239.1.1.3")).expect_err("full");
    assert!(full.message.contains("limit of 2"), "{full}");
    set.replace(any("a", "239.1.1.9")).expect("no more rules than before");
    let refused = set.replace(any("a", "239.1.1.2")).expect_err("b has that");
    assert!(refused.message.contains("`b`"), "{refused}");
    assert_eq!(set.get("a"), Some(&any("a", "239.1.1.9")), "a refused change changes nothing");
    set.insert(any("c", "239.1.1.9")).expect_err("a still has that group");
    assert!(set.replace(any("zz", "239.1.1.1")).is_err());
}

#[test]
fn the_65th_shape_is_refused_until_one_goes() {
    let mut set = RuleSet::new(1000);
    let shaped = |i: usize| {
        let source = format!("{}/{}", if i < 25 { "128.0.0.0" } else { "10.0.0.0" }, 8 + i % 25);
        rule(&format!("r{i}"), "in", ["239.0.0.0/9", "239.0.0.0/8", "224.0.0.0/4"][i / 25], Ports::Any, &source)
    };
    (0..MAX_SHAPES).for_each(|i| drop(set.insert(shaped(i)).expect("64 shapes")));
    let refused = set.insert(shaped(MAX_SHAPES)).expect_err("one too many");
    assert!(refused.message.contains("65th"), "{refused}");
    set.insert(rule("same", "in2", "239.0.0.0/9", Ports::Any, "128.0.0.0/8")).expect("a shape in use");
    set.remove("r9");
    set.insert(shaped(MAX_SHAPES)).expect("a shape is free");
}

#[test]
fn diff_removes_then_replaces_then_adds() {
    let mut set = RuleSet::new(10);
    for (name, group) in [("a", "239.1.1.1"), ("b", "239.1.1.2"), ("c", "239.1.1.3")] {
        set.insert(any(name, group)).expect("room");
    }
    // b and c swap their groups, a goes, d comes.
    let new = [any("d", "239.1.1.1"), any("c", "239.1.1.2"), any("b", "239.1.1.3")];
    let replace = |name, from, to| Change::Replace { old: any(name, from), new: any(name, to) };
    let wanted = vec![
        Change::Remove("a".to_owned()),
        replace("b", "239.1.1.2", "239.1.1.3"),
        replace("c", "239.1.1.3", "239.1.1.2"),
        Change::Add(any("d", "239.1.1.1")),
    ];
    assert_eq!(set.diff(&new), wanted);
    let built = RuleSet::build(10, new.to_vec()).expect("a swap is no conflict");
    assert_eq!(built.set.diff(&new), []);
}

#[test]
fn build_reports_every_problem() {
    let rules = vec![any("a", "239.1.1.1"), any("a", "239.1.1.2"), any("b", "239.1.1.1"), any("c", "239.1.1.3")];
    let problems = RuleSet::build(10, rules.clone()).expect_err("two are wrong");
    let keys = |problems: &[(usize, Problem)]| -> Vec<(usize, String)> {
        problems.iter().map(|(i, problem)| (*i, problem.key.clone())).collect()
    };
    let wrong = [(1, "name".to_owned()), (2, "match".to_owned())];
    assert_eq!(keys(&problems), wrong);
    let problems = RuleSet::build(3, rules).expect_err("too many");
    assert_eq!(keys(&problems), [&wrong[..], &[(3, String::new())]].concat());
    assert!(problems[2].1.message.contains("4 rules are more than the limit of 3"), "{}", problems[2].1);
}

#[test]
fn cycles_over_interfaces_are_warned_of() {
    let step = |name: &str, interface: &str, group: &str, out: &str, out_group: &str| {
        let mut rule = rule(name, interface, group, Ports::Exact(5001), "0.0.0.0/0");
        rule.outputs = vec![to("elsewhere", None), to(out, Some(out_group))];
        rule
    };
    let rules = vec![
        step("a", "e0", "239.1.1.1", "e1", "239.1.1.2"),
        step("b", "e1", "239.1.1.2", "e2", "239.1.1.3"),
        step("c", "e2", "239.1.1.3", "e0", "239.1.1.1"),
    ];
    let mut set = RuleSet::new(10);
    assert_eq!(set.insert(rules[0].clone()).expect("fits"), []);
    assert_eq!(set.insert(rules[1].clone()).expect("fits"), []);
    let warnings = set.insert(rules[2].clone()).expect("only a warning");
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].message.contains("`c` -> `a` -> `b`"), "{warnings:?}");
    let built = RuleSet::build(10, rules.clone()).expect("only a warning").warnings;
    assert_eq!(built.iter().map(|(i, _)| *i).collect::<Vec<_>>(), [0], "at the first of them");
    // The chain without its end, and the end on another port, lead nowhere.
    assert_eq!(RuleSet::build(10, rules[..2].to_vec()).expect("fits").warnings, []);
    let mut other = rules;
    other[2].outputs[1].port = Some(5002);
    assert_eq!(RuleSet::build(10, other).expect("fits").warnings, []);
}

/// A pairwise search would take minutes. The bound is for a loaded machine and a debug build.
#[test]
fn tens_of_thousands_are_quick() {
    let group = |i: u32| std::net::Ipv4Addr::from(0xef01_0000 + i).to_string();
    let exact = |i: u32| rule(&format!("r{i}"), "in", &group(i), Ports::Exact(5001), "0.0.0.0/0");
    // Nested inside out, all in one place: the widest range last.
    let nested = |i: u32| {
        rule(&format!("n{i}"), "in", "239.0.0.1", Ports::Range(30_000 - i as u16, 30_001 + i as u16), "0.0.0.0/0")
    };
    // Each leads to every other.
    let knot = |i: u32| {
        let mut rule = rule(&format!("k{i}"), "in", "239.0.0.2", Ports::Any, &format!("10.{}.{}.1", i >> 8, i & 255));
        rule.outputs = vec![to("in", None)];
        rule
    };
    let started = Instant::now();
    let mut set = RuleSet::new(200_000);
    (0..65_536).map(exact).chain((0..20_000).map(nested)).for_each(|rule| drop(set.insert(rule).expect("no conflict")));
    RuleSet::build(200_000, set.iter().cloned().collect()).expect("no conflict");
    RuleSet::build(200_000, (0..20_000).map(knot).collect()).expect("no conflict");
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    eprintln!("tens_of_thousands_are_quick: {:?}", started.elapsed());
}
