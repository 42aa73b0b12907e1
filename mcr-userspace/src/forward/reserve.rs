//! What a worker leaves of its CPU to others, where it has more to do than that CPU can carry.
//!
//! A worker goes before other programs, so one that never comes to rest leaves them next to nothing: a ninetieth, in slices of 3 ms
//! each quarter of a second. It is therefore away for as long as its reserve lacks, but only where somebody else wants the CPU: the
//! scheduler has taken the worker from it lately. Rings hold what comes meanwhile.

use std::time::{Duration, Instant};

use crate::kernel::sched::Usage;

/// How often that is looked at.
const INTERVAL: Duration = Duration::from_millis(20);
/// Who wanted the CPU is taken to want it for so long: somebody who has had more than his part is not run again for a quarter of a
/// second, by some kernels.
const MEMORY: Duration = Duration::from_secs(1);
/// To be away for less costs more than it gives.
const LEAST: Duration = Duration::from_micros(100);

/// The reserve of one worker.
#[derive(Debug)]
pub struct Reserve {
    /// Its part of all time, below 1.
    share: f64,
    /// The time that is looked at begins here; and what the worker had used by then.
    since: Instant,
    used: Usage,
    /// When the worker was last taken from the CPU.
    wanted: Option<Instant>,
}

impl Reserve {
    /// Of a worker that starts now, and leaves this part of all time to others.
    pub fn new(share: f64, now: Instant) -> Self {
        Self { share, since: now, used: Usage::default(), wanted: None }
    }

    /// How long the worker is to be away now, if it is.
    #[inline]
    pub fn owed(&mut self, now: Instant, usage: impl FnOnce() -> Usage) -> Option<Duration> {
        let passed = now - self.since;
        if passed < INTERVAL {
            return None;
        }
        self.judge(now, passed, usage())
    }

    fn judge(&mut self, now: Instant, passed: Duration, usage: Usage) -> Option<Duration> {
        if usage.preempted > self.used.preempted {
            self.wanted = Some(now);
        }
        let left = passed.saturating_sub(usage.cpu.saturating_sub(self.used.cpu));
        (self.since, self.used) = (now, usage);
        // With it, `left` is the share of all.
        let owed = (self.share * passed.as_secs_f64() - left.as_secs_f64()) / (1.0 - self.share);
        let is_wanted = self.wanted.is_some_and(|at| now - at < MEMORY);
        let owed = Duration::from_secs_f64(owed.max(0.0));
        (is_wanted && owed >= LEAST).then(|| {
            self.since = now + owed;
            owed
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARE: f64 = 0.05;

    /// A second of a worker that is at work for `busy` of each millisecond, and is taken from the CPU each `preempted` ms; what it was
    /// away for.
    fn away(busy: f64, preempted: Option<u64>) -> Duration {
        let start = Instant::now();
        let mut reserve = Reserve::new(SHARE, start);
        let (mut now, mut cpu, mut away) = (start, Duration::ZERO, Duration::ZERO);
        while now - start < Duration::from_secs(1) {
            now += Duration::from_millis(1);
            cpu += Duration::from_secs_f64(0.001 * busy);
            let switches = preempted.map_or(0, |every| (now - start).as_millis() as u64 / every);
            if let Some(owed) = reserve.owed(now, || Usage { cpu, preempted: switches }) {
                now += owed;
                away += owed;
            }
        }
        away
    }

    #[test]
    fn is_kept_where_somebody_wants_the_cpu() {
        for every in [3, 250] {
            let away = away(1.0, Some(every)).as_secs_f64();
            assert!((0.035..0.055).contains(&away), "{every}: {away}");
        }
    }

    #[test]
    fn costs_nothing_where_nobody_does() {
        assert_eq!(away(1.0, None), Duration::ZERO);
    }

    #[test]
    fn what_is_left_anyway_counts() {
        assert_eq!(away(0.9, Some(3)), Duration::ZERO);
        let some = away(0.97, Some(3)).as_secs_f64();
        assert!((0.015..0.025).contains(&some), "{some}");
    }

    #[test]
    fn is_no_debt_of_the_time_before() {
        let start = Instant::now();
        let mut reserve = Reserve::new(SHARE, start);
        // A long time with nothing to do, and then much.
        let idle = start + Duration::from_secs(100);
        assert_eq!(reserve.owed(idle, || Usage { cpu: Duration::ZERO, preempted: 1 }), None);
        let busy = idle + INTERVAL;
        let owed = reserve.owed(busy, || Usage { cpu: INTERVAL, preempted: 2 }).expect("some");
        assert!(owed < INTERVAL / 15, "{owed:?}");
        // Long after the last who wanted it.
        assert_eq!(reserve.owed(busy + 2 * MEMORY, || Usage { cpu: INTERVAL + 2 * MEMORY, preempted: 2 }), None);
    }
}
