//! The sums of interface.md, "Counters — they add up", over the stats of a daemon at rest.

use anyhow::{Result, ensure};

use crate::stats::{Stats, sum};

/// Whether rules were deleted since the daemon started: their packets then stay in the totals alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// All rules that ever were are in the stats, with the outputs that they were added with.
    None,
    /// Some rules are gone.
    Some,
    /// And others were replaced by ones with other outputs, which started at 0.
    Replaced,
}

/// Checks every sum.
///
/// # Errors
/// All violations at once, each with its numbers.
pub fn check(stats: &Stats, deleted: Deleted) -> Result<()> {
    let mut sums = Sums::default();
    for rule in &stats.rules {
        let name = &rule.name;
        let dropped = sum(&rule.dropped);
        for output in &rule.outputs {
            let to = format!("{name} -> {}:{}", output.interface, output.group);
            let (matched, told) = (rule.matched_packets, dropped + output.offered_packets);
            match deleted {
                Deleted::Replaced => sums.at_least(format!("{to}: matched >= dropped + offered"), matched, told),
                _ => sums.equal(format!("{to}: the rule's matched = dropped + the output's offered"), matched, told),
            }
            sums.equal(
                format!("{to}: offered = sent + dropped"),
                output.offered_packets,
                output.sent_packets + sum(&output.dropped),
            );
        }
    }

    let totals = &stats.totals;
    let rules = |of: fn(&crate::stats::Rule) -> u64| stats.rules.iter().map(of).sum::<u64>();
    let outputs = |of: fn(&crate::stats::Output) -> u64| stats.rules.iter().flat_map(|r| &r.outputs).map(of).sum();
    let whole: [(&str, u64, u64); 4] = [
        ("matched", totals.matched_packets, rules(|rule| rule.matched_packets)),
        ("dropped", sum(&totals.dropped), rules(|rule| sum(&rule.dropped))),
        ("sent", totals.sent_packets, outputs(|output| output.sent_packets)),
        ("output_dropped", sum(&totals.output_dropped), outputs(|output| sum(&output.dropped))),
    ];
    for (what, total, parts) in whole {
        match deleted {
            Deleted::None => sums.equal(format!("total {what} = the rules' sum"), total, parts),
            Deleted::Some | Deleted::Replaced => sums.at_least(format!("total {what} >= the rules' sum"), total, parts),
        }
    }
    // Where every rule has one output, deleted rules too, the totals alone must balance.
    if deleted != Deleted::Replaced && stats.rules.iter().all(|rule| rule.outputs.len() == 1) {
        let spent = sum(&totals.dropped) + totals.sent_packets + sum(&totals.output_dropped);
        sums.equal("total matched = dropped + sent + output_dropped".into(), totals.matched_packets, spent);
    }

    let steered = stats.interfaces.iter().filter_map(|interface| interface.verdicts.get("steered")).sum();
    match deleted {
        Deleted::None => sums.equal("the interfaces' steered = total matched".into(), steered, totals.matched_packets),
        // Interfaces that no rule names any more are not listed.
        _ => sums.at_least("total matched >= the interfaces' steered".into(), totals.matched_packets, steered),
    }
    let received = stats.workers.iter().map(|worker| worker.rx_packets).sum::<u64>();
    let lost = totals.dropped.get("rx_ring").copied().unwrap_or(0);
    sums.equal("total matched = rx_ring + received by workers".into(), totals.matched_packets, lost + received);
    sums.finish()
}

/// Checks that no frame was lost, at each of two moments of rest: what workers have and is not free is what interfaces keep for
/// receiving. How many there are in all may change with the interfaces.
///
/// # Errors
/// The moments at which that is not so.
pub fn check_frames(before: &Stats, after: &Stats) -> Result<()> {
    let mut sums = Sums::default();
    for (moment, stats) in [("before", before), ("after", after)] {
        let used: u64 = stats.workers.iter().map(|worker| worker.frames_total - worker.frames_free).sum();
        let kept: u64 = stats.interfaces.iter().map(|interface| interface.frames.rx).sum();
        sums.equal(format!("{moment}: frames that are not free = frames for receiving"), used, kept);
    }
    sums.finish()
}

#[derive(Default)]
struct Sums {
    wrong: Vec<String>,
}

impl Sums {
    fn equal(&mut self, what: String, left: u64, right: u64) {
        if left != right {
            self.wrong.push(format!("{what}: {left} != {right}"));
        }
    }

    fn at_least(&mut self, what: String, left: u64, right: u64) {
        if left < right {
            self.wrong.push(format!("{what}: {left} < {right}"));
        }
    }

    fn finish(self) -> Result<()> {
        ensure!(self.wrong.is_empty(), "the counters do not add up:\n  {}", self.wrong.join("\n  "));
        Ok(())
    }
}
