//! Zero-loss throughput of a contender at work.

use anyhow::Result;

use super::{bench::Bench, search::Search};
use crate::{
    interrupt,
    load::stage::{Outcome, Sender, Trial},
    relay::Running,
};

/// A loss below this part may be the machine's hiccup: the trial is done once more.
const HICCUP: f64 = 0.01;
/// Longer trials of a rate, each lower by as much as the search is exact, before there is none of which it can be said that
/// nothing is lost.
const CONFIRMATIONS: i32 = 12;
/// A forwarder whose packets come out over this much more time than they took to come in does not keep up.
const KEEPS_UP: f64 = 1.02;
/// The part of the rate found at which delays are taken: no queue is to grow there.
const BELOW: f64 = 0.9;
/// Where a search begins that knows nothing, in packets a second.
const GUESS: f64 = 500_000.0;

/// A rate, in packets sent a second.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// The rate.
    pub pps: f64,
    /// Whether the sender could not offer more.
    pub is_limited: bool,
}

impl Bench {
    /// The highest rate at which `running` loses nothing, in frames of `size` bytes; where one was found before, near that.
    pub(super) fn lossless(&self, running: &mut Running, size: u32, before: Option<f64>) -> Result<Rate> {
        let near = self.plan.near;
        let guess = match before {
            Some(before) => before,
            None => self.guess(running, size)?,
        };
        let mut search = Search::new(guess, near);
        while let Some(rate) = search.next() {
            let outcome = self.attempt(running, size, rate, self.plan.trial, keeps_up)?;
            search.tell(rate, outcome.rate(), keeps_up(&outcome));
        }
        for lower in 0..CONFIRMATIONS {
            let rate = search.found() / near.powi(lower);
            if rate == 0.0 {
                break;
            }
            let outcome = self.attempt(running, size, rate, self.plan.confirm, is_lossless)?;
            if is_lossless(&outcome) {
                let is_limited = search.is_limited() && lower == 0;
                return Ok(Rate { pps: rate.min(outcome.rate()), is_limited });
            }
        }
        Ok(Rate { pps: 0.0, is_limited: false })
    }

    /// Microseconds that half of the packets take at most, a tenth below the lossless rate `pps`.
    pub(super) fn delay_below(&self, running: &mut Running, size: u32, pps: f64) -> Result<Option<f64>> {
        let outcome = self.attempt(running, size, pps * BELOW, self.plan.confirm, is_lossless)?;
        Ok(outcome.delays.quantile(0.5).map(|nanoseconds| nanoseconds as f64 / 1e3))
    }

    /// What comes through when far too much is offered: not far from what comes through without loss.
    fn guess(&self, running: &mut Running, size: u32) -> Result<f64> {
        let packets = (GUESS * self.plan.trial) as u32;
        let outcome = running.trial(&Trial { rate: None, ..trial(size, packets) })?;
        Ok(outcome.delivered as f64 / outcome.expected.max(1) as f64 * outcome.rate())
    }

    /// A trial at a rate, and one more where it did not pass and lost only a little.
    fn attempt(
        &self,
        running: &mut Running,
        size: u32,
        rate: f64,
        seconds: f64,
        passes: fn(&Outcome) -> bool,
    ) -> Result<Outcome> {
        interrupt::check()?;
        let packets = (rate * seconds).max(100.0) as u32;
        let trial = Trial { rate: Some(rate), ..trial(size, packets) };
        let outcome = running.trial(&trial)?;
        if passes(&outcome) || outcome.lost() as f64 > outcome.expected as f64 * HICCUP {
            return Ok(outcome);
        }
        running.trial(&trial)
    }
}

/// Everything came, and nothing else.
fn is_lossless(outcome: &Outcome) -> bool {
    outcome.lost() == 0 && outcome.wrong == 0
}

/// Nothing was lost, and what came in came out as fast: a short trial must not be passed on the depth of a queue.
fn keeps_up(outcome: &Outcome) -> bool {
    is_lossless(outcome) && outcome.span <= outcome.seconds * KEEPS_UP
}

fn trial(size: u32, packets: u32) -> Trial {
    Trial { size, packets, rate: None, sender: Sender::Kernel, every_delay: false }
}
