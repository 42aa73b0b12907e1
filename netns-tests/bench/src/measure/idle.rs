//! A forwarder at rest, with fifty streams to forward: its CPU and its memory.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::Result;

use super::bench::{Bench, Turns};
use crate::{
    machine::process::{cpu_seconds, resident_kib},
    relay::Job,
    results::{Key, What},
};

/// Bytes of a frame of mcr's UMEM on interfaces with an MTU of 1500.
const FRAME: f64 = 2048.0;
/// Streams.
pub const STREAMS: u32 = 50;

/// Measures those that have processes.
///
/// # Errors
/// As [`super::throughput::measure`].
pub fn measure(bench: &mut Bench) -> Result<()> {
    let (seconds, repeats) = (bench.plan.idle, bench.plan.others);
    let turns = Turns {
        name: "rest",
        contenders: bench.who(|contender| contender.has_processes()),
        repeats,
        seconds: bench.plan.budget.idle,
    };
    bench.take_turns(turns, |bench, contender, _| {
        let running = contender.start(Job::of(STREAMS))?;
        let pids = running.pids();
        // What the first packets have woken goes back to sleep.
        sleep(Duration::from_millis(300));
        let (before, start) = (cpu_seconds(&pids)?, Instant::now());
        sleep(Duration::from_secs_f64(seconds));
        let busy = cpu_seconds(&pids)? - before;
        let key = |what| Key::of(what, contender).streams(STREAMS);
        bench.results.add(key(What::Idle), 100.0 * busy / start.elapsed().as_secs_f64());
        bench.results.add(key(What::Resident), resident_kib(&pids)? as f64 / 1024.0);
        // The kernel charges what it pins for AF_XDP to the user, not to the process, so it is counted in mcr's own frames.
        if let Some(daemon) = &running.daemon {
            let frames: u64 = daemon.stats()?.workers.iter().map(|worker| worker.frames_total).sum();
            bench.results.add(key(What::Pinned), frames as f64 * FRAME / (1024.0 * 1024.0));
        }
        Ok(())
    })
}
