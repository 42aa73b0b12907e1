//! A snapshot as text.

use std::collections::BTreeMap;

use mcr_common::counter::{OutputDrop, RuleDrop};

use super::{accept::Format, families as f, labels::OutputLabels, snapshot::Snapshot, text::Text};
use crate::control::protocol::{OutputStats, RuleState, RuleStats, Stats, WorkerStats};

/// The states of a membership; a reason stands behind `failed`.
const MEMBERSHIP_STATES: [&str; 3] = ["joined", "allmulticast", "failed"];
/// The path of every rule.
const PATH: &str = "xsk";

/// The whole answer to a scrape.
pub fn exposition(snapshot: &Snapshot, format: Format) -> String {
    let mut text = Text::new(format);
    process(&mut text, snapshot);
    daemon(&mut text, snapshot);
    rules(&mut text, snapshot);
    outputs(&mut text, snapshot);
    interfaces(&mut text, &snapshot.stats);
    workers(&mut text, snapshot);
    text.finish()
}

fn process(text: &mut Text, snapshot: &Snapshot) {
    text.family(&f::BUILD).sample(&[env!("CARGO_PKG_VERSION"), std::env::consts::ARCH], 1);
    let process = &snapshot.process;
    let mut seconds = |family, value: Option<f64>| {
        let mut series = text.family(family);
        value.into_iter().for_each(|value| series.sample(&[], value));
    };
    seconds(&f::CPU, process.cpu);
    seconds(&f::START, snapshot.started);
    let mut count = |family, value: Option<u64>| {
        let mut series = text.family(family);
        value.into_iter().for_each(|value| series.sample(&[], value));
    };
    count(&f::RESIDENT, process.resident);
    count(&f::VIRTUAL, process.virtual_memory);
    count(&f::OPEN_FDS, process.open_fds);
    count(&f::MAX_FDS, process.max_fds);
    count(&f::THREADS, process.threads);
}

fn daemon(text: &mut Text, snapshot: &Snapshot) {
    text.family(&f::RULES).sample(&[], snapshot.stats.rules.len() as u64);
    text.family(&f::RULES_LIMIT).sample(&[], u64::from(snapshot.rules_limit));
    text.family(&f::WARNINGS).sample(&[], snapshot.warnings);
    text.family(&f::RELOAD_SUCCESSFUL).sample(&[], snapshot.reload.successful);
    text.family(&f::RELOAD_TIME).sample(&[], snapshot.reload.success_seconds());
}

fn rules(text: &mut Text, snapshot: &Snapshot) {
    let rules = &snapshot.stats.rules;
    let mut counter = |family, value: fn(&RuleStats) -> u64| {
        let mut series = text.family(family);
        rules.iter().for_each(|rule| series.sample(&[&rule.name], value(rule)));
    };
    counter(&f::MATCHED, |rule| rule.matched_packets);
    counter(&f::MATCHED_BYTES, |rule| rule.matched_bytes);
    let mut series = text.family(&f::RULE_DROPPED);
    for rule in rules {
        for reason in RuleDrop::ALL.iter().map(|reason| reason.name()) {
            series.sample(&[&rule.name, reason], count(&rule.dropped, reason));
        }
    }
    let mut series = text.family(&f::RULE_STATE);
    for rule in rules {
        for state in RuleState::ALL {
            series.sample(&[&rule.name, state.name()], rule.state == state);
        }
    }
    let mut series = text.family(&f::RULE_PATH);
    rules.iter().for_each(|rule| series.sample(&[&rule.name, PATH], 1));
    let mut series = text.family(&f::RULE_LAST_PACKET);
    for (rule, heard) in rules.iter().zip(&snapshot.heard) {
        heard.iter().for_each(|heard| series.sample(&[&rule.name], *heard));
    }
}

/// An output, and the values of its labels.
type Output<'a> = ([&'a str; 6], &'a OutputStats);

fn outputs(text: &mut Text, snapshot: &Snapshot) {
    let ports: Vec<Vec<String>> = snapshot.stats.rules.iter().map(ports).collect();
    let rules = snapshot.stats.rules.iter().zip(&snapshot.labels).zip(&ports);
    let all: Vec<Output<'_>> = rules
        .flat_map(|((rule, labels), ports)| {
            let outputs = rule.outputs.iter().zip(labels).zip(ports);
            outputs.map(|((output, labels), port)| (values(rule, output, labels, port), output))
        })
        .collect();
    let mut counter = |family, value: fn(&OutputStats) -> u64| {
        let mut series = text.family(family);
        all.iter().for_each(|(labels, output)| series.sample(labels, value(output)));
    };
    counter(&f::OFFERED, |output| output.offered_packets);
    counter(&f::SENT, |output| output.sent_packets);
    counter(&f::SENT_BYTES, |output| output.sent_bytes);
    let mut series = text.family(&f::OUTPUT_DROPPED);
    for ([rule, output, interface, group, port, vlan], stats) in &all {
        for reason in OutputDrop::ALL.iter().map(|reason| reason.name()) {
            series.sample(&[rule, output, interface, group, port, vlan, reason], count(&stats.dropped, reason));
        }
    }
}

/// The port that each output sends to; empty where packets keep theirs.
fn ports(rule: &RuleStats) -> Vec<String> {
    let port = |output: &OutputStats| output.port.map(|port| port.to_string()).unwrap_or_default();
    rule.outputs.iter().map(port).collect()
}

fn values<'a>(rule: &'a RuleStats, output: &'a OutputStats, labels: &'a OutputLabels, port: &'a str) -> [&'a str; 6] {
    [&rule.name, &labels.output, &output.interface, &output.group, port, &labels.vlan]
}

fn interfaces(text: &mut Text, stats: &Stats) {
    let interfaces = &stats.interfaces;
    let mut series = text.family(&f::INTERFACE_UP);
    interfaces.iter().for_each(|interface| series.sample(&[&interface.name], interface.up));
    let mut series = text.family(&f::INTERFACE_CARRIER);
    interfaces.iter().for_each(|interface| series.sample(&[&interface.name], interface.carrier));
    let mut series = text.family(&f::INTERFACE_MTU);
    let there = interfaces.iter().filter(|interface| interface.mtu > 0);
    there.for_each(|interface| series.sample(&[&interface.name], u64::from(interface.mtu)));
    let mut series = text.family(&f::INTERFACE_MODE);
    interfaces.iter().for_each(|interface| series.sample(&[&interface.name, &interface.xdp, &interface.xsk], 1));
    let mut series = text.family(&f::VERDICTS);
    for interface in interfaces {
        interface.verdicts.iter().for_each(|(verdict, count)| series.sample(&[&interface.name, verdict], *count));
    }
    // Every state of each interface that has memberships, and of those that have none: 0.
    let mut counts: BTreeMap<&str, [u64; 3]> =
        interfaces.iter().map(|interface| (interface.name.as_str(), [0; 3])).collect();
    for membership in &stats.memberships {
        let at = MEMBERSHIP_STATES.iter().position(|state| membership.state.starts_with(state));
        let count = counts.entry(&membership.interface).or_default();
        at.into_iter().for_each(|at| count[at] += 1);
    }
    let mut series = text.family(&f::MEMBERSHIPS);
    for (interface, counts) in counts {
        MEMBERSHIP_STATES.iter().zip(counts).for_each(|(state, count)| series.sample(&[interface, state], count));
    }
}

fn workers(text: &mut Text, snapshot: &Snapshot) {
    let workers: Vec<(String, &WorkerStats)> =
        snapshot.stats.workers.iter().map(|worker| (worker.id.to_string(), worker)).collect();
    let mut family = |family, value: fn(&WorkerStats) -> u64| {
        let mut series = text.family(family);
        workers.iter().for_each(|(id, worker)| series.sample(&[id], value(worker)));
    };
    family(&f::WORKER_RX, |worker| worker.rx_packets);
    family(&f::WORKER_TX, |worker| worker.tx_packets);
    family(&f::WORKER_LOOKUPS, |worker| worker.own_lookups);
    family(&f::WORKER_FRAMES, |worker| worker.frames_total);
    family(&f::WORKER_FRAMES_LIMIT, |worker| worker.frames_limit);
    family(&f::WORKER_FRAMES_FREE, |worker| worker.frames_free);
    let mut series = text.family(&f::WORKER_CPU);
    for (id, worker) in &workers {
        let used = snapshot.process.workers.get(&worker.id);
        used.into_iter().for_each(|used| series.sample(&[id], *used));
    }
}

/// A counter of `stats`, which leaves out what is 0.
fn count(dropped: &BTreeMap<String, u64>, reason: &str) -> u64 {
    dropped.get(reason).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests;
