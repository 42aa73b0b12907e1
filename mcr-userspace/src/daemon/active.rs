//! A rule that is forwarding, or was: its slot, its counters, and how they are read.

use std::{
    ops::AddAssign,
    sync::{
        Arc,
        atomic::{
            AtomicU64,
            Ordering::{Acquire, Relaxed},
            fence,
        },
    },
};

use mcr_common::{
    counter::{OutputDrop, RuleDrop},
    flow::{FlowCount, FlowValue},
};

use crate::{
    forward::{counters::RuleCounters, rule::Compiled},
    rules::rule::{Output, Rule},
};

/// One rule with a slot.
#[derive(Debug)]
pub struct Active {
    /// The rule.
    pub rule: Rule,
    /// What it has in common with those that it replaces and is replaced by, and with no other rule.
    pub lineage: u64,
    /// As workers have it.
    pub compiled: Compiled,
    /// Its entries' value in the kernel's map.
    pub value: FlowValue,
    /// Its counters at each worker.
    pub counters: Vec<Arc<RuleCounters>>,
    /// What the kernel had steered when it was last asked.
    steered_packets: AtomicU64,
    steered_bytes: AtomicU64,
    /// Packets known to be lost between the kernel's count and the workers.
    lost: AtomicU64,
}

/// Counters of a rule, of all workers together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Packets steered.
    pub matched_packets: u64,
    /// Their bytes.
    pub matched_bytes: u64,
    /// Packets that the outputs were not offered, by [`RuleDrop`].
    pub dropped: [u64; RuleDrop::COUNT],
    /// Each output's.
    pub outputs: Vec<OutputReading>,
}

/// Counters of an output, of all workers together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputReading {
    /// Packets that reached it.
    pub offered: u64,
    /// Packets completed and not refused.
    pub sent: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Packets not sent, by [`OutputDrop`].
    pub dropped: [u64; OutputDrop::COUNT],
}

impl Active {
    /// A rule that starts now.
    pub fn new(rule: Rule, lineage: u64, compiled: Compiled, value: FlowValue, workers: usize) -> Self {
        let outputs = rule.outputs.len();
        Self {
            rule,
            lineage,
            compiled,
            value,
            counters: (0..workers).map(|_| Arc::new(RuleCounters::new(outputs))).collect(),
            steered_packets: AtomicU64::new(0),
            steered_bytes: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        }
    }

    /// Notes what the kernel has steered for it.
    pub fn note_steered(&self, count: FlowCount) {
        self.steered_packets.fetch_max(count.packets, Relaxed);
        self.steered_bytes.fetch_max(count.bytes, Relaxed);
    }

    /// Once each of the first `steered` packets has been handled or lost: what the workers have not received of them is lost. Exact at
    /// rest; under traffic less than the truth by what came meanwhile, never more.
    pub fn settle(&self, steered: u64) {
        let received: u64 = self.counters.iter().map(|counters| counters.received.get()).sum();
        self.lost.fetch_max(steered.saturating_sub(received), Relaxed);
    }

    /// Bytes of the longest IP packet that an output found too big, by its place from 0; 0 where none was.
    pub fn longest(&self, output: usize) -> u32 {
        let outputs = self.counters.iter().filter_map(|counters| counters.outputs.get(output));
        outputs.map(|output| output.longest.get()).max().unwrap_or(0)
    }

    /// All counters now; `steered` asks the kernel what it has steered.
    pub fn read(&self, steered: impl FnOnce() -> FlowCount) -> Reading {
        let mut reading = Reading {
            matched_packets: 0,
            matched_bytes: 0,
            dropped: [0; RuleDrop::COUNT],
            outputs: vec![OutputReading::default(); self.rule.outputs.len()],
        };
        reading.dropped[RuleDrop::RxRing as usize] = self.lost.load(Relaxed);
        for counters in &self.counters {
            for (sum, count) in reading.dropped.iter_mut().zip(&counters.dropped) {
                *sum += count.get();
            }
            for (sum, output) in reading.outputs.iter_mut().zip(counters.outputs.iter()) {
                // Sent first: what is sent later is then offered too.
                sum.sent += output.sent.get();
                sum.sent_bytes += output.sent_bytes.get();
                for (sum, count) in sum.dropped.iter_mut().zip(&output.dropped) {
                    *sum += count.get();
                }
                sum.offered += output.offered.get();
            }
        }
        let received: u64 = self.counters.iter().map(|counters| counters.received.get()).sum();
        let lost = reading.dropped[RuleDrop::RxRing as usize];
        // The kernel last: what has been received was steered before, and its bytes come with its packets.
        fence(Acquire);
        self.note_steered(steered());
        reading.matched_packets = self.steered_packets.load(Relaxed).max(received + lost);
        reading.matched_bytes = self.steered_bytes.load(Relaxed);
        reading
    }
}

impl Reading {
    /// Adds what a rule of the same name counted before it was replaced: outputs that it still has go on, others are left behind.
    pub fn carry(&mut self, outputs: &[Output], before: &Self, outputs_before: &[Output]) {
        self.matched_packets += before.matched_packets;
        self.matched_bytes += before.matched_bytes;
        add(&mut self.dropped, &before.dropped);
        for (reading, at) in self.outputs.iter_mut().zip(successors(outputs, outputs_before)) {
            if let Some(before) = at.and_then(|at| before.outputs.get(at)) {
                *reading += *before;
            }
        }
    }
}

/// For each of `outputs`, which one of `before` it goes on from: the one that is the same in all, else one to the same interface,
/// group and port. Several may share these three (a VLAN each), so none is gone on from twice.
fn successors(outputs: &[Output], before: &[Output]) -> Vec<Option<usize>> {
    let mut found = vec![None; outputs.len()];
    let mut taken = vec![false; before.len()];
    let alike = |a: &Output, b: &Output| (&a.interface, a.group, a.port) == (&b.interface, b.group, b.port);
    for same in [Output::eq, alike] {
        for (found, output) in found.iter_mut().zip(outputs).filter(|(found, _)| found.is_none()) {
            *found = (0..before.len()).find(|at| !taken[*at] && same(&before[*at], output));
            if let Some(at) = *found {
                taken[at] = true;
            }
        }
    }
    found
}

impl AddAssign for OutputReading {
    fn add_assign(&mut self, other: Self) {
        self.offered += other.offered;
        self.sent += other.sent;
        self.sent_bytes += other.sent_bytes;
        add(&mut self.dropped, &other.dropped);
    }
}

/// Adds counters to counters.
pub fn add<const N: usize>(to: &mut [u64; N], from: &[u64; N]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += from;
    }
}

#[cfg(test)]
mod tests;
