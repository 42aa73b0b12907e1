//! Zero-loss throughput (RFC 2544 section 26.1) by frame size, for one stream and for fifty.

use anyhow::Result;

use super::{Bench, Turns};
use crate::{
    relay::Job,
    results::{Key, What},
};

/// Sizes on which a goal is: they are repeated most.
pub const GOAL_SIZES: [u32; 3] = [64, 256, 1024];
/// Streams on which a goal is.
pub const GOAL_STREAMS: u32 = 50;

/// Measures it.
///
/// # Errors
/// Only an interruption: a contender's failure is among the results.
pub fn measure(bench: &mut Bench) -> Result<()> {
    let (sizes, streams, repeats) = (bench.plan.sizes, bench.plan.streams, bench.plan.repeats);
    let turns =
        Turns { name: "throughput", contenders: bench.who(|_| true), repeats, seconds: bench.plan.budget.throughput };
    bench.take_turns(turns, |bench, contender, repeat| {
        for streams in streams {
            if repeat > 0 && *streams != GOAL_STREAMS {
                continue;
            }
            let mut running = contender.start(Job::of(*streams))?;
            for size in sizes.iter().filter(|size| repeat == 0 || GOAL_SIZES.contains(size)) {
                let key = Key::of(What::Throughput, contender).streams(*streams).size(*size);
                let before = bench.results.median(key).filter(|rate| *rate > 0.0);
                let rate = bench.lossless(&mut running, *size, before)?;
                bench.results.add_rate(key, rate.pps, rate.is_limited);
                if let Some(delay) = rate.delay {
                    bench.results.add(Key { what: What::ThroughputDelay, ..key }, delay);
                }
            }
        }
        Ok(())
    })
}
