//! Rates: what two readings of the counters differ by.

use crate::control::protocol::Stats;

/// Turns differences of counters into rates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::ctl) struct Rate {
    seconds: f64,
}

impl Rate {
    /// Between two readings, at these seconds since the daemon started; `None` where there is no time between them, or where the
    /// daemon was started anew.
    pub(in crate::ctl) fn between(before: f64, now: f64) -> Option<Self> {
        let seconds = now - before;
        (seconds > 0.0).then_some(Self { seconds })
    }

    /// Between two readings of `stats`.
    pub(super) fn of(before: Option<&Stats>, now: &Stats) -> Option<Self> {
        Self::between(before?.uptime_seconds, now.uptime_seconds)
    }

    /// Units a second. A counter that began anew has rate 0.
    pub(in crate::ctl) fn per_second(self, before: u64, now: u64) -> f64 {
        now.saturating_sub(before) as f64 / self.seconds
    }

    /// Bits a second of a counter of bytes.
    pub(in crate::ctl) fn bits(self, before: u64, now: u64) -> f64 {
        8.0 * self.per_second(before, now)
    }
}
