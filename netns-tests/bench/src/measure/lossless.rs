//! Zero-loss throughput of a contender at work.

use anyhow::Result;

use super::{Bench, search::Search};
use crate::{
    interrupt,
    load::stage::{Outcome, Sender, Trial},
    relay::Running,
};

/// A loss below this part may be the machine's hiccup: the trial is done once more.
const HICCUP: f64 = 0.01;
/// Searches whose rate a longer trial may refuse before there is none.
const CONFIRMATIONS: u32 = 6;
/// Where a search begins that knows nothing, in packets a second.
const GUESS: f64 = 500_000.0;

/// A rate, in packets sent a second.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// The rate.
    pub pps: f64,
    /// Whether the sender could not offer more.
    pub is_limited: bool,
    /// Microseconds that half of the packets took at most, when the rate was confirmed.
    pub delay: Option<f64>,
}

impl Bench {
    /// The highest rate at which `running` loses nothing, in frames of `size` bytes; where one was found before, near that.
    pub(super) fn lossless(&self, running: &mut Running, size: u32, before: Option<f64>) -> Result<Rate> {
        let mut search = Search::near(match before {
            Some(before) => before,
            None => self.guess(running, size)?,
        });
        for _ in 0..CONFIRMATIONS {
            while let Some(rate) = search.next() {
                let outcome = self.attempt(running, size, rate, self.plan.trial)?;
                search.tell(rate, outcome.rate(), is_lossless(&outcome));
            }
            let found = search.found();
            if found == 0.0 {
                break;
            }
            let outcome = self.attempt(running, size, found, self.plan.confirm)?;
            if is_lossless(&outcome) {
                let delay = outcome.delays.quantile(0.5).map(|nanoseconds| nanoseconds as f64 / 1e3);
                return Ok(Rate { pps: found, is_limited: search.is_limited(), delay });
            }
            search.tell_unconfirmed(found);
        }
        // Never confirmed: there is no rate of which it can be said that nothing is lost.
        Ok(Rate { pps: 0.0, is_limited: false, delay: None })
    }

    /// What comes through when far too much is offered: not far from what comes through without loss.
    fn guess(&self, running: &mut Running, size: u32) -> Result<f64> {
        let packets = (GUESS * self.plan.trial) as u32;
        let outcome = running.trial(&Trial { rate: None, ..trial(size, packets) })?;
        Ok(outcome.delivered as f64 / outcome.expected.max(1) as f64 * outcome.rate())
    }

    /// A trial at a rate, and one more where it lost only a little.
    fn attempt(&self, running: &mut Running, size: u32, rate: f64, seconds: f64) -> Result<Outcome> {
        interrupt::check()?;
        let packets = (rate * seconds).max(100.0) as u32;
        let trial = Trial { rate: Some(rate), ..trial(size, packets) };
        let outcome = running.trial(&trial)?;
        if is_lossless(&outcome) || outcome.lost() as f64 > outcome.expected as f64 * HICCUP {
            return Ok(outcome);
        }
        running.trial(&trial)
    }
}

/// Everything came, and nothing else.
fn is_lossless(outcome: &Outcome) -> bool {
    outcome.lost() == 0 && outcome.wrong == 0
}

fn trial(size: u32, packets: u32) -> Trial {
    Trial { size, packets, rate: None, sender: Sender::Kernel, every_delay: false }
}
