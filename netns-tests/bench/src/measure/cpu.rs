//! CPU that the whole system uses for a packet, over what it uses when the same packets cross the bare wire.

use anyhow::{Context, Result};

use super::bench::{Bench, Turns};
use crate::{
    load::{
        socket::Pace,
        stage::{Sender, Trial},
    },
    machine::cpu::Usage,
    relay::{Contender, Job},
    results::{Key, What},
};

/// Packets a second.
pub const RATE: u32 = 150_000;
/// Streams.
pub const STREAMS: u32 = 50;

/// Measures it: the wire first in each repeat, and what others use beyond it.
///
/// # Errors
/// As [`super::throughput::measure`].
pub fn measure(bench: &mut Bench) -> Result<()> {
    let (seconds, repeats) = (bench.plan.cpu, bench.plan.others);
    let contenders = [Contender::Wire].into_iter().chain(bench.who(|contender| contender != Contender::Wire)).collect();
    let mut wire = None;
    bench.take_turns(
        Turns { name: "cpu", contenders, repeats, seconds: bench.plan.budget.cpu },
        |bench, contender, _| {
            let mut running = contender.start(Job::of(STREAMS))?;
            let trial = Trial {
                size: 1024,
                packets: (f64::from(RATE) * seconds) as u32,
                rate: Some(f64::from(RATE)),
                sender: Sender::Socket(Pace::Sleeping),
                every_delay: false,
            };
            let before = Usage::now()?;
            let outcome = running.trial(&trial)?;
            let busy = Usage::now()?.busy_since(&before);
            let over = match contender {
                Contender::Wire => {
                    wire = Some(busy);
                    busy
                }
                _ => busy - wire.context("the wire's own figure failed")?,
            };
            let key = |what| Key::of(what, contender).streams(STREAMS).rate(RATE);
            // What a forwarder lost it has not forwarded.
            bench.results.add(key(What::Cpu), over * 1e6 / outcome.delivered.max(1) as f64);
            bench.results.add(key(What::CpuLost), outcome.lost() as f64);
            Ok(())
        },
    )
}
