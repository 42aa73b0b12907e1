//! What finds a rule, and removals while frames are under way.

use std::{
    net::Ipv4Addr,
    sync::mpsc::{Receiver, TryRecvError, channel},
};

use mcr_common::flow::Vlan;

use super::*;
use crate::rules::rule::{Output, Ports, Prefix, Rule, Source, Ttl};

const IFINDEX: u32 = 3;

fn datagram(group: u8, port: u16) -> Datagram {
    let group = Ipv4Addr::new(239, 1, 1, group).into();
    Datagram {
        source: 0x0a00_0005,
        group,
        port,
        vlan: Vlan::UNTAGGED,
        is_unicast: false,
        ip_offset: 14,
        udp_offset: 34,
    }
}

fn install(table: &mut Table, slot: u32, group: u8, ports: Ports) {
    let group = Prefix::host(Ipv4Addr::new(239, 1, 1, group));
    let matcher = Match { interface: "in".to_owned(), group, ports, source: Prefix::ANY, vlan: None };
    let output = Output {
        name: None,
        interface: "out".to_owned(),
        group: None,
        port: None,
        source: Source::Keep,
        ttl: Ttl::Keep,
        dscp: None,
        vlan: crate::rules::rule::Vlan::None,
    };
    let rule = Rule {
        name: format!("r{slot}"),
        matcher: matcher.clone(),
        outputs: vec![output],
        stall_after: None,
        description: None,
        enabled: true,
    };
    let compiled = Compiled::new(&rule, IFINDEX, &vec![0; rule.outputs.len()]).expect("a rule has outputs");
    table.install(slot, matcher, compiled, Arc::new(RuleCounters::new(1)));
}

/// Slots 0 and 5: one group each.
fn two() -> Table {
    let mut table = Table::default();
    install(&mut table, 0, 1, Ports::Exact(5001));
    install(&mut table, 5, 2, Ports::Exact(5001));
    table
}

fn remove(table: &mut Table, slot: u32) -> Receiver<()> {
    let (done, answer) = channel();
    table.remove(slot, done);
    answer
}

#[test]
fn the_lookup_finds_what_the_rule_covers() {
    let table = two();
    let (one, other) = (datagram(1, 5001), datagram(2, 5001));
    assert_eq!(table.find(IFINDEX, &one), Some(0));
    assert_eq!(table.find(IFINDEX, &other), Some(5));
    assert_eq!(table.find(IFINDEX + 1, &one), None, "another interface");
    assert_eq!(table.find(IFINDEX, &datagram(1, 5002)), None, "another port");
    assert_eq!(table.find(IFINDEX, &Datagram { vlan: Vlan::tagged(7), ..one }), None, "a tag");
    assert_eq!(Table::default().find(IFINDEX, &one), None);
}

/// What a worker makes of the slot that the kernel named: a slot that has no rule, or a rule that does not take the packet.
#[test]
fn a_slot_that_lies_is_seen_through() {
    let table = two();
    for slot in [1, 3, 6, u32::MAX] {
        assert!(table.get(slot).is_none(), "slot {slot}");
    }
    let covers = |slot, ifindex, datagram| table.get(slot).is_some_and(|entry| entry.rule.covers(ifindex, &datagram));
    assert!(covers(0, IFINDEX, datagram(1, 5001)) && covers(5, IFINDEX, datagram(2, 5001)));
    assert!(!covers(5, IFINDEX, datagram(1, 5001)) && !covers(0, IFINDEX, datagram(2, 5001)), "the other's packet");
    assert!(!covers(0, IFINDEX + 1, datagram(1, 5001)), "another interface");
    assert!(!covers(0, IFINDEX, datagram(1, 5002)), "another port");
    assert!(!covers(0, IFINDEX, Datagram { vlan: Vlan::tagged(7), ..datagram(1, 5001) }), "a tag");
}

/// `n` frames of a slot go, or come back.
fn depart(table: &Table, slot: u32, n: usize) {
    (0..n).for_each(|_| table.get(slot).expect("a rule").departed());
}

fn come_back(table: &mut Table, slot: u32) {
    table.get(slot).expect("a rule").returned();
    table.sweep();
}

#[test]
fn an_idle_rule_goes_at_once() {
    let mut table = two();
    let gone = remove(&mut table, 0);
    assert_eq!(gone.try_recv(), Ok(()));
    assert!(table.get(0).is_none());
    assert_eq!(table.find(IFINDEX, &datagram(1, 5001)), None);
    assert_eq!(table.find(IFINDEX, &datagram(2, 5001)), Some(5));
}

#[test]
fn a_removal_waits_for_every_frame_under_way() {
    let mut table = two();
    depart(&table, 0, 3);
    depart(&table, 5, 1);
    come_back(&mut table, 0);
    let gone = remove(&mut table, 0);
    for left in (0..2).rev() {
        assert_eq!(gone.try_recv(), Err(TryRecvError::Empty), "{} under way", left + 1);
        assert!(table.get(0).is_some(), "its frames' counters are still to be raised");
        assert_eq!(table.find(IFINDEX, &datagram(1, 5001)), None, "but it takes no more");
        come_back(&mut table, 0);
    }
    assert_eq!(gone.try_recv(), Ok(()));
    assert!(table.get(0).is_none());
    assert!(table.get(5).is_some(), "the other one has nothing to do with it");
    // A slot that is free again serves its next rule.
    install(&mut table, 0, 9, Ports::Exact(5009));
    assert_eq!(table.find(IFINDEX, &datagram(9, 5009)), Some(0));
    assert_eq!(table.find(IFINDEX, &datagram(1, 5001)), None);
    depart(&table, 0, 1);
    come_back(&mut table, 0);
    assert!(table.get(0).is_some(), "nobody asked this one to go");
}

/// As a replacement does it: the new rule comes before the old one goes.
#[test]
fn a_replacement_leaves_no_moment_without_a_rule() {
    let mut table = two();
    depart(&table, 0, 1);
    install(&mut table, 1, 1, Ports::Exact(5001));
    assert_eq!(table.find(IFINDEX, &datagram(1, 5001)), Some(1));
    assert!(table.get(0).is_some(), "what the kernel counted for the old one is still the old one's");
    let gone = remove(&mut table, 0);
    assert_eq!(table.find(IFINDEX, &datagram(1, 5001)), Some(1));
    come_back(&mut table, 0);
    assert_eq!(gone.try_recv(), Ok(()));
    assert!(table.get(0).is_none());
    assert_eq!(table.find(IFINDEX, &datagram(1, 5001)), Some(1));
}

#[test]
fn slots_that_no_rule_has_are_no_matter() {
    let mut table = two();
    for slot in [3, 6, u32::MAX] {
        assert!(table.get(slot).is_none());
        assert_eq!(remove(&mut table, slot).try_recv(), Ok(()), "gone already");
    }
    // Whoever waited has given up.
    drop(remove(&mut table, 0));
    assert!(table.get(0).is_none());
}
