//! Cycles: outputs that lead back to their own rule by way of other rules.
//!
//! Each step is a packet leaving by an interface on which another rule waits for it. Whether it comes in there
//! again depends on the segment behind it, so a cycle is a warning.

use std::collections::{HashMap, HashSet};

use super::{
    lint::{self, Kind, Warning},
    reach::{Reach, reach, sent_groups, sent_vlan},
    rule::Rule,
    set::RuleSet,
};

/// Steps between rules looked at for one added rule.
const STEPS_FOR_ONE: usize = 10_000;
/// Steps looked at for a whole set.
const STEPS_FOR_ALL: usize = 1_000_000;
/// Cycles told of; the last line is for those that are not.
const TOLD: usize = lint::TOLD - 1;

/// A warning for each cycle that leads through `rule`.
pub fn through(set: &RuleSet, rule: &Rule) -> Vec<Warning> {
    let found = search(set, [rule.name.as_str()].into_iter(), Some(&rule.name), STEPS_FOR_ONE);
    found.into_iter().map(|(_, warning)| warning).collect()
}

/// A warning for each cycle of the set, with the name of its first rule.
pub fn all(set: &RuleSet) -> Vec<(&str, Warning)> {
    search(set, set.iter().map(|rule| rule.name.as_str()), None, STEPS_FOR_ALL)
}

/// A rule on the way, and the rules after it that are still to be looked at.
struct Step<'a> {
    name: &'a str,
    followers: Vec<&'a str>,
}

/// Depth first from each of `starts`; where it meets a rule that it is on the way from, there is a cycle.
/// With `back_to`, only cycles that close at that rule are told.
fn search<'a>(
    set: &'a RuleSet,
    starts: impl Iterator<Item = &'a str>,
    back_to: Option<&str>,
    mut steps: usize,
) -> Vec<(&'a str, Warning)> {
    let mut warnings = Vec::new();
    let mut met: HashSet<&str> = HashSet::new();
    for start in starts {
        if !met.insert(start) {
            continue;
        }
        let mut way = vec![Step { name: start, followers: followers(set, start, &mut steps) }];
        let mut position = HashMap::from([(start, 0)]);
        while let Some(step) = way.last_mut() {
            let Some(next) = step.followers.pop() else {
                position.remove(step.name);
                way.pop();
                continue;
            };
            if let Some(&from) = position.get(next) {
                if back_to.is_none_or(|back_to| back_to == next) {
                    warnings.push((next, cycle(set, &way[from..])));
                }
            } else if met.insert(next) {
                position.insert(next, way.len());
                way.push(Step { name: next, followers: followers(set, next, &mut steps) });
            }
            if warnings.len() == TOLD || steps == 0 {
                let why = if steps == 0 { "the rules lead to each other in too many ways" } else { "there are many" };
                let message = format!("not every cycle of rules was looked for: {why}");
                warnings.push((start, Kind::Cycle.at("", message)));
                return warnings;
            }
        }
    }
    warnings
}

/// The other rules that some output of `name` leads to; takes the looks off `steps`.
fn followers<'a>(set: &'a RuleSet, name: &str, steps: &mut usize) -> Vec<&'a str> {
    let Some(rule) = set.get(name) else { return Vec::new() };
    let mut found = Vec::new();
    for output in &rule.outputs {
        let near =
            set.index().on(&output.interface, sent_vlan(&rule.matcher, output), sent_groups(&rule.matcher, output));
        for other in near.take(*steps) {
            *steps -= 1;
            // A rule that leads to itself was judged when it was checked.
            let leads = |other: &Rule| reach(&rule.matcher, output, &other.matcher) != Reach::Never;
            if other != name && set.get(other).is_some_and(leads) {
                found.push(other);
            }
        }
    }
    found
}

fn cycle(set: &RuleSet, way: &[Step<'_>]) -> Warning {
    let interfaces: Vec<&str> =
        way.iter().filter_map(|step| Some(set.get(step.name)?.matcher.interface.as_str())).collect();
    let names: Vec<String> = way.iter().map(|step| format!("`{}`", step.name)).collect();
    let message = format!(
        "rules {} lead back to {}: packets go round if {} share a segment",
        names.join(" -> "),
        names[0],
        interfaces.join(", ")
    );
    Kind::Cycle.at("", message)
}
