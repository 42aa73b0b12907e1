//! `mcrctl events`: what has happened, and what happens.

use std::{
    io::{self, Write},
    thread,
    time::{Duration, Instant, SystemTime},
};

use super::{link::Link, run::Failure};
use crate::control::protocol::{ErrorCode, Event, Events, Request, Response};

/// Between two attempts to reach a daemon that has stopped.
const RETRY: Duration = Duration::from_secs(1);

/// Shows the events of the last `since`, or all that are kept.
pub(super) fn show(answer: &Response, since: Option<Duration>, json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    let Response::Events(answer) = answer else { return Ok(()) };
    write_all(answer, since.and_then(|since| SystemTime::now().checked_sub(since)), json, out)
}

/// The same, and those to come. When mcrd stops, waits for the next one, and goes on with its events.
pub(super) fn follow(mut link: Link, since: Option<Duration>, json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    let from = since.and_then(|since| SystemTime::now().checked_sub(since));
    let mut after = None;
    let mut heard = Instant::now();
    loop {
        let asked = Instant::now();
        match link.ask(&Request::Events { after, wait: after.is_some() }) {
            Ok(Response::Events(answer)) => {
                write_all(&answer, from, json, out)?;
                after = Some(answer.next);
                heard = asked;
            }
            Ok(_) => return Ok(()),
            // Only a daemon that has answered is waited for.
            Err(Failure::Refused(ErrorCode::Unavailable, _)) if after.is_some() => {
                say(&format!("mcrd at {} stopped; waiting until it runs again", link.socket().display()));
                match is_another(&mut link, heard)? {
                    true => {
                        say("mcrd runs again; its events follow");
                        after = None;
                    }
                    false => say("mcrd answers again; it did not stop"),
                }
            }
            Err(failure) => return Err(failure),
        }
    }
}

/// Waits until a daemon answers; whether it is not the one that was `heard` last, and counts its events anew.
fn is_another(link: &mut Link, heard: Instant) -> Result<bool, Failure> {
    loop {
        match link.ask(&Request::Top {}) {
            Ok(Response::Top(top)) => return Ok(top.uptime_seconds < heard.elapsed().as_secs_f64()),
            Ok(_) | Err(Failure::Refused(ErrorCode::Unavailable, _)) => thread::sleep(RETRY),
            Err(failure) => return Err(failure),
        }
    }
}

fn say(line: &str) {
    writeln!(io::stderr(), "mcrctl: {line}").ok();
}

fn write_all(answer: &Events, from: Option<SystemTime>, json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    if answer.lost > 0 {
        say(&format!("{} events are not kept any more", answer.lost));
    }
    let is_wanted = |event: &&Event| match (from, humantime::parse_rfc3339(&event.time)) {
        (Some(from), Ok(time)) => time >= from,
        _ => true,
    };
    for event in answer.events.iter().filter(is_wanted) {
        match json {
            true => {
                serde_json::to_writer(&mut *out, event).map_err(io::Error::from)?;
                writeln!(out)?;
            }
            false => line(event, out)?,
        }
    }
    Ok(out.flush()?)
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
