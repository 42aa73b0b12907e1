//! The port ranges that rules of one interface, VLAN, source and group take: each two disjoint, or one inside the other.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use super::rule::Ports;

/// Disjoint or strictly nested port ranges, each with the name of its rule.
///
/// Of two nested ranges the narrower wins; two that are the same or overlap in part have equal rank, and the
/// second is refused. Only the widest ranges inside a new one are looked at, so that tens of thousands fit.
#[derive(Clone, Debug, Default)]
pub struct PortRanges {
    /// By first port, then the widest first.
    by_first: BTreeMap<(u16, Reverse<u16>), String>,
    /// (last, first) of each.
    by_last: BTreeSet<(u16, u16)>,
}

impl PortRanges {
    /// The rule that shares packets with `ports` at equal rank, if there is one.
    pub fn conflict(&self, ports: Ports) -> Option<&str> {
        let (first, last) = ports.bounds();
        if let Some(name) = self.by_first.get(&(first, Reverse(last))) {
            return Some(name);
        }
        self.overlaps_end(first, last).or_else(|| self.overlaps_start(first, last))
    }

    /// One that starts after `first`, up to `last`, and ends after `last`.
    fn overlaps_end(&self, first: u16, last: u16) -> Option<&str> {
        let mut from = first.checked_add(1)?;
        while from <= last {
            let (&(_, Reverse(end)), name) =
                self.by_first.range((from, Reverse(u16::MAX))..=(last, Reverse(0))).next()?;
            if end > last {
                return Some(name);
            }
            // All that start before this one's end lie inside it.
            from = end.checked_add(1)?;
        }
        None
    }

    /// One that starts before `first` and ends from `first` on, before `last`.
    fn overlaps_start(&self, first: u16, last: u16) -> Option<&str> {
        let mut until = last.checked_sub(1)?;
        while until >= first {
            // Of those that end there, the smallest first port is the widest.
            let &(end, _) = self.by_last.range((first, 0)..=(until, u16::MAX)).next_back()?;
            let &(_, start) = self.by_last.range((end, 0)..=(end, u16::MAX)).next()?;
            if start < first {
                return self.by_first.get(&(start, Reverse(end))).map(String::as_str);
            }
            until = start.checked_sub(1)?;
        }
        None
    }

    /// Adds a range for which [`conflict`](Self::conflict) found nothing.
    pub fn insert(&mut self, ports: Ports, name: String) {
        let (first, last) = ports.bounds();
        self.by_first.insert((first, Reverse(last)), name);
        self.by_last.insert((last, first));
    }

    /// Takes a range out.
    pub fn remove(&mut self, ports: Ports) {
        let (first, last) = ports.bounds();
        self.by_first.remove(&(first, Reverse(last)));
        self.by_last.remove(&(last, first));
    }

    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.by_first.is_empty()
    }

    /// Names of the rules, by first port.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_first.values().map(String::as_str)
    }
}
