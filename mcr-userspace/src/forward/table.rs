//! A worker's rules, by slot, and what of them is under way.

use std::sync::{Arc, mpsc::Sender};

use mcr_common::{
    flow::{Datagram, FlowValue},
    lookup,
};

use super::{counters::RuleCounters, rule::Compiled};
use crate::{kernel::flows::FlowIndex, rules::rule::Match};

/// One rule at one worker.
#[derive(Debug)]
pub struct Entry {
    /// The rule.
    pub rule: Arc<Compiled>,
    /// This worker's counters of it.
    pub counters: Arc<RuleCounters>,
    matcher: Match,
    ifindex: u32,
    /// Frames of it in TX rings.
    under_way: u32,
    /// Told when the entry is gone; set once it may go.
    leaving: Option<Sender<()>>,
}

/// The rules that a worker knows.
#[derive(Debug, Default)]
pub struct Table {
    slots: Vec<Option<Box<Entry>>>,
    index: FlowIndex,
}

impl Table {
    /// Enters a rule.
    pub fn install(
        &mut self,
        slot: u32,
        ifindex: u32,
        matcher: Match,
        rule: Arc<Compiled>,
        counters: Arc<RuleCounters>,
    ) {
        self.index.insert(ifindex, &matcher, flow_value(slot));
        if self.slots.len() <= slot as usize {
            self.slots.resize_with(slot as usize + 1, || None);
        }
        let entry = Entry { rule, counters, matcher, ifindex, under_way: 0, leaving: None };
        self.slots[slot as usize] = Some(Box::new(entry));
    }

    /// Forgets a rule as soon as none of its frames is in a TX ring.
    pub fn remove(&mut self, slot: u32, done: Sender<()>) {
        if let Some(entry) = self.slots.get_mut(slot as usize).and_then(Option::as_mut) {
            self.index.remove(entry.ifindex, &entry.matcher, flow_value(slot));
            entry.leaving = Some(done);
            self.leave_if_done(slot);
        } else {
            // Gone already. Whoever waited may have given up.
            let _ = done.send(());
        }
    }

    /// The slot of the rule that takes a packet, by the kernel's own lookup: for drivers that carry no metadata.
    #[inline]
    pub fn find(&self, ifindex: u32, datagram: &Datagram) -> Option<u32> {
        lookup::find(&self.index, ifindex, datagram).map(|value| value.slot)
    }

    /// The rule of a slot.
    #[inline]
    pub fn get(&self, slot: u32) -> Option<&Entry> {
        self.slots.get(slot as usize)?.as_deref()
    }

    /// A frame of the rule has gone into a TX ring.
    #[inline]
    pub fn departed(&mut self, slot: u32) {
        if let Some(entry) = self.slots.get_mut(slot as usize).and_then(Option::as_mut) {
            entry.under_way += 1;
        }
    }

    /// It has come back, or was not sent.
    #[inline]
    pub fn returned(&mut self, slot: u32) {
        if let Some(entry) = self.slots.get_mut(slot as usize).and_then(Option::as_mut) {
            entry.under_way -= 1;
            if entry.leaving.is_some() {
                self.leave_if_done(slot);
            }
        }
    }

    fn leave_if_done(&mut self, slot: u32) {
        let place = &mut self.slots[slot as usize];
        if place.as_ref().is_some_and(|entry| entry.under_way == 0)
            && let Some(done) = place.take().and_then(|entry| entry.leaving)
        {
            // Whoever waited may have given up.
            let _ = done.send(());
        }
    }
}

/// A worker's own table names slots only.
const fn flow_value(slot: u32) -> FlowValue {
    FlowValue { slot, xsk_base: 0, queues: 0 }
}

#[cfg(test)]
mod tests;
