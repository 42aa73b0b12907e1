//! A rule whose packets do not come: whether its stream stopped, or never came. Pure.

use std::time::Duration;

use super::facts::Facts;
use crate::{
    control::protocol::RuleState,
    rules::rule::{Match, Ports},
};

/// A stream of so many packets a second has stopped where none comes while packets are watched.
const STEADY: u64 = 10;

/// `239.1.1.1:5001 stopped 12 s ago, after 250 pps`; `None` where it did not, or has so few packets that nobody can tell.
pub fn stopped(facts: &Facts) -> Option<String> {
    let silence = facts.silence.filter(|_| facts.pace >= STEADY || facts.state != RuleState::Active)?;
    let pace = if facts.pace > 0 { format!(", after {} pps", facts.pace) } else { String::new() };
    Some(format!("{} stopped {} ago{pace}", wanted(&facts.rule.matcher), time(silence)))
}

/// Seconds up to two minutes.
pub fn time(time: Duration) -> String {
    match time.as_secs() {
        0..=120 => format!("{:.0} s", time.as_secs_f64()),
        seconds => humantime::format_duration(Duration::from_secs(seconds)).to_string(),
    }
}

/// What the rule matches: `239.1.1.1:5001 in VLAN 100`.
fn wanted(matcher: &Match) -> String {
    let tag = matcher.vlan.map(|vlan| format!(" in VLAN {vlan}")).unwrap_or_default();
    match matcher.ports {
        Ports::Any => format!("{}{tag}", matcher.group),
        ports => format!("{}:{ports}{tag}", matcher.group),
    }
}

/// Nothing of the kind arrives, and never did: what mcrd has joined, and where to look next.
pub fn nothing(facts: &Facts, seconds: f64) -> String {
    let matcher = &facts.rule.matcher;
    let why = match facts.memberships.first() {
        Some(_) if facts.takes_all() => {
            "a switch that snoops IGMP needs a static multicast-router port to it, since no group is asked for by name"
        }
        Some(_) if facts.unjoined.is_some() => "the group is not joined",
        Some(_) => "the group is joined: look at the sender, and at the switches between",
        None => "no group is joined: the switch has to send it unasked",
    };
    format!("no packet of {} arrives on {} in {seconds} s; {why}", wanted(matcher), matcher.interface)
}
