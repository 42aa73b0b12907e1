//! How many packets may wait for a worker: a queue that stands is cut, one that drains is not (CoDel's rule, RFC 8289 section 3).
//!
//! The rings are deep, so that nothing is lost while a worker is away for a moment. Under lasting overload a deep queue saves
//! nothing: as much is lost, and all that comes is late.

use std::time::{Duration, Instant};

/// What packets may wait for long.
const TARGET: Duration = Duration::from_millis(5);
/// How long they may wait for longer: a burst, what came while the worker was away, or while its CPU was slow for a moment, is let
/// through. CoDel takes 100 ms, for senders that slow down when they are told; these do not.
const INTERVAL: Duration = Duration::from_millis(500);
/// A queue that comes back so soon after it was cut gets no such time: it was the sender that paused.
const MEMORY: Duration = Duration::from_secs(1);
/// A queue that is cut is this much shorter than the target, so that it stays below: a packet also waits for those of its batch.
const MARGIN: f64 = 0.6;
/// Fewer packets than these are no queue; the fewest that one is cut to are twice as many.
const NO_QUEUE: u32 = 16;

/// The queue of one socket.
#[derive(Debug, Default)]
pub struct Depth {
    probe: Option<Probe>,
    /// Since when packets wait for too long, and how long at most since.
    above: Option<(Instant, Duration)>,
    /// Frames that the kernel may have.
    limit: Option<u32>,
    /// When the queue was last cut.
    cut: Option<Instant>,
}

/// A packet that was the last to wait at some moment.
#[derive(Debug)]
struct Probe {
    at: Instant,
    waiting: u32,
    /// The count of packets received when it has been.
    until: u64,
}

impl Depth {
    /// After packets were handled: `received` in all so far, `waiting` more are in the ring.
    #[inline]
    pub fn measure(&mut self, received: u64, waiting: u32, now: impl FnOnce() -> Instant) {
        match &self.probe {
            Some(probe) if received < probe.until => {}
            None if waiting < NO_QUEUE => {}
            _ => self.judge(received, waiting, now()),
        }
    }

    /// The frames that the kernel may have for receiving, of `quota`.
    #[inline]
    pub fn of(&self, quota: u32) -> u32 {
        self.limit.map_or(quota, |limit| limit.min(quota))
    }

    /// Whether the queue is cut now.
    #[inline]
    pub fn is_cut(&self) -> bool {
        self.limit.is_some()
    }

    /// The packet that was watched has been handled, or there was none.
    fn judge(&mut self, received: u64, waiting: u32, now: Instant) {
        if let Some(probe) = self.probe.take() {
            let waited = now - probe.at;
            self.above = (waited > TARGET).then(|| match self.above {
                Some((since, most)) if 2 * waited > most => (since, most.max(waited)),
                // It begins, or has halved: then it is on its way down, and gets its time anew.
                _ => (probe.at, waited),
            });
            let patience = if self.cut.is_some_and(|cut| now - cut < MEMORY) { Duration::ZERO } else { INTERVAL };
            if self.limit.is_some() || self.above.is_some_and(|(since, _)| now - since >= patience) {
                // As many as are handled in the time that they may wait.
                let most = f64::from(probe.waiting) * TARGET.as_secs_f64() * MARGIN / waited.as_secs_f64();
                self.limit = Some((most as u32).max(2 * NO_QUEUE));
                self.cut = Some(now);
            }
        }
        if waiting < NO_QUEUE {
            // It drains.
            *self = Self { cut: self.cut, ..Self::default() };
        } else {
            self.probe = Some(Probe { at: now, waiting, until: received + u64::from(waiting) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ring's depth.
    const RING: u32 = 8192;

    /// A socket whose packets come at one rate and are handled at another, in batches.
    struct Queue {
        depth: Depth,
        waiting: f64,
        received: u64,
        lost: f64,
        start: Instant,
        time: f64,
    }

    impl Queue {
        fn new() -> Self {
            Self { depth: Depth::default(), waiting: 0.0, received: 0, lost: 0.0, start: Instant::now(), time: 0.0 }
        }

        /// Runs for so many seconds; how long the newest packet waits then, in seconds.
        fn run(&mut self, seconds: f64, offered: f64, handled: f64) -> f64 {
            let end = self.time + seconds;
            while self.time < end {
                let batch = self.waiting.floor().min(256.0);
                let passed = (batch / handled).max(1e-6);
                self.time += passed;
                self.waiting += passed * offered - batch;
                self.received += batch as u64;
                let room = f64::from(self.depth.of(RING));
                if self.waiting > room {
                    // What was there before the limit stays.
                    let kept = room.max(self.waiting - passed * offered);
                    self.lost += self.waiting - kept;
                    self.waiting = kept;
                }
                let now = self.start + Duration::from_secs_f64(self.time);
                self.depth.measure(self.received, self.waiting as u32, || now);
            }
            self.waiting / handled
        }
    }

    #[test]
    fn a_standing_queue_is_cut_whatever_the_rate() {
        for handled in [1_000.0, 9_000.0, 70_000.0, 600_000.0, 5_000_000.0] {
            let mut queue = Queue::new();
            // What stood in the ring goes first.
            queue.run(0.6 + 2.0 * f64::from(RING) / handled, handled * 2.0, handled);
            for _ in 0..100 {
                let delay = queue.run(0.1, handled * 2.0, handled);
                let least = f64::from(2 * NO_QUEUE) / handled;
                assert!(delay <= 0.005_f64.max(least), "{handled}: {delay}");
            }
            let received = queue.received as f64;
            assert!(received >= 0.99 * handled * queue.time, "{handled}: the worker always has something to do");
        }
    }

    #[test]
    fn it_stays_cut_though_the_sender_pauses() {
        let mut queue = Queue::new();
        queue.run(1.0, 100_000.0, 60_000.0);
        for _ in 0..20 {
            queue.run(0.02, 0.0, 60_000.0);
            assert_eq!(queue.depth.of(RING), RING);
            for _ in 0..30 {
                let delay = queue.run(0.01, 100_000.0, 60_000.0);
                assert!(delay <= 0.01, "{delay}");
            }
        }
    }

    #[test]
    fn a_burst_and_an_absence_lose_nothing() {
        let mut queue = Queue::new();
        for _ in 0..20 {
            // 12 ms of packets came while the worker was away; it catches up.
            queue.waiting += 500_000.0 * 0.012;
            queue.run(0.2, 500_000.0, 600_000.0);
        }
        assert_eq!(queue.lost, 0.0);
    }

    #[test]
    fn a_slow_moment_loses_nothing() {
        let mut queue = Queue::new();
        for _ in 0..5 {
            queue.run(0.3, 60_000.0, 50_000.0);
            queue.run(0.4, 60_000.0, 75_000.0);
        }
        assert_eq!(queue.lost, 0.0);
    }

    #[test]
    fn after_overload_the_ring_is_whole_again() {
        let mut queue = Queue::new();
        queue.run(1.0, 1_200_000.0, 600_000.0);
        assert!(queue.depth.of(RING) < RING);
        queue.run(0.1, 300_000.0, 600_000.0);
        assert_eq!(queue.depth.of(RING), RING);
    }
}
