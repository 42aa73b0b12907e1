//! Reports that are repeated while nobody asks: a switch that snoops forgets a membership when its querier falls silent.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use crate::kernel::igmp;

/// Groups that are reported at one tick: a switch's CPU handles each report, and a few hundred a second are what it is given time for.
const MOST_AT_ONCE: usize = 200;

/// The repeated reports of one interface, its VLANs included.
#[derive(Debug)]
pub struct Rejoin {
    every: Duration,
    next: Instant,
    /// What this round has still to report: the interface to report on, the group, and whether all of its sources are wanted.
    waiting: Vec<(u32, Ipv4Addr, bool)>,
    /// Why the last reports were not sent.
    trouble: Option<String>,
}

impl Rejoin {
    /// Reports each group once `every` so often. The kernel itself has reported what has been joined now.
    pub fn new(every: Duration, now: Instant) -> Self {
        Self { every, next: now + every, waiting: Vec::new(), trouble: None }
    }

    /// Reports what is due; `held` is asked for all that is held when a round begins.
    pub fn tick(&mut self, now: Instant, held: impl FnOnce() -> Vec<(u32, Ipv4Addr, bool)>) {
        if self.waiting.is_empty() {
            if now < self.next {
                return;
            }
            self.next = now + self.every;
            self.waiting = held();
        }
        let mut due: BTreeMap<u32, Vec<(Ipv4Addr, bool)>> = BTreeMap::new();
        for (on, group, whole) in self.waiting.drain(..self.waiting.len().min(MOST_AT_ONCE)) {
            due.entry(on).or_default().push((group, whole));
        }
        self.trouble = None;
        for (on, groups) in due {
            match igmp::repeat(on, &groups) {
                Ok(()) => {}
                // It is down: the kernel reports all when it comes up.
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENETDOWN | libc::ENXIO | libc::ENODEV)) => {}
                Err(error) => self.trouble = Some(error.to_string()),
            }
        }
    }

    /// What users should know.
    pub fn warning(&self, name: &str) -> Option<String> {
        let why = self.trouble.as_ref()?;
        Some(format!("{name}: memberships are not repeated every {}: {why}", humantime::format_duration(self.every)))
    }
}
