//! Zero-loss throughput (RFC 2544 section 26.1) by frame size, for one stream and for fifty.

use anyhow::Result;

use super::bench::{Bench, Turns};
use crate::{
    relay::{Job, Running},
    results::{Key, What},
};

/// Sizes on which a goal is: they are repeated most.
pub const GOAL_SIZES: [u32; 3] = [64, 256, 1024];
/// Streams on which a goal is.
pub const GOAL_STREAMS: u32 = 50;

/// Measures it: first what goals are on, as often as there is time for; then the rest, once.
///
/// # Errors
/// Only an interruption: a contender's failure is among the results.
pub fn measure(bench: &mut Bench) -> Result<()> {
    let has_goal = |streams, size| streams == GOAL_STREAMS && GOAL_SIZES.contains(&size);
    let (repeats, seconds) = (bench.plan.repeats, bench.plan.budget.throughput);
    part(bench, ("throughput", repeats, seconds), has_goal)?;
    part(bench, ("throughput, others", 1, 0), |streams, size| !has_goal(streams, size))
}

/// Those points, of all streams and sizes, that are wanted.
fn part(
    bench: &mut Bench,
    (name, repeats, seconds): (&'static str, u32, u64),
    wanted: impl Fn(u32, u32) -> bool,
) -> Result<()> {
    let (sizes, streams) = (bench.plan.sizes, bench.plan.streams);
    let points = streams.iter().flat_map(|streams| sizes.iter().map(|size| (*streams, *size)));
    let points: Vec<(u32, u32)> = points.filter(|(streams, size)| wanted(*streams, *size)).collect();
    if points.is_empty() {
        return Ok(());
    }
    let turns = Turns { name, contenders: bench.who(|_| true), repeats, seconds };
    bench.take_turns(turns, |bench, contender, _| {
        for same in points.chunk_by(|(streams, _), (next, _)| streams == next) {
            let mut running = contender.start(Job::of(same[0].0))?;
            for (streams, size) in same {
                point(bench, &mut running, Key::of(What::Throughput, contender).streams(*streams).size(*size))?;
            }
        }
        Ok(())
    })
}

/// One size; where it was measured before, the search begins there.
fn point(bench: &mut Bench, running: &mut Running, key: Key) -> Result<()> {
    let before = bench.results.median(key).filter(|rate| *rate > 0.0);
    let rate = bench.lossless(running, key.size, before)?;
    bench.results.add_rate(key, rate.pps, rate.is_limited);
    if rate.pps > 0.0
        && let Some(delay) = bench.delay_below(running, key.size, rate.pps)?
    {
        bench.results.add(Key { what: What::ThroughputDelay, ..key }, delay);
    }
    Ok(())
}
