//! How many packets of an interface no rule matched, second by second: whether another stream began when a rule's ended.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Between two samples.
const PERIOD: Duration = Duration::from_millis(950);
/// Samples that are kept: ten minutes.
const KEPT: usize = 600;
/// Around a moment so much is left out: it is known to a second or so, and a sender needs time to change.
const LEFT_OUT: Duration = Duration::from_secs(2);
/// A rate is taken over this time at least, and before the moment over five times as much at most.
const LEAST: Duration = Duration::from_secs(2);

/// Samples of an interface's counter.
#[derive(Debug, Default)]
pub struct Passed(VecDeque<(Instant, u64)>);

/// Packets a second that no rule matched, before a moment and since.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// In the last seconds before.
    pub before: f64,
    /// From then to now.
    pub since: f64,
}

impl Passed {
    /// Takes a sample, once a second at most.
    pub fn look(&mut self, now: Instant, count: impl FnOnce() -> u64) {
        if self.0.back().is_some_and(|(at, _)| now - *at < PERIOD) {
            return;
        }
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back((now, count()));
    }

    /// The rates around a moment; `None` where the samples do not tell.
    pub fn around(&self, moment: Instant) -> Option<Rates> {
        let end = moment.checked_sub(LEFT_OUT)?;
        let begin = end.checked_sub(5 * LEAST)?;
        let before = rate(self.0.iter().filter(|(at, _)| (begin..=end).contains(at)))?;
        let since = rate(self.0.iter().filter(|(at, _)| *at >= moment + LEFT_OUT))?;
        Some(Rates { before, since })
    }
}

fn rate<'a>(mut samples: impl DoubleEndedIterator<Item = &'a (Instant, u64)>) -> Option<f64> {
    let (first, last) = (samples.next()?, samples.next_back()?);
    let time = last.0 - first.0;
    (time >= LEAST).then(|| last.1.saturating_sub(first.1) as f64 / time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_at_a_moment_shows() {
        let start = Instant::now();
        let second = |second: u64| start + Duration::from_secs(second);
        let mut passed = Passed::default();
        let mut count = 0;
        for at in 0..40 {
            passed.look(second(at), || count);
            passed.look(second(at) + Duration::from_millis(100), || panic!("once a second"));
            count += if at < 20 { 10 } else { 260 };
        }
        assert_eq!(passed.around(second(20)), Some(Rates { before: 10.0, since: 260.0 }));
        assert_eq!(passed.around(second(36)), None, "too short a time since");
        assert_eq!(passed.around(second(3)), None, "too short a time before");
    }
}
