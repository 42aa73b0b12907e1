//! `mcrctl events`: what has happened, and what happens.

use std::{
    io::{self, Write},
    time::{Duration, SystemTime},
};

use super::run::Failure;
use crate::control::protocol::{Event, Request, Response};

/// Shows the events of the last `since`, or all that are kept; with `follow` those to come, too.
pub(super) fn show(
    mut ask: impl FnMut(&Request) -> Result<Response, Failure>,
    since: Option<Duration>,
    follow: bool,
    json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let from = since.and_then(|since| SystemTime::now().checked_sub(since));
    let mut after = None;
    loop {
        let Response::Events(answer) = ask(&Request::Events { after, wait: follow && after.is_some() })? else {
            return Ok(());
        };
        if answer.lost > 0 {
            writeln!(io::stderr(), "mcrctl: {} events are not kept any more", answer.lost).ok();
        }
        let is_wanted = |event: &&Event| match (from, humantime::parse_rfc3339(&event.time)) {
            (Some(from), Ok(time)) => time >= from,
            _ => true,
        };
        let events: Vec<&Event> = answer.events.iter().filter(is_wanted).collect();
        match json {
            true => {
                for event in events {
                    serde_json::to_writer(&mut *out, event).map_err(io::Error::from)?;
                    writeln!(out)?;
                }
            }
            false => events.into_iter().try_for_each(|event| line(event, out))?,
        }
        out.flush()?;
        if !follow {
            return Ok(());
        }
        after = Some(answer.next);
    }
}

/// A line for each.
pub(super) fn lines(events: &[Event], out: &mut dyn Write) -> io::Result<()> {
    events.iter().try_for_each(|event| line(event, out))
}

/// `2026-11-25T10:00:00.000Z rule_state rule feed-a: active -> degraded: eth1 is down`.
fn line(event: &Event, out: &mut dyn Write) -> io::Result<()> {
    let kind = serde_json::to_value(event.kind).map_err(io::Error::from)?;
    write!(out, "{} {:<11}", event.time, kind.as_str().unwrap_or_default())?;
    if let Some(rule) = &event.rule {
        write!(out, " rule {rule}")?;
    }
    if let Some(interface) = &event.interface {
        write!(out, " {interface}")?;
    }
    let colon = if event.rule.is_some() || event.interface.is_some() { ":" } else { "" };
    match (&event.old, &event.new) {
        (Some(old), Some(new)) => write!(out, "{colon} {old} -> {new}")?,
        (None, Some(new)) => write!(out, "{colon} {new}")?,
        (Some(old), None) => write!(out, "{colon} {old} -> -")?,
        (None, None) => {}
    }
    if let Some(reason) = &event.reason {
        write!(out, ": {reason}")?;
    }
    if let (Some(uid), Some(pid)) = (event.uid, event.pid) {
        write!(out, " (uid {uid}, pid {pid})")?;
    }
    writeln!(out)
}
