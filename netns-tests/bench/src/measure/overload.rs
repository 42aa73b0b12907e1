//! Eight outputs at twice what they carry without loss: what still comes, how old it is, and whether every loss is told.

use anyhow::{Context, Result};
use netns_tests::stats::{Stats, sum};

use super::bench::{Bench, Turns};
use crate::{
    load::stage::{Sender, Trial},
    relay::{Contender, Job},
    results::{Key, What},
};

/// Outputs.
pub const OUTPUTS: u32 = 8;

/// Measures it for mcr.
///
/// # Errors
/// As [`super::throughput::measure`].
pub fn measure(bench: &mut Bench) -> Result<()> {
    let (seconds, repeats) = (bench.plan.overload, bench.plan.others);
    let contenders = bench.who(Contender::is_mcr);
    bench.take_turns(
        Turns { name: "overload", contenders, repeats, seconds: bench.plan.budget.overload },
        |bench, contender, _| {
            let mut running = contender.start(Job { outputs: OUTPUTS, ..Job::of(1) })?;
            let key = |what| Key::of(what, contender).outputs(OUTPUTS);
            let before = bench.results.median(key(What::Outputs)).map(|rate| rate / f64::from(OUTPUTS));
            let lossless = bench.lossless(&mut running, 1024, before.filter(|rate| *rate > 0.0))?.pps;

            let stats =
                |running: &crate::relay::Running| running.daemon.as_ref().context("mcr has a daemon")?.stats_at_rest();
            let drops = dropped(&stats(&running)?);
            let outcome = running.trial(&Trial {
                size: 1024,
                packets: (2.0 * lossless * seconds).max(1.0) as u32,
                rate: Some(2.0 * lossless),
                sender: Sender::Kernel,
                every_delay: false,
            })?;
            let told = dropped(&stats(&running)?) - drops + outcome.sender_dropped * u64::from(OUTPUTS);
            let goodput = outcome.goodput() / (lossless * f64::from(OUTPUTS));
            bench.results.add(key(What::OverloadGoodput), goodput);
            let median = outcome.delays.quantile(0.5).context("nothing came under overload")?;
            bench.results.add(key(What::OverloadDelay), median as f64 / 1e3);
            bench.results.add(key(What::OverloadUntold), outcome.lost() as f64 - told as f64);
            Ok(())
        },
    )
}

/// Packets that mcr has dropped, as outputs miss them: what was lost before the outputs is missed at each.
fn dropped(stats: &Stats) -> u64 {
    sum(&stats.totals.dropped) * u64::from(OUTPUTS) + sum(&stats.totals.output_dropped)
}
