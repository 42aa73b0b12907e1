//! What a worker counts. Each counter has one writer, its worker, and any number of readers.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use mcr_common::counter::{OutputDrop, RuleDrop};

use super::outputs::Outputs;

/// A number that one thread raises and others read.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only one thread may: this is a load and a store, not a locked addition.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Sets it, for what is a level and not a count.
    #[inline]
    pub fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    /// The value now.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// One rule's counters at one worker.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct RuleCounters {
    /// Packets received for it.
    pub received: Counter,
    /// Each output's. What a packet raises that is sent by one output lies in one cache line with `received`.
    pub outputs: Outputs<OutputCounters>,
    /// Received packets that its outputs were not offered, by [`RuleDrop`]; `RxRing` is not the worker's to count.
    pub dropped: [Counter; RuleDrop::COUNT],
    /// Of those, packets that ended before their IP length says.
    pub cut: Counter,
}

/// One output's counters at one worker.
#[derive(Debug, Default)]
#[repr(C)]
pub struct OutputCounters {
    /// Packets that reached it.
    pub offered: Counter,
    /// Packets completed and not refused.
    pub sent: Counter,
    /// Their bytes.
    pub sent_bytes: Counter,
    /// Packets offered and not sent, by [`OutputDrop`].
    pub dropped: [Counter; OutputDrop::COUNT],
    /// The longest of those that were [`OutputDrop::TooBig`].
    pub longest: Longest,
}

/// The longest packet that was dropped since the limit that it exceeds last changed. One thread writes it, as a [`Counter`].
#[derive(Debug, Default)]
pub struct Longest(AtomicU64);

impl Longest {
    /// Notes a packet of `length` bytes, where `limit` are allowed.
    pub fn note(&self, length: usize, limit: u32) {
        let packed = self.0.load(Relaxed);
        let before = if (packed >> 32) as u32 == limit { packed as u32 } else { 0 };
        let length = u32::try_from(length).unwrap_or(u32::MAX).max(before);
        self.0.store(u64::from(limit) << 32 | u64::from(length), Relaxed);
    }

    /// Its length; 0 where none was dropped.
    pub fn get(&self) -> u32 {
        self.0.load(Relaxed) as u32
    }
}

/// A worker's own counters.
#[derive(Debug, Default)]
pub struct WorkerCounters {
    /// Packets taken from RX rings.
    pub rx_packets: Counter,
    /// Packets completed by TX rings.
    pub tx_packets: Counter,
    /// Frames in the pools.
    pub frames_free: Counter,
    /// Packets received without XDP metadata, whose rule the worker looked up itself.
    pub own_lookups: Counter,
    /// Packets received for no rule that the worker still knew: [`RuleDrop::RuleGone`] of rules that are gone.
    pub orphans: Counter,
}

impl RuleCounters {
    /// Zeroes for a rule of so many outputs, at least one.
    pub fn new(outputs: usize) -> Self {
        let outputs = Outputs::new((0..outputs).map(|_| OutputCounters::default())).expect("a rule has an output");
        Self { received: Counter::default(), dropped: Default::default(), cut: Counter::default(), outputs }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_packet_is_forgotten_with_its_limit() {
        let longest = Longest::default();
        assert_eq!(longest.get(), 0);
        for (length, limit, expected) in
            [(1400, 1000, 1400), (1200, 1000, 1400), (9000, 1000, 9000), (1250, 1200, 1250)]
        {
            longest.note(length, limit);
            assert_eq!(longest.get(), expected);
        }
    }
}
