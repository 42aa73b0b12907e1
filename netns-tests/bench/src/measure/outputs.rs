//! Aggregated multicast throughput (RFC 3918 section 4.3): one stream to several outputs on one interface, nothing lost at any.

use anyhow::Result;

use super::bench::{Bench, Turns};
use crate::{
    relay::{Contender, Job},
    results::{Key, What},
};

/// Measures it.
///
/// # Errors
/// As [`super::throughput::measure`].
pub fn measure(bench: &mut Bench) -> Result<()> {
    let (outputs, repeats) = (bench.plan.outputs, bench.plan.others);
    let contenders = bench.who(Contender::fans_out);
    bench.take_turns(
        Turns { name: "outputs", contenders, repeats, seconds: bench.plan.budget.outputs },
        |bench, contender, _| {
            for outputs in outputs {
                let mut running = contender.start(Job { outputs: *outputs, ..Job::of(1) })?;
                let key = Key::of(What::Outputs, contender).outputs(*outputs);
                let before = bench.results.median(key).map(|rate| rate / f64::from(*outputs));
                let rate = bench.lossless(&mut running, key.size, before.filter(|rate| *rate > 0.0))?;
                bench.results.add_rate(key, rate.pps * f64::from(*outputs), rate.is_limited);
            }
            Ok(())
        },
    )
}
