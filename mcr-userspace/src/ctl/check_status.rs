//! `status --check`: one line and an exit code, as monitoring plugins give them
//! (<https://www.monitoring-plugins.org/doc/guidelines.html>).

use std::{
    collections::BTreeMap,
    io::{self, Write},
    path::PathBuf,
    sync::mpsc::channel,
    thread,
    time::Duration,
};

use serde::Serialize;

use crate::control::{
    client::Client,
    protocol::{Request, Response, RuleState, Status},
};

/// How long mcrd is waited for: whoever runs plugins ends them after 10 seconds or more.
const PATIENCE: Duration = Duration::from_secs(9);
/// Rules and warnings that the line names.
const MOST_NAMED: usize = 5;

/// How it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    Warning,
    Critical,
}

/// The line and its exit code.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Finding {
    verdict: Verdict,
    exit_code: u8,
    message: String,
}

impl Finding {
    fn new(verdict: Verdict, message: String) -> Self {
        // A plugin's output is one line; behind `|` stand figures.
        let message =
            message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().replace('|', "/");
        Self { verdict, exit_code: verdict as u8, message }
    }
}

/// Asks the daemon at `socket` and writes the line; the exit code.
pub(super) fn check(socket: PathBuf, json: bool, out: &mut dyn Write) -> io::Result<u8> {
    let finding = match status(socket) {
        Ok(status) => judge(&status),
        Err(why) => Finding::new(Verdict::Critical, why),
    };
    match json {
        true => writeln!(out, "{}", serde_json::to_string(&finding)?)?,
        false => writeln!(out, "MCR {} - {}", format!("{:?}", finding.verdict).to_uppercase(), finding.message)?,
    }
    Ok(finding.exit_code)
}

/// The daemon's status, or why there is none. A daemon that sends its answer byte by byte is not waited for either.
fn status(socket: PathBuf) -> Result<Status, String> {
    let (answer, answered) = channel();
    thread::spawn(move || {
        let response = Client::connect(&socket).and_then(|mut client| client.call(&Request::Status {}));
        // Nobody waits any more after `PATIENCE`.
        let _ = answer.send(response);
    });
    match answered.recv_timeout(PATIENCE) {
        Ok(Ok(Response::Status(status))) => Ok(status),
        Ok(Ok(Response::Error { message, .. })) => Err(message),
        Ok(Ok(_)) => Err("mcrd's answer is not one to `status`; is it of this version?".to_owned()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("mcrd has not answered within {} seconds; its log may say why", PATIENCE.as_secs())),
    }
}

fn judge(status: &Status) -> Finding {
    let rules = status.streams.len();
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    let troubled: Vec<String> = status
        .streams
        .iter()
        .filter(|stream| stream.state.is_trouble())
        .map(|stream| {
            let reason = stream.state_reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            format!("{} {}{reason}", stream.rule, stream.state)
        })
        .collect();
    if !troubled.is_empty() {
        let message = format!("{} of {rules} rule{}: {}", troubled.len(), plural(rules), listed(&troubled));
        return Finding::new(Verdict::Critical, message);
    }
    if !status.warnings.is_empty() {
        let count = status.warnings.len();
        let message = format!("{count} warning{}: {}", plural(count), listed(&status.warnings));
        return Finding::new(Verdict::Warning, message);
    }
    let mut states: BTreeMap<RuleState, usize> = [(RuleState::Active, 0)].into();
    status.streams.iter().for_each(|stream| *states.entry(stream.state).or_default() += 1);
    // `active` is the last of the states, and comes first.
    let states: Vec<String> = states.iter().rev().map(|(state, count)| format!("{count} {state}")).collect();
    Finding::new(Verdict::Ok, format!("{rules} rule{}, {}", plural(rules), states.join(", ")))
}

/// The first of them, and how many more.
fn listed(all: &[String]) -> String {
    let first = all.iter().take(MOST_NAMED).cloned().collect::<Vec<_>>().join("; ");
    match all.len().checked_sub(MOST_NAMED).filter(|more| *more > 0) {
        Some(more) => format!("{first}; and {more} more"),
        None => first,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::protocol::StreamView;

    fn status(states: &[(RuleState, &str)], warnings: &[&str]) -> Status {
        let stream = |(i, (state, reason)): (usize, &(RuleState, &str))| StreamView {
            rule: format!("feed-{i}"),
            state: *state,
            state_reason: (!reason.is_empty()).then(|| (*reason).to_owned()),
            silent_seconds: None,
        };
        Status {
            streams: states.iter().enumerate().map(stream).collect(),
            warnings: warnings.iter().map(|warning| (*warning).to_owned()).collect(),
            ..Status::default()
        }
    }

    #[test]
    fn rules_in_trouble_come_before_warnings_before_all_is_well() {
        use RuleState::{Active, Degraded, Disabled, Idle, Stalled, Waiting};
        let all_well: &[(RuleState, &str)] = &[(Active, ""), (Idle, "no packet"), (Active, ""), (Disabled, "off")];
        for (states, warnings, code, message) in [
            (all_well, &[][..], 0, "4 rules, 2 active, 1 idle, 1 disabled"),
            (&[(Active, "")], &[], 0, "1 rule, 1 active"),
            (&[], &[], 0, "0 rules, 0 active"),
            (all_well, &["a | b"], 1, "1 warning: a / b"),
            (&[], &["a", "b", "c", "d", "e", "f", "g"], 1, "7 warnings: a; b; c; d; e; and 2 more"),
            (
                &[(Active, ""), (Degraded, "eth1 is\ndown"), (Waiting, "no interface x")],
                &["rule feed-2 waits"],
                2,
                "2 of 3 rules: feed-1 degraded: eth1 is down; feed-2 waiting: no interface x",
            ),
            (&[(Stalled, "")], &[], 2, "1 of 1 rule: feed-0 stalled"),
        ] {
            let finding = judge(&status(states, warnings));
            assert_eq!((finding.exit_code, finding.message.as_str()), (code, message));
        }
    }
}
