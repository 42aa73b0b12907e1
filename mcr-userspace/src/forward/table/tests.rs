//! Hints that lie, and removals while frames are under way.

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
    Datagram { source: 0x0a00_0005, group, port, vlan: Vlan::UNTAGGED, ip_offset: 14, udp_offset: 34 }
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
    let rule = Rule { name: format!("r{slot}"), matcher: matcher.clone(), outputs: vec![output], stall_after: None };
    let compiled = Compiled::new(&rule, IFINDEX, |_| Some(0)).expect("the output has sockets");
    table.install(slot, IFINDEX, matcher, Arc::new(compiled), Arc::new(RuleCounters::new(1)));
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
fn a_true_hint_is_taken_and_a_false_one_is_not() {
    let table = two();
    let (one, other) = (datagram(1, 5001), datagram(2, 5001));
    // No hint, the right one, another rule's, an empty slot, one past the end, any rubbish.
    for hint in [None, Some(0), Some(5), Some(3), Some(6), Some(u32::MAX)] {
        assert_eq!(table.find(hint, IFINDEX, &one), Some(0), "{hint:?}");
        assert_eq!(table.find(hint, IFINDEX, &other), Some(5), "{hint:?}");
        assert_eq!(table.find(hint, IFINDEX + 1, &one), None, "{hint:?} on another interface");
        assert_eq!(table.find(hint, IFINDEX, &datagram(1, 5002)), None, "{hint:?} for another port");
        let tagged = Datagram { vlan: Vlan::tagged(7), ..one };
        assert_eq!(table.find(hint, IFINDEX, &tagged), None, "{hint:?} under a tag");
    }
    assert_eq!(Table::default().find(Some(0), IFINDEX, &one), None);
}

/// The kernel counted the packet for the wider rule before the narrower one came: it stays the wider one's.
#[test]
fn a_hint_that_covers_is_what_the_kernel_counted() {
    let mut table = Table::default();
    install(&mut table, 0, 1, Ports::Any);
    install(&mut table, 1, 1, Ports::Exact(5001));
    assert_eq!(table.find(Some(0), IFINDEX, &datagram(1, 5001)), Some(0));
    assert_eq!(table.find(None, IFINDEX, &datagram(1, 5001)), Some(1));
}

#[test]
fn an_idle_rule_goes_at_once() {
    let mut table = two();
    let gone = remove(&mut table, 0);
    assert_eq!(gone.try_recv(), Ok(()));
    assert!(table.get(0).is_none());
    for hint in [None, Some(0), Some(5)] {
        assert_eq!(table.find(hint, IFINDEX, &datagram(1, 5001)), None, "{hint:?}");
        assert_eq!(table.find(hint, IFINDEX, &datagram(2, 5001)), Some(5), "{hint:?}");
    }
}

#[test]
fn a_removal_waits_for_every_frame_under_way() {
    let mut table = two();
    (0..3).for_each(|_| table.departed(0));
    table.departed(5);
    table.returned(0);
    let gone = remove(&mut table, 0);
    for left in (0..2).rev() {
        assert_eq!(gone.try_recv(), Err(TryRecvError::Empty), "{} under way", left + 1);
        assert!(table.get(0).is_some(), "its frames' counters are still to be raised");
        assert_eq!(table.find(None, IFINDEX, &datagram(1, 5001)), None, "but it takes no more");
        table.returned(0);
    }
    assert_eq!(gone.try_recv(), Ok(()));
    assert!(table.get(0).is_none());
    assert!(table.get(5).is_some(), "the other one has nothing to do with it");
    // A slot that is free again serves its next rule.
    install(&mut table, 0, 9, Ports::Exact(5009));
    assert_eq!(table.find(Some(0), IFINDEX, &datagram(9, 5009)), Some(0));
    assert_eq!(table.find(Some(0), IFINDEX, &datagram(1, 5001)), None);
    table.departed(0);
    table.returned(0);
    assert!(table.get(0).is_some(), "nobody asked this one to go");
}

/// As a replacement does it: the new rule comes before the old one goes.
#[test]
fn a_replacement_leaves_no_moment_without_a_rule() {
    let mut table = two();
    table.departed(0);
    install(&mut table, 1, 1, Ports::Exact(5001));
    assert_eq!(table.find(None, IFINDEX, &datagram(1, 5001)), Some(1));
    assert_eq!(table.find(Some(0), IFINDEX, &datagram(1, 5001)), Some(0), "counted for the old one");
    let gone = remove(&mut table, 0);
    assert_eq!(table.find(None, IFINDEX, &datagram(1, 5001)), Some(1));
    table.returned(0);
    assert_eq!(gone.try_recv(), Ok(()));
    assert_eq!(table.find(Some(0), IFINDEX, &datagram(1, 5001)), Some(1), "a late hint");
}

#[test]
fn slots_that_no_rule_has_are_no_matter() {
    let mut table = two();
    for slot in [3, 6, u32::MAX] {
        table.departed(slot);
        table.returned(slot);
        assert!(table.get(slot).is_none());
        assert_eq!(remove(&mut table, slot).try_recv(), Ok(()), "gone already");
    }
    // Whoever waited has given up.
    drop(remove(&mut table, 0));
    assert!(table.get(0).is_none());
}
