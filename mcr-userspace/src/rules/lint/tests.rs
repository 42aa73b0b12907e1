//! Each warning where it is due and not beside it; shared addresses against their definition.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use proptest::prelude::*;

use super::*;
use crate::rules::{
    check::{Checked, check_rule},
    reach::overlap,
    rule::{Prefix, Rule},
    set::RuleSet,
    spec::RuleSpec,
};

fn checked(name: &str, matcher: &str, outputs: &[&str]) -> Checked {
    let outputs: Vec<String> = outputs.iter().map(|output| format!("{{{output}}}")).collect();
    let json = format!(r#"{{"name":"{name}","match":{{{matcher}}},"output":[{}]}}"#, outputs.join(","));
    let spec: RuleSpec = serde_json::from_str(&json).expect("a rule as typed");
    check_rule(&spec).expect("a right rule")
}

/// Kind and key of each warning about a rule by itself.
fn found(matcher: &str, outputs: &[&str]) -> Vec<(Kind, String)> {
    let warnings = checked("a", matcher, outputs).warnings;
    warnings.into_iter().map(|warning| (warning.kind, warning.key)).collect()
}

fn on_e0(group: &str) -> String {
    format!(r#""interface":"e0","group":"{group}","port":5001"#)
}

#[test]
fn small_ttls_are_told_once_for_a_rule() {
    let outputs = [r#""interface":"e1","ttl":8"#, r#""interface":"e2""#, r#""interface":"e3""#];
    let due = [(Kind::SmallTtl, "output[1].ttl".to_owned())];
    for group in ["239.255.255.250", "239.255.0.0/16", "239.255.7.0/28", "224.0.1.129", "224.0.1.0/24"] {
        assert_eq!(found(&on_e0(group), &outputs), due, "{group}");
        let remedied = [r#""interface":"e1","ttl":8"#, r#""interface":"e2","ttl":"keep""#];
        assert_eq!(found(&on_e0(group), &remedied), [], "{group}");
    }
    for group in ["239.254.255.255", "239.254.0.0/15", "239.0.0.0/8", "224.0.2.1", "225.0.1.1"] {
        assert_eq!(found(&on_e0(group), &outputs), [], "{group}");
    }
}

#[test]
fn outputs_that_change_nothing() {
    let due = [(Kind::Unchanged, "output[0]".to_owned())];
    let same = r#""interface":"e1","source":"keep","ttl":"keep""#;
    for more in ["", r#","group":"239.1.1.1""#, r#","port":5001"#, r#","vlan":"keep""#] {
        assert_eq!(found(&on_e0("239.1.1.1"), &[&format!("{same}{more}")]), due, "{more}");
    }
    for more in [r#","group":"239.1.1.2""#, r#","port":5002"#, r#","vlan":7"#, r#","dscp":0"#] {
        assert_eq!(found(&on_e0("239.1.1.1"), &[&format!("{same}{more}")]), [], "{more}");
    }
    // A tag that is taken off, and a source that is the one there is.
    let tagged = r#""interface":"e0","group":"239.1.1.1","vlan":7"#;
    assert_eq!(found(tagged, &[same]), []);
    assert_eq!(found(tagged, &[&format!(r#"{same},"vlan":7"#)]), due);
    let from = r#""interface":"e0","group":"239.1.1.1","source":"10.0.0.5""#;
    let to = |source: &str| format!(r#""interface":"e1","source":"{source}","ttl":"keep""#);
    assert_eq!((found(from, &[&to("10.0.0.5")]), found(from, &[&to("10.0.0.6")])), (due.to_vec(), vec![]));
    assert_eq!(found(&on_e0("239.1.1.1"), &[r#""interface":"e1","source":"keep""#]), [], "the TTL falls");
}

#[test]
fn outputs_to_where_packets_came_from() {
    let due = (Kind::Echo, "output[0]".to_owned());
    let from = r#""interface":"e0","group":"239.1.1.0/28","port":"5001-5050","source":"10.0.0.0/24","vlan":7"#;
    let back = |more: &str| found(from, &[&format!(r#""interface":"e0","source":"192.0.2.1"{more}"#)]);
    for more in [r#","vlan":7"#, r#","vlan":"keep","ttl":9"#, r#","vlan":7,"group":"239.1.1.0","port":5001"#] {
        assert_eq!(back(more), std::slice::from_ref(&due), "{more}");
    }
    for more in ["", r#","vlan":8"#, r#","vlan":7,"group":"239.1.1.16""#, r#","vlan":7,"port":5002"#] {
        assert_eq!(back(more), [], "{more}");
    }
    // By the interface's own address it may be a loop, too.
    let maybe = found(from, &[r#""interface":"e0","vlan":7"#]);
    assert_eq!(maybe, [(Kind::OwnLoop, "output[0]".to_owned()), due]);
}

#[test]
fn outputs_that_send_the_same() {
    let first = r#""interface":"e1","group":"239.2.0.0","port":6001"#;
    let from = r#""interface":"e0","group":"239.1.0.0/24","port":"5001-5002","vlan":7"#;
    let beside = |second: &str| found(from, &[first, r#""interface":"e2""#, second]);
    for second in [
        r#""interface":"e1","group":"239.2.0.0","port":6001"#,
        r#""interface":"e1","group":"239.2.0.0","port":6001,"ttl":5,"dscp":1,"source":"192.0.2.1""#,
        r#""interface":"e2","group":"239.1.0.0","port":5001,"vlan":"none""#,
    ] {
        assert_eq!(beside(second), [(Kind::Twice, "output[2]".to_owned())], "{second}");
    }
    for second in [
        r#""interface":"e1","group":"239.2.1.0","port":6001"#,
        r#""interface":"e1","group":"239.2.0.0","port":6002"#,
        r#""interface":"e1","group":"239.2.0.0","port":6001,"vlan":"keep""#,
        r#""interface":"e3","group":"239.2.0.0","port":6001"#,
    ] {
        assert_eq!(beside(second), [], "{second}");
    }
}

/// The warnings of `b` beside `a`, as keys.
fn beside(a: &Rule, b: &Rule) -> Vec<String> {
    let mut set = RuleSet::new(10);
    set.insert(a.clone()).expect("one rule");
    let warnings = set.insert(b.clone()).expect("no conflict");
    // Gone and in again, nothing of it is left behind.
    set.remove(&b.name);
    assert_eq!(set.insert(b.clone()).as_ref(), Ok(&warnings));
    set.remove(&a.name);
    set.replace(b.clone()).expect("it is there");
    let alone = RuleSet::new(10).insert(b.clone());
    assert_eq!(set.replace(b.clone()).map(|(_, warnings)| warnings), alone, "no warning about its former self");
    warnings.into_iter().filter(|warning| warning.kind == Kind::SharedAddress).map(|warning| warning.key).collect()
}

#[test]
fn groups_that_share_an_address_on_an_interface() {
    let rule = |name: &str, matcher: &str, outputs: &[&str]| checked(name, matcher, outputs).rule;
    let a = rule("a", &on_e0("239.1.1.1"), &[r#""interface":"e1","vlan":7"#]);
    let b = |group: &str, output: &str| rule("b", &on_e0(group), &[output]);
    assert_eq!(beside(&a, &b("238.129.1.1", r#""interface":"e2""#)), ["match.group"]);
    assert_eq!(beside(&a, &b("238.129.1.1", r#""interface":"e1","vlan":7"#)), ["match.group", "output[0].group"]);
    assert_eq!(beside(&a, &b("239.1.1.2", r#""interface":"e1","vlan":7,"group":"224.1.1.1""#)), ["output[0].group"]);
    assert_eq!(beside(&a, &b("239.1.1.2", r#""interface":"e1","vlan":8,"group":"224.1.1.1""#)), [""; 0]);
    assert_eq!(beside(&a, &b("239.1.1.2", r#""interface":"e2","vlan":7,"group":"224.1.1.1""#)), [""; 0]);
    assert_eq!(beside(&a, &b("239.1.1.2", r#""interface":"e1","vlan":7,"group":"239.1.1.1""#)), [""; 0], "the same");
    // What one receives and what one sends: each for itself.
    let across = r#""interface":"e9","group":"225.1.1.1""#;
    assert_eq!(beside(&a, &rule("b", across, &[r#""interface":"e0","port":9"#])), [""; 0]);
    let within = [r#""interface":"e1","group":"239.2.2.2""#, r#""interface":"e1","group":"239.130.2.2""#];
    assert_eq!(beside(&a, &rule("b", &on_e0("239.1.1.2"), &within)), ["output[1].group"]);
    let mut set = RuleSet::new(10);
    set.insert(a).expect("one rule");
    let told = set.insert(b("238.129.0.0/16", r#""interface":"e2""#)).expect("no conflict")[0].to_string();
    assert!(
        told.starts_with(
            "match.group: 238.129.0.0/16 and 239.1.1.1 share the Ethernet address 01:00:5e:01:01:01 on e0: "
        ),
        "{told}"
    );
}

/// RFC 1112 section 6.4, address by address of small prefixes in a few blocks.
fn share(a: Prefix, b: Prefix) -> bool {
    let all = |prefix: Prefix| {
        let first = u32::from(prefix.address);
        (first..=first | !prefix.mask()).map(|group| group & 0x007f_ffff).collect::<std::collections::HashSet<_>>()
    };
    !overlap(a, b) && !all(a).is_disjoint(&all(b))
}

fn group() -> impl Strategy<Value = Prefix> {
    (0u32..4, 0u32..32, 27u8..=32).prop_map(|(block, low, length)| {
        let raw = Prefix { address: Ipv4Addr::from(0xef01_0100 - (block << 23) + low), length };
        Prefix { address: (u32::from(raw.address) & raw.mask()).into(), length }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn shared_addresses_are_the_definition_s(steps in proptest::collection::vec((group(), 0u8..4), 1..60)) {
        let mut addresses = Addresses::default();
        let mut held: Vec<Rule> = Vec::new();
        for (i, (group, action)) in steps.into_iter().enumerate() {
            if action == 0 && !held.is_empty() {
                addresses.remove(&held.swap_remove(i % held.len()));
                continue;
            }
            let rule = checked("a", &on_e0(&group.to_string()), &[&format!(r#""interface":"o{i}""#)]).rule;
            let wanted = held.iter().any(|other| share(other.matcher.group, group));
            let told = addresses.insert(&rule);
            prop_assert_eq!(told.len(), usize::from(wanted), "{} beside {:?}", group, held);
            held.push(rule);
        }
    }
}

#[test]
fn of_each_kind_some_are_told_and_the_rest_counted() {
    let many = (0..TOLD + 7).map(|i| (i, Kind::Twice.at("k", "m")));
    let few = (100..100 + TOLD).map(|i| (i, Kind::Echo.at("k", "m")));
    let told = told(many.chain(few).collect());
    assert_eq!(told.len(), TOLD + 1 + TOLD);
    assert_eq!(
        (told[TOLD].0, told[TOLD].1.to_string()),
        (TOLD, "and 7 more of outputs that send the same as another".into())
    );
    assert_eq!(lines(vec![Kind::Echo.at("", "m"), Kind::Echo.at("k", "m")]), ["m", "k: m"]);
}

/// The bound is for a loaded machine.
#[test]
fn addresses_of_ten_thousand_rules_are_quick() {
    let rule = |i: u32, base: u32| {
        let mut rule = checked("a", &on_e0("239.1.1.1"), &[r#""interface":"e1""#]).rule;
        rule.matcher.group = Prefix::host(Ipv4Addr::from(base + i));
        rule.outputs[0].group = Some(Ipv4Addr::from(base + i));
        rule.name = format!("r{i}");
        rule
    };
    // All alike; all blocks in use; prefixes over hosts, each of which shares addresses with thousands.
    let plain: Vec<Rule> = (0..10_000).map(|i| rule(i, 0xef00_0100)).collect();
    let spread: Vec<Rule> = (0..10_000).map(|i| rule(i, 0xe001_0100 + ((i % 32) << 23))).collect();
    let mut nested = plain.clone();
    for (i, rule) in nested.iter_mut().enumerate().skip(9_000) {
        rule.matcher.group = Prefix { address: Ipv4Addr::new(238, 128, 0, 0), length: 9 + (i % 8) as u8 };
    }
    for (what, rules) in [("plain", plain), ("spread", spread), ("nested", nested)] {
        let mut addresses = Addresses::default();
        let started = Instant::now();
        let told: usize = rules.iter().map(|rule| addresses.insert(rule).len()).sum();
        eprintln!("addresses of 10,000 rules, {what}: {:?}, {told} warnings", started.elapsed());
        assert!(started.elapsed() < Duration::from_secs(2), "{what}: {:?}", started.elapsed());
    }
}
