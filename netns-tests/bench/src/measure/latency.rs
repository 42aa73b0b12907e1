//! One-way latency of one stream in frames of 1,024 B, from before the sender's system call to the sink's driver, at several
//! rates.

use anyhow::Result;

use super::bench::{Bench, Turns};
use crate::{
    interrupt,
    load::{
        socket::Pace,
        stage::{Sender, Trial},
    },
    relay::Job,
    results::{Key, What},
};

/// Measures it.
///
/// # Errors
/// As [`super::throughput::measure`].
pub fn measure(bench: &mut Bench) -> Result<()> {
    let (rates, repeats) = (bench.plan.latency, bench.plan.others);
    let turns = Turns { name: "latency", contenders: bench.who(|_| true), repeats, seconds: bench.plan.budget.latency };
    bench.take_turns(turns, |bench, contender, _| {
        let mut running = contender.start(Job::of(1))?;
        for (rate, seconds) in rates {
            interrupt::check()?;
            let outcome = running.trial(&Trial {
                size: 1024,
                packets: (f64::from(*rate) * seconds) as u32,
                rate: Some(f64::from(*rate)),
                sender: Sender::Socket(Pace::Watching),
                every_delay: true,
            })?;
            let key = |what| Key::of(what, contender).rate(*rate);
            for (what, part) in [(What::LatencyP50, 0.5), (What::LatencyP99, 0.99), (What::LatencyP999, 0.999)] {
                if let Some(nanoseconds) = outcome.delays.quantile(part) {
                    bench.results.add(key(what), nanoseconds as f64 / 1e3);
                }
            }
            bench.results.add(key(What::LatencyLost), outcome.lost() as f64);
            let all = bench.results.delays.entry((contender, *rate)).or_default();
            *all = all.with(&outcome.delays);
        }
        Ok(())
    })
}
