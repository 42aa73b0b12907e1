//! How counters of a rule add up over workers, and over a replacement.

use std::net::Ipv4Addr;

use super::*;
use crate::rules::rule::{Match, Ports, Prefix, Source, Ttl, Vlan};

fn to(interface: &str, group: u8, vlan: Vlan) -> Output {
    Output {
        name: None,
        interface: interface.to_owned(),
        group: Some(Ipv4Addr::new(239, 10, 1, group)),
        port: None,
        source: Source::Interface,
        ttl: Ttl::Decrement,
        dscp: None,
        vlan,
    }
}

fn active(outputs: Vec<Output>, workers: usize) -> Active {
    let group = Prefix::host(Ipv4Addr::new(239, 1, 1, 1));
    let matcher =
        Match { interface: "in".to_owned(), group, ports: Ports::Exact(5001), source: Prefix::ANY, vlan: None };
    let rule = Rule { name: "r".to_owned(), matcher, outputs, stall_after: None, description: None, enabled: true };
    let compiled = Compiled::new(&rule, 1, &vec![0; rule.outputs.len()]).expect("a rule has outputs");
    Active::new(rule, 1, compiled, FlowValue { slot: 0, xsk_base: 0, queues: 1 }, workers)
}

/// An output that was offered and sent so many.
fn sent(packets: u64) -> OutputReading {
    OutputReading { offered: packets, sent: packets, sent_bytes: packets * 100, ..Default::default() }
}

fn reading(outputs: &[u64]) -> Reading {
    Reading { outputs: outputs.iter().map(|packets| sent(*packets)).collect(), ..Default::default() }
}

fn carried(outputs: &[Output], before: &Reading, outputs_before: &[Output]) -> Vec<u64> {
    let mut carried = reading(&vec![0; outputs.len()]);
    carried.carry(outputs, before, outputs_before);
    for output in &carried.outputs {
        assert_eq!(*output, sent(output.sent), "an output's counters stay together");
    }
    carried.outputs.iter().map(|output| output.sent).collect()
}

#[test]
fn workers_add_up() {
    let active = active(vec![to("a", 1, Vlan::None), to("b", 2, Vlan::None)], 3);
    for (n, counters) in (1..).zip(&active.counters) {
        counters.received.add(10 * n);
        counters.dropped[RuleDrop::Malformed as usize].add(n);
        counters.dropped[RuleDrop::RuleGone as usize].add(2 * n);
        for (output, factor) in counters.outputs.iter().zip([1, 100]) {
            output.offered.add(7 * n * factor);
            output.sent.add(5 * n * factor);
            output.sent_bytes.add(300 * n * factor);
            output.dropped[OutputDrop::TooBig as usize].add(2 * n * factor);
        }
    }
    let steered = || FlowCount { packets: 61, bytes: 6_100 };
    active.settle(61);
    let output = |factor: u64| {
        let mut dropped = [0; OutputDrop::COUNT];
        dropped[OutputDrop::TooBig as usize] = 12 * factor;
        OutputReading { offered: 42 * factor, sent: 30 * factor, sent_bytes: 1_800 * factor, dropped }
    };
    let mut dropped = [0; RuleDrop::COUNT];
    dropped[RuleDrop::RxRing as usize] = 1;
    dropped[RuleDrop::Malformed as usize] = 6;
    dropped[RuleDrop::RuleGone as usize] = 12;
    let wanted = Reading { matched_packets: 61, matched_bytes: 6_100, dropped, outputs: vec![output(1), output(100)] };
    assert_eq!(active.read(steered), wanted);
}

#[test]
fn losses_are_never_taken_back() {
    let active = active(vec![to("a", 1, Vlan::None)], 2);
    let lost = || active.read(FlowCount::default).dropped[RuleDrop::RxRing as usize];
    active.counters[0].received.add(6);
    active.counters[1].received.add(3);
    active.note_steered(FlowCount { packets: 20, bytes: 2_000 });
    assert_eq!(lost(), 0, "what is under way is not lost");
    active.settle(10);
    assert_eq!(lost(), 1, "of the first 10; the others may be under way");
    // Received since, before the kernel was asked again.
    active.counters[1].received.add(5);
    active.settle(10);
    assert_eq!(lost(), 1);
    active.settle(20);
    assert_eq!(lost(), 6);
    // An answer of the kernel's that was overtaken by a later one.
    active.note_steered(FlowCount { packets: 15, bytes: 1_500 });
    let reading = active.read(|| FlowCount { packets: 16, bytes: 1_600 });
    assert_eq!((reading.matched_packets, reading.matched_bytes), (20, 2_000));
    let reading = active.read(|| FlowCount { packets: 21, bytes: 2_100 });
    assert_eq!((reading.matched_packets, reading.matched_bytes), (21, 2_100), "bytes come with their packets");
}

#[test]
fn a_replaced_rule_counts_on() {
    let outputs = [to("a", 1, Vlan::None), to("b", 2, Vlan::None)];
    let mut before = reading(&[10, 20]);
    (before.matched_packets, before.matched_bytes, before.dropped) = (30, 3_000, [1, 2, 3, 4, 5]);
    let mut now = reading(&[1, 2]);
    (now.matched_packets, now.matched_bytes, now.dropped) = (5, 500, [10, 20, 30, 40, 50]);
    now.carry(&outputs, &before, &outputs);
    assert_eq!((now.matched_packets, now.matched_bytes, now.dropped), (35, 3_500, [11, 22, 33, 44, 55]));
    assert_eq!(now.outputs, [sent(11), sent(22)]);
}

#[test]
fn outputs_count_on_wherever_they_are_in_the_list() {
    let (a, b, c) = (to("a", 1, Vlan::None), to("b", 2, Vlan::None), to("c", 3, Vlan::None));
    let before = [a.clone(), b.clone()];
    let counted = reading(&[10, 20]);
    // Turned round, one new, one gone.
    assert_eq!(carried(&[b.clone(), c.clone(), a.clone()], &counted, &before), [20, 0, 10]);
    assert_eq!(carried(&[c, b.clone()], &counted, &before), [0, 20]);
    // What becomes of the packets is no new output; another group or interface is.
    let other = Output { ttl: Ttl::Keep, dscp: Some(46), name: Some("n".to_owned()), ..a };
    assert_eq!(carried(&[other], &counted, &before), [10]);
    assert_eq!(
        carried(&[Output { group: None, ..b.clone() }, Output { interface: "x".to_owned(), ..b }], &counted, &before),
        [0, 0]
    );
    // The rule waited, and counted nothing.
    assert_eq!(carried(&before, &Reading::default(), &[]), [0, 0]);
}

#[test]
fn outputs_that_differ_by_their_tag_alone_keep_their_own_counters() {
    let vlans = |ids: &[u16]| ids.iter().map(|id| to("a", 1, Vlan::Set(*id))).collect::<Vec<_>>();
    let before = vlans(&[10, 20, 30]);
    let counted = reading(&[1, 2, 3]);
    assert_eq!(carried(&before, &counted, &before), [1, 2, 3]);
    assert_eq!(carried(&vlans(&[30, 10, 20]), &counted, &before), [3, 1, 2]);
    assert_eq!(carried(&vlans(&[20, 30]), &counted, &before), [2, 3]);
    assert_eq!(carried(&vlans(&[40, 10, 20, 30]), &counted, &before), [0, 1, 2, 3]);
    // One that is changed goes on from the one that nothing else goes on from.
    assert_eq!(carried(&vlans(&[10, 21, 30]), &counted, &before), [1, 2, 3]);
    // Twice the very same output.
    assert_eq!(carried(&vlans(&[5, 5]), &reading(&[7, 8]), &vlans(&[5, 5])), [7, 8]);
}
