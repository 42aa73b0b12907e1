//! Ten thousand random steps: rules, links and reloads, against a model of what must come of them. Nothing leaks.

mod model;
mod draw;
mod apply;
mod world;
mod kernel;
mod maps;
mod footprint;
mod wrong;
mod tables;
mod check;
mod traffic;

use std::{collections::VecDeque, time::Instant};

use anyhow::{Context, Result, ensure};
use draw::{Op, Random};
use footprint::{Footprint, resident};
use maps::Maps;
use model::Model;
use netns_tests::{ledger, needs_root, stats::Stats};
use world::World;

const SEED: u64 = 0x9e37_79b9_7f4a_7c15;
const STEPS: usize = 10_000;
/// Between them mcrd and the kernel must come to what the model says.
const CHECKED_EVERY: usize = 500;
/// Steps that a failure tells.
const TOLD: usize = 30;
/// Resident memory may grow by so many KiB: what allocators keep, and no more with more steps.
const GROWTH: u64 = 64 << 10;

#[test]
fn ten_thousand_steps() -> Result<()> {
    needs_root!();
    let mut model = Model::all_in_use();
    let mut world = World::start(&model)?;
    let maps = Maps::of(world.daemon.pid())?;
    let (before, footprint) = at_rest(&mut world, &maps, &mut model)?;
    let memory = resident(world.daemon.pid())?;

    let mut random = Random(SEED);
    let (mut last, mut counters) = (VecDeque::new(), before.clone());
    let start = Instant::now();
    for step in 1..=STEPS {
        let op = random.op(&model);
        last.push_back(format!("{step}: {op:?}"));
        if last.len() > TOLD {
            last.pop_front();
        }
        counters = one(&op, step, &mut world, &maps, &mut model, counters).with_context(|| {
            let steps = last.iter().map(String::as_str).collect::<Vec<_>>().join("\n");
            format!("seed {SEED:#x}, after step {step}; the last steps:\n{steps}\nthe model: {:?}", model.devices)
        })?;
    }
    eprintln!("{STEPS} steps took {:?}", start.elapsed());

    let all = Model::all_in_use();
    world.rebuild(&model, &all)?;
    model = all;
    let (after, now) = at_rest(&mut world, &maps, &mut model).context("once all is as it was at the start")?;
    ensure!(now == footprint, "what mcrd holds was {footprint:?}\nand is {now:?}");
    ledger::check_frames(&before, &after)?;
    let grown = resident(world.daemon.pid())?.saturating_sub(memory);
    eprintln!("resident memory was {memory} KiB and has grown by {grown}");
    ensure!(grown < GROWTH, "resident memory was {memory} KiB and has grown by {grown}");
    world.daemon.stop()?;
    Ok(())
}

/// Takes a step, and looks at everything now and then; the counters when that was.
fn one(op: &Op, step: usize, world: &mut World, maps: &Maps, model: &mut Model, counters: Stats) -> Result<Stats> {
    let refusal = world.take(op, model)?;
    let is_right = model.apply(op);
    ensure!(
        refusal.is_none() == is_right,
        "it is {}right, and was refused for {refusal:?}",
        if is_right { "" } else { "not " }
    );
    if !step.is_multiple_of(CHECKED_EVERY) {
        return Ok(counters);
    }
    check::equal(world, maps, model)?;
    traffic::of_each_rule(world, model)?;
    let now = world.stats()?;
    never_back(&counters, &now)?;
    Ok(now)
}

/// With every device attached as ingress and egress, and no rule that forwards: the counters and what mcrd holds. Which interfaces
/// share a UMEM follows from the order in which they are attached: so all are released, and attached in the same order each time.
fn at_rest(world: &mut World, maps: &Maps, model: &mut Model) -> Result<(Stats, Footprint)> {
    world.release()?;
    world.reload(&model.rules)?;
    check::equal(world, maps, model)?;
    traffic::of_each_rule(world, model)?;
    *model = Model::complete();
    world.reload(&model.rules)?;
    check::equal(world, maps, model)?;
    let stats = world.daemon.stats_at_rest()?;
    Ok((stats, Footprint::of(world.daemon.pid(), world.network.relay())?))
}

/// No counter is lower than it was.
fn never_back(before: &Stats, after: &Stats) -> Result<()> {
    for then in &before.interfaces {
        let now = after.interface(&then.name);
        let all = then.verdicts.iter().all(|(verdict, count)| now.verdicts[verdict] >= *count);
        ensure!(all, "went back: {then:?}\n{now:?}");
    }
    let (then, now) = (&before.totals, &after.totals);
    ensure!(
        now.matched_packets >= then.matched_packets && now.sent_packets >= then.sent_packets,
        "went back: {then:?}\n{now:?}"
    );
    Ok(())
}
