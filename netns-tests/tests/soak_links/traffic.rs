//! Packets through every rule: what workers hold is not to be seen from outside, what they do is.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use netns_tests::{
    deadline::{SOON, until},
    ledger::{self, Deleted},
    stats::{Stats, sum},
};

use crate::{model::Model, world::World};

/// Sends a packet for each rule; each is counted where it must be, and everything adds up.
pub fn of_each_rule(world: &mut World, model: &Model) -> Result<()> {
    let before = world.stats()?;
    let active: BTreeSet<&str> =
        before.rules.iter().filter(|rule| rule.outcome() == "forwards").map(|rule| rule.name.as_str()).collect();
    let mut wanted: BTreeMap<&str, Vec<(u64, u64)>> = BTreeMap::new();
    for (name, rule) in &model.rules {
        let is_sent = world.send(rule, model)?;
        let each = |sends: bool| if sends { (1, 0) } else { (0, 1) };
        let outcome = |output| if is_sent && active.contains(&**name) { each(model.sends(output)) } else { (0, 0) };
        wanted.insert(name, rule.outputs.iter().map(outcome).collect());
    }
    let mut told = Ok(());
    let settled = until("a packet of each rule to be counted", SOON, || {
        let after = world.stats()?;
        told = counted(&before, &after, &wanted).and_then(|()| ledger::check(&after, Deleted::Replaced));
        Ok(told.is_ok().then_some(()))
    });
    settled.with_context(|| format!("{:#}", told.err().unwrap_or_else(|| anyhow::anyhow!("it was in the end"))))
}

/// Of each rule's outputs, packets sent and dropped between two moments.
fn counted(before: &Stats, after: &Stats, wanted: &BTreeMap<&str, Vec<(u64, u64)>>) -> Result<()> {
    for (name, outcomes) in wanted {
        let (then, now) = (before.rule(name), after.rule(name));
        let matched = outcomes.iter().any(|outcome| *outcome != (0, 0));
        ensure!(now.matched_packets - then.matched_packets == u64::from(matched), "{then:?}\n{now:?}: {outcomes:?}");
        for ((then, now), outcome) in then.outputs.iter().zip(&now.outputs).zip(outcomes) {
            let came = (now.sent_packets - then.sent_packets, sum(&now.dropped) - sum(&then.dropped));
            ensure!(came == *outcome, "{name}: {then:?}\n{now:?}: {came:?}, not {outcome:?}");
        }
    }
    Ok(())
}
