//! Answers as a person reads them, and as JSON.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use comfy_table::{CellAlignment, Table, presets::NOTHING};
use serde_json::json;

use crate::{
    config::FileProblem,
    control::protocol::{
        ChangeKind, ChangeView, Dropped, InterfaceStats, MembershipView, Response, RuleState, RuleView, Scheduling,
        Stats, Status, StreamView, WorkerStats,
    },
    rules::spec::{MatchSpec, OutputSpec},
};

/// The payload of an answer, as one JSON value.
pub(super) fn json(response: &Response, out: &mut dyn Write) -> io::Result<()> {
    match response {
        Response::Rules(rules) => serde_json::to_writer(&mut *out, rules)?,
        Response::Rule(rule) => serde_json::to_writer(&mut *out, rule)?,
        Response::Stats(stats) => serde_json::to_writer(&mut *out, stats)?,
        Response::Status(status) => serde_json::to_writer(&mut *out, status)?,
        Response::RuleAdded { name, replaced, warnings } => {
            write!(out, "{}", json!({"name": name, "replaced": replaced, "warnings": warnings}))?;
        }
        Response::RuleDeleted { name } => write!(out, "{}", json!({ "name": name }))?,
        Response::Reloaded { dry_run, changes, warnings } => {
            write!(out, "{}", json!({"dry_run": dry_run, "changes": changes, "warnings": warnings}))?;
        }
        Response::Events(events) => serde_json::to_writer(&mut *out, events)?,
        Response::Error { code, message, .. } => {
            write!(out, "{}", json!({"error": {"code": code, "message": message}}))?;
        }
    }
    writeln!(out)?;
    out.flush()
}

/// `mcrctl --json check`.
pub(super) fn check_json(problems: &[FileProblem], warnings: &[String], out: &mut dyn Write) -> io::Result<()> {
    let errors: Vec<_> =
        problems.iter().map(|p| json!({"file": p.file, "line": p.line, "key": p.key, "message": p.message})).collect();
    writeln!(out, "{}", json!({"errors": errors, "warnings": warnings}))
}

/// Warnings that belong on stderr.
pub(super) fn warnings(response: &Response) -> &[String] {
    match response {
        Response::RuleAdded { warnings, .. } | Response::Reloaded { warnings, .. } => warnings,
        Response::Status(status) => &status.warnings,
        _ => &[],
    }
}

/// For people; warnings apart.
pub(super) fn text(response: &Response, out: &mut dyn Write) -> io::Result<()> {
    match response {
        Response::RuleAdded { name, .. } => writeln!(out, "{name}")?,
        Response::RuleDeleted { .. } => {}
        Response::Rules(rules) => rule_table(rules, out)?,
        Response::Rule(rule) => rule_details(rule, out)?,
        Response::Reloaded { changes, .. } => changes.iter().try_for_each(|change| change_line(change, out))?,
        Response::Stats(stats) => stats_table(stats, out)?,
        Response::Status(status) => status_text(status, out)?,
        Response::Events(events) => super::events::lines(&events.events, out)?,
        Response::Error { message, .. } => writeln!(out, "{message}")?,
    }
    out.flush()
}

/// A table without lines, the columns named in `right` aligned to the right.
pub(super) fn table(columns: &[&str], right: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(columns).add_rows(rows);
    let last = columns.len() - 1;
    for (i, name) in columns.iter().enumerate() {
        if let Some(column) = table.column_mut(i) {
            column.set_padding((0, if i == last { 0 } else { 2 }));
            if right.contains(name) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    table.trim_fmt()
}

fn rule_table(rules: &[RuleView], out: &mut dyn Write) -> io::Result<()> {
    let rows = rules.iter().map(|rule| {
        let outputs: Vec<String> = rule.output.iter().map(output_line).collect();
        vec![rule.name.clone(), rule.state.to_string(), match_line(&rule.matcher), outputs.join("\n")]
    });
    writeln!(out, "{}", table(&["NAME", "STATE", "MATCH", "OUTPUT"], &[], rows))
}

fn rule_details(rule: &RuleView, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "name         {}", rule.name)?;
    writeln!(out, "state        {}", state_line(rule.state, rule.state_reason.as_deref()))?;
    if let Some(description) = &rule.description {
        writeln!(out, "description  {description}")?;
    }
    writeln!(out, "match        {}", match_line(&rule.matcher))?;
    if let Some(after) = &rule.stall_after {
        writeln!(out, "stall after  {after}")?;
    }
    rule.output.iter().try_for_each(|output| writeln!(out, "output       {}", output_line(output)))
}

/// `waiting: no interface eth0`.
fn state_line(state: RuleState, reason: Option<&str>) -> String {
    reason.map_or_else(|| state.to_string(), |reason| format!("{state}: {reason}"))
}

fn match_line(matcher: &MatchSpec) -> String {
    let port = matcher.port.as_ref().map_or("any".to_owned(), ToString::to_string);
    let mut line = format!("{} {}:{port}", matcher.interface, matcher.group);
    if let Some(source) = &matcher.source {
        line += &format!(" source {source}");
    }
    if let Some(vlan) = &matcher.vlan {
        line += &format!(" vlan {vlan}");
    }
    line
}

/// As `--out` takes it.
fn output_line(output: &OutputSpec) -> String {
    let scalar = |value: &Option<_>| value.as_ref().map(ToString::to_string);
    let parts = [
        ("name", output.name.clone()),
        ("group", output.group.clone()),
        ("port", scalar(&output.port)),
        ("source", output.source.clone()),
        ("ttl", scalar(&output.ttl)),
        ("dscp", scalar(&output.dscp)),
        ("vlan", scalar(&output.vlan)),
    ];
    let given = parts.into_iter().filter_map(|(key, value)| Some(format!(",{key}={}", value?)));
    given.fold(output.interface.clone(), |line, part| line + &part)
}

fn change_line(change: &ChangeView, out: &mut dyn Write) -> io::Result<()> {
    let sign = match change.change {
        ChangeKind::Add => '+',
        ChangeKind::Remove => '-',
        ChangeKind::Replace => '~',
    };
    match &change.rule {
        None => writeln!(out, "{sign} {}", change.name),
        Some(rule) => {
            let outputs: Vec<String> = rule.output.iter().map(output_line).collect();
            writeln!(out, "{sign} {}: {} -> {}", change.name, match_line(&rule.matcher), outputs.join(" "))
        }
    }
}

/// `reason=N` of each that is not 0; `-` for none.
pub(super) fn reasons(dropped: &Dropped) -> String {
    let met: Vec<String> = dropped.iter().filter(|(_, n)| **n > 0).map(|(reason, n)| format!("{reason}={n}")).collect();
    if met.is_empty() { "-".to_owned() } else { met.join(" ") }
}

fn stats_table(stats: &Stats, out: &mut dyn Write) -> io::Result<()> {
    let columns =
        ["RULE", "STATE", "MATCHED", "BYTES", "DROPPED", "OUTPUT", "OFFERED", "SENT", "SENT BYTES", "NOT SENT"];
    let mut rows = Vec::new();
    for rule in &stats.rules {
        let head = [
            rule.name.clone(),
            rule.state.to_string(),
            rule.matched_packets.to_string(),
            rule.matched_bytes.to_string(),
            reasons(&rule.dropped),
        ];
        for (i, output) in rule.outputs.iter().enumerate() {
            let mut row = if i == 0 { head.to_vec() } else { vec![String::new(); head.len()] };
            let port = output.port.map_or("any".to_owned(), |port| port.to_string());
            row.extend([
                format!("{} {}:{port}", output.interface, output.group),
                output.offered_packets.to_string(),
                output.sent_packets.to_string(),
                output.sent_bytes.to_string(),
                reasons(&output.dropped),
            ]);
            rows.push(row);
        }
    }
    writeln!(out, "{}", table(&columns, &["MATCHED", "BYTES", "OFFERED", "SENT", "SENT BYTES"], rows))?;
    let totals = &stats.totals;
    writeln!(
        out,
        "\ntotals: matched {} packets, {} bytes, dropped {}; sent {} packets, {} bytes, not sent {}",
        totals.matched_packets,
        totals.matched_bytes,
        reasons(&totals.dropped),
        totals.sent_packets,
        totals.sent_bytes,
        reasons(&totals.output_dropped)
    )?;
    membership_text(&stats.memberships, out)
}

/// How many memberships there are on each interface, by their state.
fn membership_text(memberships: &[MembershipView], out: &mut dyn Write) -> io::Result<()> {
    let mut counts: BTreeMap<(String, &str, bool), u64> = BTreeMap::new();
    for MembershipView { interface, vlan, via, source, state, .. } in memberships {
        let via = via.as_ref().map(|via| format!(" ({via})")).unwrap_or_default();
        let place = vlan.map_or(interface.clone(), |vlan| format!("{interface} VLAN {vlan}{via}"));
        *counts.entry((place, state, source.is_some())).or_default() += 1;
    }
    if counts.is_empty() {
        return Ok(());
    }
    let rows = counts.into_iter().map(|((interface, state, of_source), count)| {
        let what = if of_source { "by source (SSM)" } else { "by group" };
        vec![interface, state.to_owned(), what.to_owned(), count.to_string()]
    });
    writeln!(out, "\n{}", table(&["INTERFACE", "MEMBERSHIP", "KIND", "COUNT"], &["COUNT"], rows))
}

fn status_text(status: &Status, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "mcrd {}, process {}, up {}, profile {}, {} rules",
        status.version,
        status.pid,
        humantime::format_duration(std::time::Duration::from_secs(status.uptime_seconds.max(0.0) as u64)),
        status.profile,
        status.rules
    )?;
    writeln!(out, "configuration: {}", status.config.as_deref().unwrap_or("none"))?;
    if let Some(Scheduling { cpu_reserve_percent, spinning }) = &status.scheduling {
        let workers = status.workers.len();
        writeln!(
            out,
            "workers: {workers}, of which {spinning} spin; {cpu_reserve_percent}% of each one's CPU is left to others"
        )?;
    }
    let columns = ["INTERFACE", "DRIVER", "QUEUES", "XDP", "XSK", "RX FRAMES", "TX FRAMES", "WHY"];
    let interfaces = status.interfaces.iter().map(|interface: &InterfaceStats| {
        let reason = if interface.xsk_reason.is_empty() { "-" } else { &interface.xsk_reason };
        vec![
            interface.name.clone(),
            interface.driver.clone(),
            interface.queues.to_string(),
            interface.xdp.clone(),
            interface.xsk.clone(),
            interface.frames.rx.to_string(),
            interface.frames.tx.to_string(),
            reason.to_owned(),
        ]
    });
    writeln!(out, "\n{}", table(&columns, &["QUEUES", "RX FRAMES", "TX FRAMES"], interfaces))?;
    let workers = status.workers.iter().map(|worker: &WorkerStats| {
        let queues: Vec<String> = worker.rx_queues.iter().map(ToString::to_string).collect();
        vec![
            worker.id.to_string(),
            worker.cpu.map_or("any".to_owned(), |cpu| cpu.to_string()),
            queues.join(","),
            worker.rx_packets.to_string(),
            worker.tx_packets.to_string(),
            worker.frames_total.to_string(),
            worker.frames_free.to_string(),
            worker.frames_limit.to_string(),
        ]
    });
    let columns = ["WORKER", "CPU", "RX QUEUES", "RX PACKETS", "TX PACKETS", "FRAMES", "FREE", "LIMIT"];
    let numbers = ["WORKER", "CPU", "RX PACKETS", "TX PACKETS", "FRAMES", "FREE", "LIMIT"];
    writeln!(out, "\n{}", table(&columns, &numbers, workers))?;
    membership_text(&status.memberships, out)?;
    if status.streams.is_empty() {
        return Ok(());
    }
    let streams = status.streams.iter().map(|stream: &StreamView| {
        let last = stream.silent_seconds.map_or("never".to_owned(), |seconds| format!("{seconds:.1} s ago"));
        vec![stream.rule.clone(), state_line(stream.state, stream.state_reason.as_deref()), last]
    });
    writeln!(out, "\n{}", table(&["RULE", "STATE", "LAST PACKET"], &["LAST PACKET"], streams))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::protocol::{OutputStats, RuleStats};

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
        let stats = Stats { rules: vec![rule("feed-a", 12), rule("b", 99_999_999)], ..Stats::default() };
        let mut shown = Vec::new();
        text(&Response::Stats(stats), &mut shown).expect("memory");
        let shown = String::from_utf8(shown).expect("UTF-8");
        let lines: Vec<&str> = shown.lines().collect();
        let end = |line: &str, part: &str| line.find(part).map(|at| at + part.len());
        assert_eq!(lines.len(), 7, "{shown}");
        assert!(lines[0].starts_with("RULE "), "{shown}");
        assert_eq!(end(lines[0], "MATCHED"), end(lines[1], " 12"), "numbers are aligned to the right:\n{shown}");
        assert_eq!(end(lines[1], " 12"), end(lines[3], "99999999"), "{shown}");
        assert!(lines[1].ends_with("too_big=3"), "reasons at 0 are left out:\n{shown}");
        assert!(lines[2].starts_with("      "), "the second output has no name before it:\n{shown}");
        eprintln!("{shown}");
    }
}
