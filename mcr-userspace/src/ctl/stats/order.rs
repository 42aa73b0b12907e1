//! The order of rules, and the sums of those that are shown.

use std::{cmp::Reverse, collections::HashMap};

use clap::ValueEnum;

use crate::{
    control::protocol::{Dropped, RuleStats, Stats, Totals},
    rules::order::natural,
};

/// What rules are ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Sort {
    /// Name: k-1, k-2, k-10
    Name,
    /// Packets matched
    Matched,
    /// Packets sent, by all outputs together
    Sent,
    /// Packets dropped, before the outputs and at them
    Dropped,
    /// Bits matched
    Bits,
}

/// Sorts the rules of `stats`; what is counted is what came since `before`, where that is given.
pub(super) fn sort(stats: &mut Stats, before: Option<&Stats>, by: Sort) {
    let old: HashMap<&str, &RuleStats> =
        before.iter().flat_map(|before| &before.rules).map(|rule| (rule.name.as_str(), rule)).collect();
    let since = |rule: &RuleStats| match old.get(rule.name.as_str()) {
        Some(old) => value(rule, by).saturating_sub(value(old, by)),
        // One that came meanwhile has counted all of it since.
        None => value(rule, by),
    };
    stats.rules.sort_by(|a, b| natural(&a.name, &b.name));
    if by != Sort::Name {
        stats.rules.sort_by_key(|rule| Reverse(since(rule)));
    }
}

fn value(rule: &RuleStats, by: Sort) -> u64 {
    match by {
        Sort::Name => 0,
        Sort::Matched => rule.matched_packets,
        Sort::Sent => sent(rule),
        Sort::Dropped => dropped(rule),
        Sort::Bits => rule.matched_bytes,
    }
}

/// Packets that all outputs of a rule sent.
pub(super) fn sent(rule: &RuleStats) -> u64 {
    rule.outputs.iter().map(|output| output.sent_packets).sum()
}

/// Packets that a rule dropped, before its outputs and at them.
pub(super) fn dropped(rule: &RuleStats) -> u64 {
    let outputs = rule.outputs.iter().flat_map(|output| output.dropped.values());
    rule.dropped.values().chain(outputs).sum()
}

/// Sums over `rules`.
pub(super) fn totals(rules: &[RuleStats]) -> Totals {
    let mut totals = Totals::default();
    for rule in rules {
        totals.matched_packets += rule.matched_packets;
        totals.matched_bytes += rule.matched_bytes;
        add(&mut totals.dropped, &rule.dropped);
        for output in &rule.outputs {
            totals.sent_packets += output.sent_packets;
            totals.sent_bytes += output.sent_bytes;
            add(&mut totals.output_dropped, &output.dropped);
        }
    }
    totals
}

/// Adds drops to drops, reason by reason.
pub(super) fn add(sums: &mut Dropped, dropped: &Dropped) {
    for (reason, packets) in dropped {
        *sums.entry(reason.clone()).or_default() += packets;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(name: &str, matched_packets: u64) -> RuleStats {
        RuleStats { name: name.into(), matched_packets, ..RuleStats::default() }
    }

    fn names(stats: &Stats) -> Vec<&str> {
        stats.rules.iter().map(|rule| rule.name.as_str()).collect()
    }

    #[test]
    fn names_count_and_counters_fall() {
        let rules = vec![rule("k-10", 5), rule("k-2", 900), rule("k-1", 5)];
        let mut stats = Stats { rules, ..Stats::default() };
        sort(&mut stats, None, Sort::Name);
        assert_eq!(names(&stats), ["k-1", "k-2", "k-10"]);
        sort(&mut stats, None, Sort::Matched);
        assert_eq!(names(&stats), ["k-2", "k-1", "k-10"]);
        // Since then k-10 had the most packets, and k-2, whose counters began anew, none.
        let before = Stats { rules: vec![rule("k-10", 1), rule("k-2", 1_000), rule("k-1", 4)], ..Stats::default() };
        sort(&mut stats, Some(&before), Sort::Matched);
        assert_eq!(names(&stats), ["k-10", "k-1", "k-2"]);
        assert_eq!(totals(&stats.rules).matched_packets, 910);
    }
}
