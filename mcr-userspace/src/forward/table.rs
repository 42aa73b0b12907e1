//! A worker's rules, by slot, and what of them is under way.

use std::{
    cell::{Cell, OnceCell},
    sync::{Arc, mpsc::Sender},
};

use mcr_common::{
    flow::{Datagram, FlowValue},
    lookup,
};

use super::{counters::RuleCounters, fetch, rule::Compiled};
use crate::{kernel::flows::FlowIndex, rules::rule::Match};

/// One rule at one worker: a pair of cache lines, and nothing in it that not every packet asks for.
#[derive(Debug)]
#[repr(align(128))]
pub struct Entry {
    /// The rule.
    pub rule: Compiled,
    /// This worker's counters of it.
    pub counters: Arc<RuleCounters>,
    /// Frames of it in TX rings.
    under_way: Cell<u32>,
}

/// The rules that a worker knows.
#[derive(Debug, Default)]
pub struct Table {
    slots: Vec<Option<Entry>>,
    /// What the rules match, by slot, as they were typed.
    matchers: Vec<Option<Box<Match>>>,
    /// Made for the first packet that comes without the kernel's word: with most drivers none does. To keep it costs time at changes,
    /// and most where it grows.
    index: OnceCell<FlowIndex>,
    /// Slots that are to be forgotten, and who is told then.
    leaving: Vec<(u32, Sender<()>)>,
}

impl Table {
    /// Enters a rule.
    pub fn install(&mut self, slot: u32, matcher: Match, rule: Compiled, counters: Arc<RuleCounters>) {
        if let Some(index) = self.index.get_mut() {
            index.insert(rule.ifindex(), &matcher, flow_value(slot));
        }
        let at = slot as usize;
        if self.slots.len() <= at {
            self.slots.resize_with(at + 1, || None);
            self.matchers.resize_with(at + 1, || None);
        }
        self.matchers[at] = Some(Box::new(matcher));
        self.slots[at] = Some(Entry { rule, counters, under_way: Cell::new(0) });
    }

    /// Forgets a rule as soon as none of its frames is in a TX ring: now, or at a later [`sweep`](Self::sweep).
    pub fn remove(&mut self, slot: u32, done: Sender<()>) {
        if let Some(entry) = self.slots.get(slot as usize).and_then(Option::as_ref) {
            let matcher = self.matchers[slot as usize].take();
            if let (Some(index), Some(matcher)) = (self.index.get_mut(), matcher) {
                index.remove(entry.rule.ifindex(), &matcher, flow_value(slot));
            }
            self.leaving.push((slot, done));
            self.sweep();
        } else {
            // Gone already. Whoever waited may have given up.
            let _ = done.send(());
        }
    }

    /// Forgets the removed rules whose last frame has come back.
    pub fn sweep(&mut self) {
        let slots = &mut self.slots;
        self.leaving.retain(|(slot, done)| {
            let place = &mut slots[*slot as usize];
            let is_busy = place.as_ref().is_some_and(|entry| entry.under_way.get() > 0);
            if !is_busy {
                *place = None;
                // As above.
                let _ = done.send(());
            }
            is_busy
        });
    }

    /// The slot of the rule that takes a packet, by the kernel's own lookup: for drivers that carry no metadata.
    #[inline]
    pub fn find(&self, ifindex: u32, datagram: &Datagram) -> Option<u32> {
        let index = self.index.get_or_init(|| self.indexed());
        lookup::find(index, ifindex, datagram).map(|value| value.slot)
    }

    /// The index of all rules that are not leaving.
    #[cold]
    fn indexed(&self) -> FlowIndex {
        let mut index = FlowIndex::default();
        for (slot, (entry, matcher)) in (0..).zip(self.slots.iter().zip(&self.matchers)) {
            if let (Some(entry), Some(matcher)) = (entry, matcher) {
                index.insert(entry.rule.ifindex(), matcher, flow_value(slot));
            }
        }
        index
    }

    /// Fetches what [`get`](Self::get) will read.
    #[inline]
    pub fn fetch(&self, slot: u32) {
        if let Some(entry) = self.slots.get(slot as usize) {
            fetch::line(entry);
        }
    }

    /// The rule of a slot.
    #[inline]
    pub fn get(&self, slot: u32) -> Option<&Entry> {
        self.slots.get(slot as usize)?.as_ref()
    }
}

impl Entry {
    /// A frame of the rule has gone towards a TX ring.
    #[inline]
    pub fn departed(&self) {
        self.under_way.set(self.under_way.get() + 1);
    }

    /// It has come back, or was not sent.
    #[inline]
    pub fn returned(&self) {
        self.under_way.set(self.under_way.get() - 1);
    }
}

/// A worker's own table names slots only.
const fn flow_value(slot: u32) -> FlowValue {
    FlowValue { slot, xsk_base: 0, queues: 0 }
}

const _: () = assert!(size_of::<Option<Entry>>() == 128);

#[cfg(test)]
mod tests;
