//! Answers as a person reads them, and as JSON.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use super::reload;
use comfy_table::{CellAlignment, Table, presets::NOTHING};
use serde_json::json;

use super::stats;
use crate::{
    config::FileProblem,
    control::protocol::{
        Dropped, InterfaceStats, LogLevelView, MembershipView, Origin, Reloaded, Response, RuleState, RuleView,
        Scheduling, Status, StreamView, WorkerStats,
    },
    rules::{
        order::natural,
        spec::{MatchSpec, OutputSpec},
    },
};

/// The payload of an answer, as one JSON value.
pub(super) fn json(response: &Response, out: &mut dyn Write) -> io::Result<()> {
    match response {
        Response::Rules(rules) => serde_json::to_writer(&mut *out, rules)?,
        Response::Rule(rule) => serde_json::to_writer(&mut *out, rule)?,
        Response::Stats(stats) => serde_json::to_writer(&mut *out, stats)?,
        Response::Top(top) => serde_json::to_writer(&mut *out, top)?,
        Response::Status(status) => serde_json::to_writer(&mut *out, status)?,
        Response::RuleAdded { name, replaced, changed, warnings } => {
            let value = json!({"name": name, "replaced": replaced, "changed": changed, "warnings": warnings});
            write!(out, "{value}")?;
        }
        Response::RuleSet { name, changed, warnings } => {
            write!(out, "{}", json!({"name": name, "changed": changed, "warnings": warnings}))?;
        }
        Response::RuleDeleted { name: Some(name), names, warnings } => {
            write!(out, "{}", json!({"name": name, "names": names, "warnings": warnings}))?;
        }
        Response::RuleDeleted { name: None, names, warnings } => {
            write!(out, "{}", json!({"names": names, "warnings": warnings}))?;
        }
        Response::RulesSwitched { names, changed, warnings } => {
            write!(out, "{}", json!({"names": names, "changed": changed, "warnings": warnings}))?;
        }
        Response::BatchPart { operations } => write!(out, "{}", json!({"operations": operations}))?,
        Response::Exported { config } => write!(out, "{}", json!({"config": config}))?,
        Response::Batched { dry_run, changes, warnings } => {
            write!(out, "{}", json!({"dry_run": dry_run, "changes": changes, "warnings": warnings}))?;
        }
        Response::Reloaded(reloaded) => serde_json::to_writer(&mut *out, reloaded)?,
        Response::Confirmed { changes } => write!(out, "{}", json!({ "changes": changes }))?,
        Response::LogLevel(level) => serde_json::to_writer(&mut *out, level)?,
        Response::Events(events) => serde_json::to_writer(&mut *out, events)?,
        Response::Capturing(capturing) => serde_json::to_writer(&mut *out, capturing)?,
        Response::RuleExplained(explained) => serde_json::to_writer(&mut *out, explained)?,
        Response::PacketExplained(explained) => serde_json::to_writer(&mut *out, explained)?,
        Response::Unmatched(unmatched) => serde_json::to_writer(&mut *out, unmatched)?,
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
        Response::RuleAdded { warnings, .. }
        | Response::RuleSet { warnings, .. }
        | Response::RuleDeleted { warnings, .. }
        | Response::RulesSwitched { warnings, .. }
        | Response::Batched { warnings, .. }
        | Response::Reloaded(Reloaded { warnings, .. }) => warnings,
        Response::Status(status) => &status.warnings,
        _ => &[],
    }
}

/// For people; warnings apart.
pub(super) fn text(response: &Response, out: &mut dyn Write) -> io::Result<()> {
    match response {
        Response::RuleAdded { name, .. } => writeln!(out, "{name}")?,
        // One name was typed, and is known; what globs chose is told.
        Response::RuleSet { .. } | Response::RuleDeleted { name: Some(_), .. } | Response::BatchPart { .. } => {}
        Response::RuleDeleted { names, .. } => names.iter().try_for_each(|name| writeln!(out, "{name}"))?,
        Response::RulesSwitched { names, changed, .. } if names.len() > 1 => {
            changed.iter().try_for_each(|name| writeln!(out, "{name}"))?;
        }
        Response::RulesSwitched { .. } => {}
        Response::Batched { changes, .. } => changes.iter().try_for_each(|change| reload::change_line(change, out))?,
        Response::Exported { config } => write!(out, "{config}")?,
        Response::Rules(rules) => rule_table(rules, out)?,
        Response::Rule(rule) => rule_details(rule, out)?,
        Response::Reloaded(reloaded) => reload::text(reloaded, out)?,
        Response::Confirmed { changes } => reload::confirmed(*changes, out)?,
        Response::Stats(stats) => stats::text(stats, out)?,
        Response::Top(top) => serde_json::to_writer(&mut *out, top)?,
        Response::LogLevel(LogLevelView { level, rust_log: None }) => writeln!(out, "{level}")?,
        Response::LogLevel(LogLevelView { level, rust_log: Some(text) }) => writeln!(out, "{level} (RUST_LOG={text})")?,
        Response::Status(status) => status_text(status, out)?,
        Response::Events(events) => super::events::lines(&events.events, out)?,
        // What it has captured follows.
        Response::Capturing(_) => {}
        Response::RuleExplained(explained) => super::explain::rule_text(explained, out)?,
        Response::PacketExplained(explained) => super::explain::packet_text(explained, out)?,
        Response::Unmatched(unmatched) => super::explain::unmatched_text(unmatched, out)?,
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
        let state = rule.state.to_string();
        let origin = if rule.changed_at_run_time { "file, changed".to_owned() } else { rule.origin.to_string() };
        vec![rule.name.clone(), state, origin, match_line(&rule.matcher), outputs.join("\n")]
    });
    writeln!(out, "{}", table(&["NAME", "STATE", "ORIGIN", "MATCH", "OUTPUT"], &[], rows))
}

fn rule_details(rule: &RuleView, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "name         {}", rule.name)?;
    writeln!(out, "state        {}", state_line(rule.state, rule.state_reason.as_deref()))?;
    match rule.origin {
        Origin::File if rule.changed_at_run_time => writeln!(
            out,
            "origin       file, changed at run time: until the next reload; `rule set --persist` writes a change into the file"
        )?,
        Origin::File => writeln!(out, "origin       file")?,
        Origin::Runtime => {
            writeln!(out, "origin       runtime: until the next reload; `rule set --persist` writes it into the file")?
        }
    }
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

pub(super) fn match_line(matcher: &MatchSpec) -> String {
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

/// As `--out` takes it, without what is the default.
pub(super) fn output_line(output: &OutputSpec) -> String {
    let scalar = |value: &Option<_>| value.as_ref().map(ToString::to_string);
    let parts = [
        ("name", output.name.clone()),
        ("group", output.group.clone()),
        ("port", scalar(&output.port)),
        ("source", output.source.clone().filter(|source| source != "interface")),
        ("ttl", scalar(&output.ttl).filter(|ttl| ttl != "decrement")),
        ("dscp", scalar(&output.dscp)),
        ("vlan", scalar(&output.vlan).filter(|vlan| vlan != "none")),
    ];
    let given = parts.into_iter().filter_map(|(key, value)| Some(format!(",{key}={}", value?)));
    given.fold(output.interface.clone(), |line, part| line + &part)
}

/// `reason=N` of each that is not 0; `-` for none.
pub(super) fn reasons(dropped: &Dropped) -> String {
    let met: Vec<String> = dropped.iter().filter(|(_, n)| **n > 0).map(|(reason, n)| format!("{reason}={n}")).collect();
    if met.is_empty() { "-".to_owned() } else { met.join(" ") }
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
        "mcrd {}, process {}, up {}, profile {}, {} rule{}",
        status.version,
        status.pid,
        humantime::format_duration(std::time::Duration::from_secs(status.uptime_seconds.max(0.0) as u64)),
        status.profile,
        status.rules,
        if status.rules == 1 { "" } else { "s" }
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
    writeln!(out, "\n{}", stats::verdicts(&status.interfaces))?;
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
    let mut streams: Vec<&StreamView> = status.streams.iter().collect();
    streams.sort_by(|a, b| natural(&a.rule, &b.rule));
    let streams = streams.into_iter().map(|stream| {
        let last = stream.silent_seconds.map_or("never".to_owned(), |seconds| format!("{seconds:.1} s ago"));
        vec![stream.rule.clone(), state_line(stream.state, stream.state_reason.as_deref()), last]
    });
    writeln!(out, "\n{}", table(&["RULE", "STATE", "LAST PACKET"], &["LAST PACKET"], streams))
}
