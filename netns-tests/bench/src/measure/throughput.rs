//! Zero-loss throughput (RFC 2544 section 26.1) by frame size, for one stream and for fifty.

use anyhow::Result;

use super::{Bench, Turns};
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
    let (all_sizes, all_streams) = (bench.plan.sizes, bench.plan.streams);
    let has_goal = |streams, size| streams == GOAL_STREAMS && GOAL_SIZES.contains(&size);
    for (name, repeats, seconds, with_goal) in
        [("throughput", bench.plan.repeats, bench.plan.budget.throughput, true), ("throughput, others", 1, 0, false)]
    {
        let points: Vec<(u32, Vec<u32>)> = all_streams
            .iter()
            .map(|streams| {
                let sizes = all_sizes.iter().copied().filter(|size| has_goal(*streams, *size) == with_goal);
                (*streams, sizes.collect::<Vec<u32>>())
            })
            .filter(|(_, sizes)| !sizes.is_empty())
            .collect();
        if points.is_empty() {
            continue;
        }
        let turns = Turns { name, contenders: bench.who(|_| true), repeats, seconds };
        bench.take_turns(turns, |bench, contender, _| {
            for (streams, sizes) in &points {
                let mut running = contender.start(Job::of(*streams))?;
                for size in sizes {
                    point(bench, &mut running, Key::of(What::Throughput, contender).streams(*streams).size(*size))?;
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// One size; where it was measured before, the search begins there.
fn point(bench: &mut Bench, running: &mut Running, key: Key) -> Result<()> {
    let before = bench.results.median(key).filter(|rate| *rate > 0.0);
    let rate = bench.lossless(running, key.size, before)?;
    bench.results.add_rate(key, rate.pps, rate.is_limited);
    if let Some(delay) = rate.delay {
        bench.results.add(Key { what: What::ThroughputDelay, ..key }, delay);
    }
    Ok(())
}
