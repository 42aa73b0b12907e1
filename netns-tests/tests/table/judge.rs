//! What came against what was wanted, row by row.

use std::{collections::BTreeMap, fmt::Write};

use netns_tests::stats::{Dropped, Rule, Stats};

use crate::row::{Frame, Row, Table, rule_name};

/// Everything that was captured.
pub struct Seen {
    /// At the other ends of the relay's links.
    pub out: Vec<Frame>,
    /// At the relay's own interfaces, by the name of their other end.
    pub host: Vec<Frame>,
}

/// A text for each row that is not as it says, and for what belongs to no row.
pub fn wrong(table: &Table, seen: Seen, stats: &Stats, log: &str) -> Vec<String> {
    let [mut out, mut host] = [seen.out, seen.host].map(|frames| by_row(table, frames));
    let mut wrong = Vec::new();
    for (number, row) in (1..).zip(&table.rows) {
        let mut problems = String::new();
        compare("at", &row.out, out.remove(&number).unwrap_or_default(), &mut problems);
        compare("at the host, sent from", &row.host, host.remove(&number).unwrap_or_default(), &mut problems);
        count(number, row, stats, &mut problems);
        said(number, row, log, &mut problems);
        if !problems.is_empty() {
            wrong.push(format!("row {number}, {}:\n{}{problems}", row.name, row.rules.concat()));
        }
    }
    for (place, frames) in [("out", out), ("at the host", host)] {
        for (end, frame) in frames.into_values().flatten() {
            wrong.push(format!("of no row, {place} ({end}): {}", hex(&frame)));
        }
    }
    verdicts(table, stats, &mut wrong);
    wrong
}

/// Frames by the row that they belong to: by their identification, else by their bytes; 0 is no row.
fn by_row(table: &Table, frames: Vec<Frame>) -> BTreeMap<u8, Vec<Frame>> {
    let mut rows: BTreeMap<u8, Vec<Frame>> = BTreeMap::new();
    for (end, frame) in frames.into_iter().filter(|(_, frame)| !is_ends_own(frame)) {
        let same = |row: &Row| row.sent.iter().any(|(_, sent)| *sent == frame);
        let by_bytes = || table.rows.iter().position(same).map_or(0, |at| at as u8 + 1);
        let number = identification(&frame).map_or_else(by_bytes, |id| id.to_be_bytes()[0]);
        rows.entry(number).or_default().push((end, frame));
    }
    rows
}

/// Where the IPv4 header is, behind one tag, two, or none.
fn ip_offset(frame: &[u8]) -> Option<usize> {
    let mut at = 12;
    while frame.get(at..at + 2)? == [0x81, 0x00] {
        at += 4;
    }
    (frame[at..at + 2] == [0x08, 0x00] && frame.len() >= at + 22).then_some(at + 2)
}

fn identification(frame: &[u8]) -> Option<u16> {
    let at = ip_offset(frame)?;
    Some(u16::from_be_bytes([frame[at + 4], frame[at + 5]]))
}

/// The kernels at the links' ends report memberships: IGMP from 10.0.0.0/8, which no row sends from.
fn is_ends_own(frame: &[u8]) -> bool {
    ip_offset(frame).is_some_and(|ip| frame[ip + 9] == 2 && frame[ip + 12] == 10)
}

/// Both as sets in which a frame may be more than once: queues keep no order among one another.
fn compare(place: &str, wanted: &[Frame], mut came: Vec<Frame>, problems: &mut String) {
    let mut missing = Vec::new();
    for frame in wanted {
        match came.iter().position(|other| other == frame) {
            Some(at) => drop(came.swap_remove(at)),
            None => missing.push(frame),
        }
    }
    for (end, frame) in missing {
        tell(problems, format_args!("  wanted {place} {end}: {}", hex(frame)));
    }
    for (end, frame) in came {
        tell(problems, format_args!("  came   {place} {end}: {}", hex(&frame)));
    }
}

/// The counters of the row's rules, summed.
fn count(number: u8, row: &Row, stats: &Stats, problems: &mut String) {
    let rules: Vec<&Rule> = (0..row.rules.len()).map(|rule| stats.rule(&rule_name(number, rule))).collect();
    let outputs = || rules.iter().flat_map(|rule| &rule.outputs);
    let mut dropped = Dropped::new();
    let reasons = rules.iter().flat_map(|rule| &rule.dropped).chain(outputs().flat_map(|output| &output.dropped));
    for (reason, packets) in reasons.filter(|(_, packets)| **packets > 0) {
        *dropped.entry(reason.clone()).or_default() += packets;
    }
    if dropped != row.dropped {
        tell(problems, format_args!("  dropped {dropped:?}, not {:?}", row.dropped));
    }
    let is_taken = |frame: &&Frame| !row.host.contains(frame);
    let (taken, out) = (row.sent.iter().filter(is_taken), &row.out);
    for (what, counted, wanted) in [
        ("matched packets", rules.iter().map(|rule| rule.matched_packets).sum(), taken.clone().count()),
        ("matched bytes", rules.iter().map(|rule| rule.matched_bytes).sum(), bytes(taken)),
        ("sent packets", outputs().map(|output| output.sent_packets).sum::<u64>(), out.len()),
        ("sent bytes", outputs().map(|output| output.sent_bytes).sum(), bytes(out.iter())),
    ] {
        if counted != wanted as u64 {
            tell(problems, format_args!("  {what}: {counted}, not {wanted}"));
        }
    }
}

fn bytes<'a>(frames: impl Iterator<Item = &'a Frame>) -> usize {
    frames.map(|(_, frame)| frame.len()).sum()
}

/// What is said once for a rule: that packets expire, that fragments are passed.
fn said(number: u8, row: &Row, log: &str, problems: &mut String) {
    let lines = |rule: &str, what: &str| log.lines().filter(|line| line.contains(rule) && line.contains(what)).count();
    let expired = lines(&format!("rule {}", rule_name(number, 0)), "and are dropped (ttl_expired)");
    if expired != usize::from(row.dropped.contains_key("ttl_expired")) {
        tell(problems, format_args!("  said {expired} times that packets expire"));
    }
    let fragments = lines(&format!(" to 239.{number}."), "a fragment from");
    // Two CPUs may say it at the same moment.
    let wanted = if row.passed.iter().any(|(_, verdict)| *verdict == "pass_fragment") { 1..=2 } else { 0..=0 };
    if !wanted.contains(&fragments) {
        tell(problems, format_args!("  said {fragments} times that a fragment is passed"));
    }
}

/// The XDP program's, over all rows. The kernels' own packets at the links' ends are `pass_no_rule` as well.
fn verdicts(table: &Table, stats: &Stats, wrong: &mut Vec<String>) {
    for interface in stats.interfaces.iter() {
        for (verdict, counted) in &interface.verdicts {
            let passed = table.rows.iter().flat_map(|row| &row.passed);
            let wanted = passed.filter(|(on, by)| on == &interface.name && by == verdict).count() as u64;
            let right = match verdict.as_str() {
                // The ledger has it.
                "steered" => true,
                "pass_no_rule" => *counted >= wanted,
                _ => *counted == wanted,
            };
            if !right {
                wrong.push(format!("{}: {verdict} {counted}, not {wanted}", interface.name));
            }
        }
    }
}

fn tell(problems: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(problems, "{line}").expect("a String takes everything");
}

/// The headers and a little more, and the length.
fn hex(frame: &[u8]) -> String {
    let bytes: Vec<String> = frame.iter().take(96).map(|byte| format!("{byte:02x}")).collect();
    format!("{} bytes: {}", frame.len(), bytes.join(" "))
}
