//! When each packet is due: an absolute schedule, so that the number sent is rate x time, without drift.

/// A burst carries at most this much of the rate.
pub const BURST_NS: u64 = 2_000_000;

const SECOND_NS: u128 = 1_000_000_000;

/// The schedule of one sender over all its streams. Packet p is due p / rate seconds after the start.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    rate: u64,
    total: u64,
}

impl Pace {
    /// `rate` packets a second (at least 1) until `total` packets.
    pub fn new(rate: u64, total: u64) -> Self {
        assert!(rate > 0, "a rate of 0 has no schedule");
        Self { rate, total }
    }

    /// Packets that `rate` packets a second make in `seconds`, rounded; at most 2^63.
    pub fn total_in(rate: u64, seconds: f64) -> u64 {
        ((rate as f64 * seconds).round() as u64).min(1 << 63)
    }

    /// Packets a second.
    pub fn rate(&self) -> u64 {
        self.rate
    }

    /// Packets in all.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Nanoseconds from the start at which packet `p` is due. `due_ns(total)` is the end of the schedule.
    pub fn due_ns(&self, p: u64) -> u64 {
        u64::try_from(u128::from(p) * SECOND_NS / u128::from(self.rate)).unwrap_or(u64::MAX)
    }

    /// Packets in the burst that starts with packet `p`: [`BURST_NS`] worth, one at rates below 500 a second.
    pub fn burst(&self, p: u64) -> u64 {
        let whole = u128::from(self.rate) * u128::from(BURST_NS) / SECOND_NS;
        (whole as u64).max(1).min(self.total - p)
    }

    /// When the burst that starts with packet `p` goes out, in nanoseconds from the start, if the one before
    /// went out at `previous`. A sender that fell behind catches up at twice the rate, not in one flood.
    pub fn start_ns(&self, p: u64, previous: Option<u64>) -> u64 {
        self.due_ns(p).max(previous.map_or(0, |at| at.saturating_add(BURST_NS / 2)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the schedule with a clock that is never late: (start, packets) of every burst.
    fn run(pace: Pace) -> Vec<(u64, u64)> {
        let (mut bursts, mut p, mut previous) = (Vec::new(), 0, None);
        while p < pace.total() {
            let (start, n) = (pace.start_ns(p, previous), pace.burst(p));
            bursts.push((start, n));
            p += n;
            previous = Some(start);
        }
        bursts
    }

    #[test]
    fn count_is_rate_times_time() {
        for rate in [1, 7, 499, 500, 1_250, 3_000, 150_000, 499_999, 1_000_003] {
            let pace = Pace::new(rate, Pace::total_in(rate, 10.0));
            assert_eq!(pace.total(), rate * 10);
            assert_eq!(pace.due_ns(pace.total()), 10_000_000_000);
            let bursts = run(pace);
            assert_eq!(bursts.iter().map(|(_, n)| n).sum::<u64>(), rate * 10);
            // what has gone out by any time is never more than one burst ahead of rate x time
            let mut sent = 0;
            for (start, n) in &bursts {
                assert_eq!(*start, pace.due_ns(sent), "rate {rate}");
                sent += n;
            }
        }
    }

    #[test]
    fn a_burst_is_at_most_two_milliseconds_worth() {
        assert_eq!(Pace::new(150_000, u64::MAX).burst(0), 300);
        assert_eq!(Pace::new(3_000, u64::MAX).burst(0), 6);
        assert_eq!(Pace::new(1_250, u64::MAX).burst(0), 2);
        assert_eq!(Pace::new(10, u64::MAX).burst(0), 1);
        assert_eq!(Pace::new(150_000, 301).burst(300), 1);
    }

    #[test]
    fn late_is_caught_up_in_bursts_half_as_far_apart() {
        let pace = Pace::new(150_000, 1_500_000);
        // the burst of packet 300 was due at 2 ms and went out at 50 ms
        assert_eq!(pace.start_ns(600, Some(50_000_000)), 51_000_000);
        assert_eq!(pace.start_ns(600, Some(3_000_000)), 4_000_000);
        assert_eq!(pace.start_ns(600, Some(2_000_000)), 4_000_000);
    }

    #[test]
    fn hostile_values_do_not_overflow() {
        let pace = Pace::new(u64::MAX, u64::MAX);
        assert!(pace.burst(0) > 0);
        assert_eq!(Pace::new(1, u64::MAX).due_ns(u64::MAX), u64::MAX);
        assert_eq!(Pace::total_in(u64::MAX, 1e300), 1 << 63);
    }
}
