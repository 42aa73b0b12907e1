//! Tables: one for each kind of figure, contenders down, what varies across. The same ones are printed and stand on the page.

use std::collections::{BTreeMap, BTreeSet};

use comfy_table::{Cell, CellAlignment, Table, presets};

use super::text::{grouped, number};
use crate::{
    judge::goal::{Bound, Goal},
    relay::Contender,
    results::{Figure, Key, Results, What},
};

/// Rows of text below a heading.
#[derive(Clone, Debug, PartialEq)]
pub struct Sheet {
    /// What it is about, with its unit.
    pub title: String,
    /// Columns.
    pub head: Vec<String>,
    /// Rows, as wide as the head.
    pub rows: Vec<Vec<String>>,
}

/// Figures of one kind, and what their columns are.
struct Kind {
    title: &'static str,
    whats: &'static [(What, &'static str)],
    column: fn(&Key) -> String,
    /// A table for each rate.
    by_rate: bool,
}

const KINDS: [Kind; 9] = [
    Kind {
        title: "Zero-loss throughput, packets/s (* the sender's limit)",
        whats: &[(What::Throughput, "")],
        column: |key| format!("{} streams {} B", key.streams, key.size),
        by_rate: false,
    },
    Kind {
        title: "Median delay at 0.9 of that rate, us",
        whats: &[(What::ThroughputDelay, "")],
        column: |key| format!("{} streams {} B", key.streams, key.size),
        by_rate: false,
    },
    Kind {
        title: "Zero-loss throughput over outputs of one interface, 1 stream, 1024 B, packets out/s",
        whats: &[(What::Outputs, "")],
        column: |key| format!("{} outputs", key.outputs),
        by_rate: false,
    },
    Kind {
        title: "One-way latency, 1 stream, 1024 B, us",
        whats: &[
            (What::LatencyP50, "p50"),
            (What::LatencyP99, "p99"),
            (What::LatencyP999, "p99.9"),
            (What::LatencyLost, "lost"),
        ],
        column: |_| String::new(),
        by_rate: true,
    },
    Kind {
        title: "CPU of the whole system over the bare wire (wire: all), 50 streams, 150000/s, 1024 B",
        whats: &[(What::Cpu, "us a packet"), (What::CpuLost, "lost")],
        column: |_| String::new(),
        by_rate: false,
    },
    Kind {
        title: "Number of rules, packets without pattern over all of them, 64 B",
        whats: &[(What::Rules, "packets/s"), (What::RulesXdp, "XDP ns")],
        column: |key| format!("{} rules", key.streams),
        by_rate: false,
    },
    Kind {
        title: "Changing rules, ms for the whole command",
        whats: &[(What::Add, "rule add"), (What::Reload, "reload from 1 rule to")],
        column: |key| if key.what == What::Reload { key.streams.to_string() } else { String::new() },
        by_rate: false,
    },
    Kind {
        title: "At rest with 50 streams",
        whats: &[(What::Idle, "CPU, % of a core"), (What::Resident, "resident MiB"), (What::Pinned, "of it UMEM MiB")],
        column: |_| String::new(),
        by_rate: false,
    },
    Kind {
        title: "Overload: 8 outputs at twice their lossless rate, 1024 B",
        whats: &[
            (What::OverloadGoodput, "goodput / lossless"),
            (What::OverloadDelay, "median delay us"),
            (What::OverloadUntold, "losses in no counter"),
        ],
        column: |_| String::new(),
        by_rate: false,
    },
];

const FOUNDING: [Kind; 2] = [
    Kind {
        title: "Dual bridge: 50 senders and 50 receivers, 3000/s each, 1024 B",
        whats: &[
            (What::BridgeDelivered, "delivered"),
            (What::BridgeLost, "lost"),
            (What::BridgeProcesses, "processes"),
            (What::BridgeCpu, "CPU, % of a core"),
            (What::BridgeMemory, "resident MiB"),
            (What::BridgeSteps, "commands"),
        ],
        column: |_| String::new(),
        by_rate: false,
    },
    Kind {
        title: "Long chain: one stream, 150000/s, 1024 B",
        whats: &[(What::ChainDelivered, "delivered"), (What::ChainLost, "lost")],
        column: |_| String::new(),
        by_rate: false,
    },
];

/// Every table with a row.
pub fn sheets(results: &Results) -> Vec<Sheet> {
    let mut sheets = Vec::new();
    for kind in KINDS.iter().chain(&FOUNDING) {
        let rates: BTreeSet<Option<u32>> = match kind.by_rate {
            true => results.of(kind.whats[0].0).map(|(key, _)| Some(key.rate)).collect(),
            false => [None].into(),
        };
        sheets.extend(rates.into_iter().map(|rate| sheet(results, kind, rate)));
    }
    sheets.retain(|sheet| !sheet.rows.is_empty());
    sheets
}

/// The goals.
pub fn goals(goals: &[Goal]) -> Sheet {
    let row = |goal: &Goal| {
        let bound = match goal.bound {
            Bound::AtLeast(bound) => format!(">= {bound}"),
            Bound::AtMost(bound) => format!("<= {bound}"),
        };
        let verdict = match goal.is_met() {
            Some(true) => "met",
            Some(false) => "NOT MET",
            None => "not measured",
        };
        let measured = goal.measured.map_or("-".into(), number);
        vec![goal.figure.clone(), bound, measured, goal.unit.clone(), verdict.into()]
    };
    Sheet {
        title: "Goals".into(),
        head: ["figure", "goal", "measured", "unit", ""].map(String::from).into(),
        rows: goals.iter().map(row).collect(),
    }
}

/// Who took part, and who did not.
pub fn entries(results: &Results) -> Sheet {
    let row = |entry: &crate::results::Entry| {
        let what = match &entry.left_out {
            Some(why) => format!("LEFT OUT: {why}"),
            None => entry.described.clone(),
        };
        vec![entry.name.to_owned(), what]
    };
    Sheet {
        title: "Contenders".into(),
        head: ["name", "what"].map(String::from).into(),
        rows: results.entries.iter().map(row).collect(),
    }
}

/// The table of a kind; only of a rate where there is one.
fn sheet(results: &Results, kind: &Kind, rate: Option<u32>) -> Sheet {
    let mut columns = BTreeSet::new();
    let mut cells: BTreeMap<Contender, BTreeMap<(Key, usize), String>> = BTreeMap::new();
    for (i, (what, _)) in kind.whats.iter().enumerate() {
        for (key, figure) in results.of(*what).filter(|(key, _)| rate.is_none_or(|rate| rate == key.rate)) {
            // Any contender stands for all: a column is what its key says beside.
            let column = (Key { contender: Contender::Wire, what: kind.whats[0].0, ..*key }, i);
            columns.insert(column);
            cells.entry(key.contender).or_default().insert(column, cell(key, figure));
        }
    }
    let head = columns.iter().map(|(key, i)| {
        let (what, name) = kind.whats[*i];
        [name.to_owned(), (kind.column)(&Key { what, ..*key })].join(" ").trim().to_owned()
    });
    let row = |(contender, cells): (&Contender, &BTreeMap<(Key, usize), String>)| {
        let values = columns.iter().map(|column| cells.get(column).cloned().unwrap_or_else(|| "-".into()));
        std::iter::once(contender.name().to_owned()).chain(values).collect()
    };
    Sheet {
        title: rate.map_or(kind.title.to_owned(), |rate| format!("{}, at {rate} packets/s", kind.title)),
        head: std::iter::once(String::new()).chain(head).collect(),
        rows: cells.iter().map(row).collect(),
    }
}

/// The median, and behind it half of the spread where there is one.
fn cell(key: &Key, figure: &Figure) -> String {
    let Some(median) = figure.runs.median() else { return "-".into() };
    let counts = key.what.unit() == "packets" || key.what.unit().is_empty();
    let value = if counts { grouped(median) } else { number(median) };
    let limited = if figure.sender_limited > 0 { "*" } else { "" };
    match figure.runs.spread().filter(|spread| !counts && figure.runs.0.len() > 1 && *spread > 0.0) {
        Some(spread) => format!("{value}{limited} ±{:.0}%", spread * 50.0),
        None => format!("{value}{limited}"),
    }
}

impl Sheet {
    /// For a terminal.
    pub fn printed(&self) -> String {
        let mut table = Table::new();
        table.load_preset(presets::ASCII_MARKDOWN).set_header(&self.head);
        for row in &self.rows {
            let cells = row.iter().enumerate().map(|(i, text)| {
                let numeric = i > 0 && text.starts_with(|c: char| c.is_ascii_digit() || c == '-');
                Cell::new(text).set_alignment(if numeric { CellAlignment::Right } else { CellAlignment::Left })
            });
            table.add_row(cells);
        }
        format!("\n{}\n{table}\n", self.title)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::about::Machine;

    #[test]
    fn a_figure_stands_in_its_row_and_column() {
        let mut results = Results::new("quick", Machine::default(), Vec::new());
        for (who, size, value) in
            [(Contender::Wire, 64, 3e6), (Contender::Socat, 64, 1e5), (Contender::Wire, 1024, 2e6)]
        {
            results.add_rate(Key::of(What::Throughput, who).streams(50).size(size), value, who == Contender::Wire);
        }
        results.add(Key::of(What::Throughput, Contender::Socat).streams(50).size(64), 1.1e5);
        let [sheet] = &sheets(&results)[..] else { panic!("one table") };
        assert_eq!(sheet.head, ["", "50 streams 64 B", "50 streams 1024 B"]);
        assert_eq!(sheet.rows, [["wire", "3,000,000*", "2,000,000*"], ["socat", "105,000 ±5%", "-"]]);
        assert!(sheet.printed().contains("3,000,000*"));
    }

    #[test]
    fn goals_are_met_or_not_or_not_measured() {
        let goal = |measured| Goal { figure: "f".into(), bound: Bound::AtLeast(1.0), unit: "x".into(), measured };
        let sheet = goals(&[goal(Some(1.0)), goal(Some(0.99)), goal(None)]);
        let verdicts: Vec<&str> = sheet.rows.iter().map(|row| row[4].as_str()).collect();
        assert_eq!(verdicts, ["met", "NOT MET", "not measured"]);
    }
}
