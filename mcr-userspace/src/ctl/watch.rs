//! `stats --watch`: the counters each second, with rates.

use std::{
    collections::HashMap,
    io::{self, IsTerminal, Write},
    thread,
    time::Duration,
};

use super::{
    run::Failure,
    show::{self, reasons, table},
};
use crate::control::protocol::{Response, RuleStats, Stats};

const PERIOD: Duration = Duration::from_secs(1);

/// Shows what `ask` answers each second until it fails or nobody reads on.
pub(super) fn watch(
    mut ask: impl FnMut() -> Result<Response, Failure>,
    json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    // Home, and clear what is below: less flicker than clearing first.
    let home = if io::stdout().is_terminal() { "\x1b[H\x1b[J" } else { "" };
    let mut before: Option<Stats> = None;
    loop {
        let response = ask()?;
        if json {
            show::json(&response, out)?;
        } else if let Response::Stats(stats) = response {
            write!(out, "{home}")?;
            rates(before.as_ref().unwrap_or(&stats), &stats, out)?;
            out.flush()?;
            before = Some(stats);
        }
        thread::sleep(PERIOD);
    }
}

/// Counters of `now`, and packets a second since `before`.
fn rates(before: &Stats, now: &Stats, out: &mut dyn Write) -> io::Result<()> {
    let seconds = now.uptime_seconds - before.uptime_seconds;
    let rate = |before: u64, now: u64| match seconds > 0.0 {
        true => format!("{:.0}", now.saturating_sub(before) as f64 / seconds),
        false => "-".to_owned(),
    };
    let old: HashMap<&str, &RuleStats> = before.rules.iter().map(|rule| (rule.name.as_str(), rule)).collect();
    let mut rows = Vec::new();
    for rule in &now.rules {
        let old = old.get(rule.name.as_str());
        let matched = old.map_or(0, |old| old.matched_packets);
        let head = [
            rule.name.clone(),
            rule.matched_packets.to_string(),
            rate(matched, rule.matched_packets),
            reasons(&rule.dropped),
        ];
        for (i, output) in rule.outputs.iter().enumerate() {
            let sent = old.and_then(|old| old.outputs.get(i)).map_or(0, |old| old.sent_packets);
            let mut row = if i == 0 { head.to_vec() } else { vec![String::new(); head.len()] };
            let port = output.port.map_or("any".to_owned(), |port| port.to_string());
            row.extend([
                format!("{} {}:{port}", output.interface, output.group),
                output.sent_packets.to_string(),
                rate(sent, output.sent_packets),
                reasons(&output.dropped),
            ]);
            rows.push(row);
        }
    }
    let columns = ["RULE", "MATCHED", "MATCHED/S", "DROPPED", "OUTPUT", "SENT", "SENT/S", "NOT SENT"];
    writeln!(out, "{}", table(&columns, &["MATCHED", "MATCHED/S", "SENT", "SENT/S"], rows))?;
    writeln!(
        out,
        "\ntotals: matched {} ({}/s), sent {} ({}/s), up {:.0} s",
        now.totals.matched_packets,
        rate(before.totals.matched_packets, now.totals.matched_packets),
        now.totals.sent_packets,
        rate(before.totals.sent_packets, now.totals.sent_packets),
        now.uptime_seconds
    )
}
