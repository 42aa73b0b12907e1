//! `stats` once: every counter, in columns.

use std::io::{self, Write};

use mcr_common::counter::Verdict;

use super::{super::show, labels};
use crate::control::protocol::{InterfaceStats, RuleStats, Stats};

const COLUMNS: [&str; 10] =
    ["RULE", "STATE", "MATCHED", "BYTES", "DROPPED", "OUTPUT", "OFFERED", "SENT", "SENT BYTES", "DROPPED"];
const NUMBERS: [&str; 5] = ["MATCHED", "BYTES", "OFFERED", "SENT", "SENT BYTES"];

/// Rules with their outputs, their totals, and the interfaces' verdicts.
pub(in crate::ctl) fn text(stats: &Stats, out: &mut dyn Write) -> io::Result<()> {
    let rows = stats.rules.iter().flat_map(rows);
    writeln!(out, "{}", show::table(&COLUMNS, &NUMBERS, rows))?;
    let totals = &stats.totals;
    writeln!(
        out,
        "\ntotals: matched {} packets, {} bytes, dropped {}; sent {} packets, {} bytes, dropped {}",
        totals.matched_packets,
        totals.matched_bytes,
        show::reasons(&totals.dropped),
        totals.sent_packets,
        totals.sent_bytes,
        show::reasons(&totals.output_dropped)
    )?;
    if !stats.interfaces.is_empty() {
        writeln!(out, "\n{}", verdicts(&stats.interfaces))?;
    }
    out.flush()
}

/// The rule beside its first output.
fn rows(rule: &RuleStats) -> Vec<Vec<String>> {
    let head = [
        rule.name.clone(),
        rule.state.to_string(),
        rule.matched_packets.to_string(),
        rule.matched_bytes.to_string(),
        show::reasons(&rule.dropped),
    ];
    let outputs = rule.outputs.iter().zip(labels(&rule.outputs)).enumerate().map(|(i, (output, label))| {
        let mut row = if i == 0 { head.to_vec() } else { vec![String::new(); head.len()] };
        row.extend([
            label,
            output.offered_packets.to_string(),
            output.sent_packets.to_string(),
            output.sent_bytes.to_string(),
            show::reasons(&output.dropped),
        ]);
        row
    });
    outputs.collect()
}

/// What the XDP program decided, under the names that all of mcr uses.
pub fn verdicts(interfaces: &[InterfaceStats]) -> String {
    let names: Vec<&str> = Verdict::ALL.iter().map(|verdict| verdict.name()).collect();
    let columns: Vec<&str> = ["INTERFACE"].into_iter().chain(names.iter().copied()).collect();
    let row = |interface: &InterfaceStats| {
        let counts = names.iter().map(|name| interface.verdicts.get(*name).copied().unwrap_or(0).to_string());
        [interface.name.clone()].into_iter().chain(counts).collect()
    };
    show::table(&columns, &names, interfaces.iter().map(row))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::protocol::{Dropped, OutputStats};

    #[test]
    fn counters_stand_in_columns() {
        let output = |interface: &str, sent_packets| OutputStats {
            interface: interface.into(),
            group: "239.10.1.1".into(),
            port: Some(6001),
            sent_packets,
            dropped: Dropped::from([("no_frame".into(), 0), ("too_big".into(), 3)]),
            ..OutputStats::default()
        };
        let rule = |name: &str, matched_packets| RuleStats {
            name: name.into(),
            matched_packets,
            outputs: vec![output("veth2", 7), output("veth3", 1_234_567)],
            ..RuleStats::default()
        };
        let interface = InterfaceStats {
            name: "veth1".into(),
            verdicts: [("pass_no_rule".into(), 1000)].into(),
            ..InterfaceStats::default()
        };
        let stats = Stats {
            rules: vec![rule("feed-a", 12), rule("b", 99_999_999)],
            interfaces: vec![interface],
            ..Stats::default()
        };
        let mut shown = Vec::new();
        text(&stats, &mut shown).expect("memory");
        let shown = String::from_utf8(shown).expect("UTF-8");
        let lines: Vec<&str> = shown.lines().collect();
        let end = |line: &str, part: &str| line.find(part).map(|at| at + part.len());
        assert_eq!(lines.len(), 10, "{shown}");
        assert!(lines[0].starts_with("RULE "), "{shown}");
        assert_eq!(end(lines[0], "MATCHED"), end(lines[1], " 12"), "numbers are aligned to the right:\n{shown}");
        assert_eq!(end(lines[1], " 12"), end(lines[3], "99999999"), "{shown}");
        assert!(lines[1].ends_with("too_big=3"), "reasons at 0 are left out:\n{shown}");
        assert!(lines[2].starts_with("      "), "the second output has no name before it:\n{shown}");
        assert_eq!(end(lines[8], "pass_no_rule"), end(lines[9], "1000"), "verdicts as everywhere:\n{shown}");
    }
}
