//! Rates as lines that fit a terminal: a header that stays, and no more lines than it has.

use std::collections::HashMap;

use unicode_width::UnicodeWidthStr;

use super::{
    label::labels,
    order::{dropped, sent},
    rates::Rate,
};
use crate::{
    control::protocol::{Dropped, OutputStats, RuleStats, Stats},
    ctl::{
        numbers::{cut, grouped, mbit, pad, per_second, time},
        show::reasons,
    },
};

/// Columns after the first: their names and widths. The last is left out where it has no room.
const COLUMNS: [(&str, usize); 6] =
    [("STATE", 8), ("PPS", 9), ("MBIT/S", 8), ("SENT/S", 9), ("DROP/S", 9), ("DROPPED SO FAR", 30)];
/// Blanks between columns.
const GAP: usize = 1;
/// The narrowest first column.
const NAME: usize = 16;
/// Where output is no terminal.
const WIDE: usize = 200;

/// What a screen shows, before it is cut to its size.
pub(super) struct Lines {
    summary: String,
    /// A rule, and then its outputs.
    rules: Vec<(Row, Vec<Row>)>,
    /// Rules that `--limit` leaves out.
    left_out: usize,
}

/// The first column, and the others.
type Row = (String, [String; COLUMNS.len()]);

/// Rates between two readings. Of all rules, whose number is `all`, `now` has those that are shown.
pub(super) fn lines(before: Option<&Stats>, now: &Stats, all: usize) -> Lines {
    let rate = Rate::of(before, now);
    let old: HashMap<&str, &RuleStats> =
        before.iter().flat_map(|before| &before.rules).map(|rule| (rule.name.as_str(), rule)).collect();
    let rules = now.rules.iter().map(|rule| rule_rows(rate, old.get(rule.name.as_str()).copied(), rule));
    Lines { summary: summary(rate, &old, now, all), rules: rules.collect(), left_out: all - now.rules.len() }
}

fn summary(rate: Option<Rate>, old: &HashMap<&str, &RuleStats>, now: &Stats, all: usize) -> String {
    let up = time(now.uptime_seconds);
    let rules = format!("{} rule{}", grouped(all as u64), if all == 1 { "" } else { "s" });
    let Some(rate) = rate else { return format!("mcrd up {up}, {rules}") };
    let sum = |of: &dyn Fn(&RuleStats) -> u64| -> f64 {
        let rates = now.rules.iter().map(|rule| {
            // A rule that came meanwhile has counted all since.
            let before = old.get(rule.name.as_str()).map_or(0, |old| of(old));
            rate.per_second(before, of(rule))
        });
        rates.sum()
    };
    format!(
        "mcrd up {up}, {rules}: {} pps, {} Mbit/s in; {} pps out; {} dropped/s",
        per_second(sum(&|rule| rule.matched_packets)),
        mbit(8.0 * sum(&|rule| rule.matched_bytes)),
        per_second(sum(&sent)),
        per_second(sum(&dropped)),
    )
}

fn rule_rows(rate: Option<Rate>, old: Option<&RuleStats>, rule: &RuleStats) -> (Row, Vec<Row>) {
    let none = RuleStats::default();
    let old = old.unwrap_or(&none);
    let pps = |before, now| rate.map_or("-".to_owned(), |rate| per_second(rate.per_second(before, now)));
    let bits = |before, now| rate.map_or("-".to_owned(), |rate| mbit(rate.bits(before, now)));
    let cells = [
        rule.state.to_string(),
        pps(old.matched_packets, rule.matched_packets),
        bits(old.matched_bytes, rule.matched_bytes),
        pps(sent(old), sent(rule)),
        pps(dropped(old), dropped(rule)),
        reasons(&all_reasons(rule)),
    ];
    let outputs = rule.outputs.iter().zip(labels(&rule.outputs)).enumerate().map(|(at, (output, label))| {
        let none = OutputStats::default();
        let old = old.outputs.get(at).unwrap_or(&none);
        let lost = |output: &OutputStats| output.dropped.values().sum();
        let number =
            if rule.outputs.len() > 1 && !label.starts_with('#') { format!("#{} ", at + 1) } else { String::new() };
        let cells = [
            String::new(),
            String::new(),
            bits(old.sent_bytes, output.sent_bytes),
            pps(old.sent_packets, output.sent_packets),
            pps(lost(old), lost(output)),
            reasons(&output.dropped),
        ];
        (format!("  {number}{label}"), cells)
    });
    ((rule.name.clone(), cells), outputs.collect())
}

/// A rule's drops and those of its outputs, by reason.
fn all_reasons(rule: &RuleStats) -> Dropped {
    let mut sums = rule.dropped.clone();
    rule.outputs.iter().for_each(|output| super::order::add(&mut sums, &output.dropped));
    sums
}

impl Lines {
    /// Every line, at its full length.
    pub(super) fn all(&self) -> Vec<String> {
        let mut lines = self.head(WIDE);
        for (rule, outputs) in &self.rules {
            lines.extend([rule].into_iter().chain(outputs).map(|row| line(row, WIDE)));
        }
        lines.extend(self.more(self.left_out));
        lines
    }

    /// At most `rows` lines of at most `columns` columns: outputs where there is room for all of them, else rules alone, as many as fit.
    pub(super) fn fitted(&self, columns: usize, rows: usize) -> Vec<String> {
        let mut lines = self.head(columns);
        let room = rows.saturating_sub(lines.len());
        let with_outputs: usize = self.rules.iter().map(|(_, outputs)| 1 + outputs.len()).sum();
        let is_more = self.left_out > 0;
        if with_outputs + usize::from(is_more) <= room {
            for (rule, outputs) in &self.rules {
                lines.extend([rule].into_iter().chain(outputs).map(|row| line(row, columns)));
            }
        } else {
            let needs_more = is_more || self.rules.len() > room;
            let shown = self.rules.len().min(room.saturating_sub(usize::from(needs_more)));
            lines.extend(self.rules.iter().take(shown).map(|(rule, _)| line(rule, columns)));
            lines.extend(self.more(self.rules.len() - shown + self.left_out));
            lines.truncate(rows);
            return lines.into_iter().map(|line| clip(&line, columns)).collect();
        }
        lines.extend(self.more(self.left_out));
        lines.truncate(rows);
        lines.into_iter().map(|line| clip(&line, columns)).collect()
    }

    fn head(&self, columns: usize) -> Vec<String> {
        let names = COLUMNS.map(|(name, _)| name.to_owned());
        vec![self.summary.clone(), line(&("RULE".to_owned(), names), columns)]
    }

    fn more(&self, rules: usize) -> Option<String> {
        (rules > 0).then(|| format!("... and {} more: --limit, --sort, mcrctl top", grouped(rules as u64)))
    }
}

/// One row; the first column takes what the others leave.
fn line((name, cells): &Row, columns: usize) -> String {
    let width = |columns: &[(&str, usize)]| columns.iter().map(|(_, width)| width + GAP).sum::<usize>();
    let shown = if columns >= width(&COLUMNS) + 2 * NAME { COLUMNS.len() } else { COLUMNS.len() - 1 };
    let widest = columns.saturating_sub(width(&COLUMNS[..shown])).clamp(NAME, 60);
    let mut line = pad(name, widest, false);
    for ((name, width), cell) in COLUMNS.iter().zip(cells).take(shown) {
        let is_text = matches!(*name, "STATE" | "DROPPED SO FAR");
        let cell = match *name {
            // The reasons are the last column: they take all that is left.
            "DROPPED SO FAR" => whole(cell, columns.saturating_sub(line.width() + GAP)),
            _ => pad(cell, *width, !is_text),
        };
        line += &" ".repeat(GAP);
        line += &cell;
    }
    line.trim_end().to_owned()
}

/// As many of the reasons as fit, none of them cut.
fn whole(reasons: &str, columns: usize) -> String {
    let all: Vec<&str> = reasons.split(' ').collect();
    let some = (1..all.len()).rev().map(|kept| format!("{} and {} more", all[..kept].join(" "), all.len() - kept));
    let mut fitting = std::iter::once(reasons.to_owned()).chain(some).filter(|text| text.width() <= columns);
    fitting.next().unwrap_or_else(|| cut(reasons, columns))
}

/// `text` up to the last of `columns` columns.
pub(super) fn clip(text: &str, columns: usize) -> String {
    let mut clipped = text.to_owned();
    while clipped.width() > columns {
        clipped.pop();
    }
    clipped
}

/// Columns and rows of the terminal that standard output is; 80 and 24 where it does not say.
pub(super) fn size() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(std::io::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
        _ => (80, 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_shown_whole() {
        let reasons = "link_down=2496 malformed=897 too_big=1";
        assert_eq!(whole(reasons, 38), reasons);
        assert_eq!(whole(reasons, 37), "link_down=2496 and 2 more");
        assert_eq!(whole(reasons, 30), "link_down=2496 and 2 more");
        assert_eq!(whole("-", 1), "-");
    }

    fn stats(rules: usize, seconds: u64) -> Stats {
        let rule = |i: usize| RuleStats {
            name: format!("eth0:239.100.100.{i}:50001"),
            matched_packets: 1_500_000 * seconds,
            matched_bytes: 1_500_000 * 1024 * seconds,
            outputs: vec![
                OutputStats {
                    interface: "interface000000".into(),
                    group: "239.100.100.100".into(),
                    port: Some(60_001),
                    sent_packets: 1_400_000 * seconds,
                    dropped: [("tx_ring_full".to_owned(), 100_000 * seconds)].into(),
                    ..OutputStats::default()
                };
                2
            ],
            ..RuleStats::default()
        };
        let totals = Default::default();
        Stats {
            uptime_seconds: 100.0 + seconds as f64,
            rules: (0..rules).map(rule).collect(),
            totals,
            ..Stats::default()
        }
    }

    #[test]
    fn a_screen_holds_what_it_shows() {
        for rules in [0, 1, 7, 8, 11, 12, 21, 22, 23, 1_150] {
            for (columns, rows) in [(80, 24), (200, 60), (20, 5), (1, 1)] {
                let lines = lines(Some(&stats(rules, 1)), &stats(rules, 2), rules).fitted(columns, rows);
                assert!(lines.len() <= rows, "{rules} rules at {columns}x{rows}: {} lines", lines.len());
                assert!(lines.iter().all(|line| line.width() <= columns), "{lines:#?}");
            }
        }
        let shown = lines(Some(&stats(1_150, 1)), &stats(1_150, 2), 1_150).fitted(80, 24);
        assert!(shown[0].starts_with("mcrd up 1m 42s, 1,150 rules: 1,725,000,000 pps"), "{shown:#?}");
        assert!(shown[1].starts_with("RULE ") && shown[1].ends_with("DROP/S"), "{shown:#?}");
        assert_eq!(shown[23], "... and 1,129 more: --limit, --sort, mcrctl top");
        let rule: Vec<&str> = shown[2].split_whitespace().collect();
        assert_eq!(rule, ["eth0:239.100.100.0:50001", "active", "1,500,000", "12,288", "2,800,000", "200,000"]);
    }

    #[test]
    fn outputs_are_shown_where_they_fit() {
        let shown = lines(Some(&stats(2, 1)), &stats(2, 2), 2).fitted(200, 60);
        assert_eq!(shown.len(), 2 + 2 * 3, "{shown:#?}");
        assert!(shown[3].starts_with("  #1 interface000000 239.100.100.100:60001"), "{shown:#?}");
        assert!(shown[3].ends_with("tx_ring_full=200000"), "{shown:#?}");
        let limited = lines(None, &stats(2, 1), 5).fitted(80, 24);
        assert_eq!(limited.last().map(String::as_str), Some("... and 3 more: --limit, --sort, mcrctl top"));
    }
}
