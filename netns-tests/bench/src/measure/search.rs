//! The search for the highest rate without loss: throughput in the words of RFC 2544, by bisection. Pure: rates in, verdicts
//! back.

/// Below this part of the rate that it was asked for, a sender has not offered it.
const REACHED: f64 = 0.9;
/// The slowest rate that is worth a trial.
const LEAST: f64 = 500.0;

/// Trials in a row in which the sender must fall short to be taken for the limit: once may be the machine's hiccup.
const SHORT: u32 = 3;
/// Trials after which it is enough, however near the two sides are.
const TRIALS: u32 = 16;

/// One search.
#[derive(Clone, Debug)]
pub struct Search {
    guess: f64,
    /// How near the two sides of the border must come.
    near: f64,
    /// The highest rate at which nothing was lost.
    low: Option<f64>,
    /// The lowest rate at which something was lost.
    high: Option<f64>,
    /// By which factor to go on while there is only one side; the next step is twice as long.
    stride: f64,
    /// Trials in a row without loss in which the sender fell short.
    short: u32,
    trials: u32,
}

impl Search {
    /// A search that begins with `guess`, in packets a second, and ends when both sides of the border are as `near` as this factor.
    pub fn new(guess: f64, near: f64) -> Self {
        Self { guess: guess.max(LEAST), near, low: None, high: None, stride: 1.15, short: 0, trials: 0 }
    }

    /// The next rate to try; `None` when the border is found.
    pub fn next(&self) -> Option<f64> {
        match (self.low, self.high) {
            _ if self.is_limited() || self.trials == TRIALS => None,
            (None, None) => Some(self.guess),
            (Some(low), None) => Some(low * self.stride),
            (None, Some(high)) => (high > LEAST).then_some((high / self.stride).max(LEAST)),
            (Some(low), Some(high)) => (high / low > self.near).then_some((low * high).sqrt()),
        }
    }

    /// A trial at `asked`, in which the sender reached `reached`, is over.
    pub fn tell(&mut self, asked: f64, reached: f64, lossless: bool) {
        self.trials += 1;
        if self.low.is_some() != self.high.is_some() {
            self.stride *= self.stride;
        }
        if !lossless {
            self.high = Some(asked.min(self.high.unwrap_or(asked)));
            return;
        }
        self.short = if reached < asked * REACHED { self.short + 1 } else { 0 };
        if self.short > 0 {
            // The next step is to be near this one.
            self.stride = 1.15;
        }
        self.low = Some(reached.min(asked).max(self.low.unwrap_or(0.0)));
    }

    /// The highest rate without loss so far; 0 when there was none.
    pub fn found(&self) -> f64 {
        self.low.unwrap_or(0.0)
    }

    /// Whether it was the sender that could not offer more.
    pub fn is_limited(&self) -> bool {
        self.short >= SHORT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEAR: f64 = 1.02;

    /// Searches with a forwarder that loses above `border` and a sender that reaches `most`; what was found, and in how many
    /// trials.
    fn search(guess: f64, border: f64, most: f64) -> (Search, u32) {
        let (mut search, mut trials) = (Search::new(guess, NEAR), 0);
        while let Some(rate) = search.next() {
            trials += 1;
            assert!(trials < 60, "{search:?}");
            let reached = rate.min(most);
            search.tell(rate, reached, reached <= border);
        }
        (search, trials)
    }

    #[test]
    fn finds_the_border_from_any_guess() {
        for border in [1_234.0, 98_765.0, 850_000.0, 2_900_000.0] {
            for guess in [600.0, 100_000.0, 800_000.0, 5_000_000.0] {
                let (found, _) = search(guess, border, 10e6);
                assert!(found.found() <= border && found.found() > border / NEAR, "{border} from {guess}: {found:?}");
                assert!(!found.is_limited());
            }
        }
    }

    #[test]
    fn a_good_guess_takes_few_trials() {
        let (_, trials) = search(800_000.0, 850_000.0, 10e6);
        assert!(trials <= 6, "{trials}");
    }

    #[test]
    fn says_when_the_sender_is_the_limit() {
        let (found, _) = search(500_000.0, 5e6, 900_000.0);
        assert!(found.is_limited() && found.found() > 880_000.0, "{found:?}");
    }

    #[test]
    fn a_sender_that_falls_a_little_short_is_no_limit_and_no_endless_search() {
        let (mut search, mut trials) = (Search::new(500_000.0, NEAR), 0);
        while let Some(rate) = search.next() {
            trials += 1;
            search.tell(rate, rate * 0.95, rate * 0.95 <= 700_000.0);
        }
        assert!(trials <= TRIALS && !search.is_limited());
        assert!((650_000.0..=700_000.0).contains(&search.found()), "{search:?}");
    }

    #[test]
    fn nothing_passes() {
        let (found, _) = search(100_000.0, 0.0, 1e6);
        assert_eq!((found.found(), found.is_limited()), (0.0, false));
    }
}
