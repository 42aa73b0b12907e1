//! Whether a rule's packets arrive; where they do not, what arrives instead.

use std::time::Duration;

use mcr_common::counter::{RuleDrop, Verdict};

use super::{
    super::traffic::Finding,
    cause::repaired_rule,
    facts::{Facts, Flow, Watched},
    judge::{Judged, ok, problem, rank, rate},
    near::{Lack, is_close, lacks},
};
use crate::{
    control::protocol::RuleState,
    doctor::quoted,
    rules::{
        check::check_rule,
        rule::{Match, Ports, Prefix, Rule},
        spec::RuleSpec,
    },
};

/// So near to a range a port may have been meant to be in it.
const NEAR_PORTS: u16 = 100;
/// A stream of so many packets a second has stopped where none comes while packets are watched.
const STEADY: u64 = 10;
/// Near misses that are told of.
const MOST_NEAR: usize = 3;

/// Packets a second; one at least where there was any.
pub fn pps(packets: u64, seconds: f64) -> u64 {
    let rate = (packets as f64 / seconds.max(0.1)).round() as u64;
    if packets > 0 { rate.max(1) } else { 0 }
}

/// Judges what came while packets were watched.
pub fn judge(facts: &Facts, watched: &Watched) -> Vec<Judged> {
    let matcher = &facts.rule.matcher;
    let interface = &matcher.interface;
    let matched = watched.added.matched_packets;
    let mut judged = fragments(matcher, &watched.flows);
    if matched > 0 {
        let arrival = ok("arrival", interface, format!("{} match the rule on {interface}", rate(matched, watched)));
        judged.push(arrival);
        judged.extend(losses(facts, watched));
        return judged;
    }
    if let Some(stronger) = watched.stronger.first() {
        let text = format!("rule {stronger} is more specific and takes the packets");
        judged.push(problem(rank::ARRIVAL, "arrival", interface, text, None));
    }
    judged.extend(near(facts, watched));
    if !judged.is_empty() {
        return judged;
    }
    // The last packets that came say what becomes of the next.
    judged.extend(losses(facts, watched));
    let seconds = watched.seconds.round();
    judged.push(match (facts.state, facts.silence) {
        (RuleState::Active, Some(silence)) => {
            let silence = silence.as_secs_f64();
            let text = format!("no packet in {seconds} s; the last one came {silence:.0} s ago");
            match facts.pace {
                STEADY.. => {
                    let text = format!("{text}, after {} pps: look at the sender", facts.pace);
                    problem(rank::SILENCE, "arrival", interface, text, None)
                }
                _ => ok("arrival", interface, text),
            }
        }
        _ => problem(rank::SILENCE, "arrival", interface, nothing(facts, seconds), None),
    });
    judged
}

/// Nothing of the kind arrives: what is asked for, and who is to be asked next.
fn nothing(facts: &Facts, seconds: f64) -> String {
    let matcher = &facts.rule.matcher;
    let what = match matcher.ports {
        Ports::Any => format!("{}", matcher.group),
        ports => format!("{}:{ports}", matcher.group),
    };
    let tag = matcher.vlan.map(|vlan| format!(" in VLAN {vlan}")).unwrap_or_default();
    let why = match facts.memberships.first() {
        Some(_) if facts.takes_all() => {
            "a switch that snoops IGMP needs a static multicast-router port to it, since no group is asked for by name"
        }
        Some(_) => "the group is joined: look at the sender, and at the switches between",
        None => "no group is joined: the switch has to send it unasked",
    };
    format!("no packet of {what}{tag} arrives on {} in {seconds} s; {why}", matcher.interface)
}

/// Fragments of the rule's group: no rule can take them.
fn fragments(matcher: &Match, flows: &[Flow]) -> Vec<Judged> {
    let is_ours = |flow: &&Flow| flow.verdict == Verdict::PassFragment && lacks(matcher, &flow.arrived()).is_empty();
    let flow = flows.iter().filter(is_ours).max_by_key(|flow| flow.packets);
    flow.map(|flow| {
        let text = format!(
            "fragments of {} from {} arrive, which carry no ports to match; lower the sender's packet size below the MTU on its way",
            flow.group, flow.source
        );
        problem(rank::ARRIVAL, "arrival", &matcher.interface, text, None)
    })
    .into_iter()
    .collect()
}

/// What arrives that is nearly what the rule wants.
fn near(facts: &Facts, watched: &Watched) -> Vec<Judged> {
    let matcher = &facts.rule.matcher;
    let mut near: Vec<(Vec<Lack>, &Flow)> = Vec::new();
    for flow in watched.flows.iter().filter(|flow| flow.verdict != Verdict::PassFragment) {
        let lacks = lacks(matcher, &flow.arrived());
        // A prefix or any port fits many: then another group alone is no sign that this one was meant.
        let is_vague = lacks == [Lack::Group] && matcher.ports == Ports::Any;
        let is_other = lacks.is_empty() && !flow.is_unicast && flow.verdict != Verdict::PassUnservedQueue;
        if is_close(&lacks) && !is_vague && !is_other {
            near.push((lacks, flow));
        }
    }
    // Of the rule's own group first, then what lacks least, then the most packets.
    near.sort_by_key(|(lacks, flow)| (lacks.contains(&Lack::Group), lacks.len(), u64::MAX - flow.packets));
    near.dedup_by(|b, a| a.0 == b.0 && (a.1.group, a.1.source, a.1.port) == (b.1.group, b.1.source, b.1.port));
    near.into_iter().take(MOST_NEAR).map(|(lacks, flow)| near_miss(facts, watched, &lacks, flow)).collect()
}

fn near_miss(facts: &Facts, watched: &Watched, lacks: &[Lack], flow: &Flow) -> Judged {
    let (name, matcher) = (&facts.rule.name, &facts.rule.matcher);
    let came = format!("{} at {}", flow.arrived(), rate(flow.packets, watched));
    let judged = |text: String, fix| problem(rank::ARRIVAL, "arrival", &flow.interface, text, fix);
    if flow.is_unicast && lacks.is_empty() {
        return judged(
            format!("{came} comes in frames for another host's Ethernet address, which no rule takes"),
            None,
        );
    }
    if lacks.is_empty() {
        return judged(format!("{came} comes in on a queue that mcrd does not serve; restart mcrd"), None);
    }
    let wanted: Vec<String> = lacks.iter().map(|lack| lack.wanted(matcher)).collect();
    let flags: Option<Vec<String>> = lacks.iter().map(|lack| flag(*lack, matcher, flow)).collect();
    let flags = flags.filter(|_| is_accepted(facts.rule.clone(), lacks, flow));
    let since = facts.silence.map(|silence| format!(" (its last packet came {:.0} s ago)", silence.as_secs_f64()));
    judged(
        format!("{came} arrives, and the rule wants {}{}", wanted.join(" and "), since.unwrap_or_default()),
        flags.map(|flags| format!("mcrctl rule set {} {}", quoted(name), flags.join(" "))),
    )
}

/// Whether the rule may want the flow: it could lead back to itself then.
fn is_accepted(mut rule: Rule, lacks: &[Lack], flow: &Flow) -> bool {
    let matcher = &mut rule.matcher;
    for lack in lacks {
        match lack {
            Lack::Group => matcher.group = Prefix::host(flow.group),
            Lack::Interface => matcher.interface.clone_from(&flow.interface),
            Lack::Port => matcher.ports = wider(matcher.ports, flow).unwrap_or(Ports::Any),
            Lack::Source => matcher.source = Prefix::host(flow.source),
            Lack::Vlan => matcher.vlan = flow.vlan,
        }
    }
    check_rule(&RuleSpec::from(&rule)).is_ok()
}

/// What makes the rule want the flow, and no other that it wants now be lost: a prefix is not narrowed to one address.
fn flag(lack: Lack, matcher: &Match, flow: &Flow) -> Option<String> {
    match lack {
        Lack::Group => (matcher.group.length == 32).then(|| format!("--group {}", flow.group)),
        Lack::Interface => Some(format!("--in {}", quoted(&flow.interface))),
        Lack::Port => wider(matcher.ports, flow).map(|ports| format!("--port {ports}")),
        Lack::Source => (matcher.source.length == 32).then(|| format!("--source {}", flow.source)),
        Lack::Vlan => Some(flow.vlan.map_or_else(|| "--vlan none".to_owned(), |vlan| format!("--vlan {vlan}"))),
    }
}

/// The flow's port in the place of one port; a range that has it too, where it is not far away.
fn wider(ports: Ports, flow: &Flow) -> Option<Ports> {
    let Some(port) = flow.port else { return Some(Ports::Any) };
    match ports {
        Ports::Range(first, last) => {
            let near = first.saturating_sub(NEAR_PORTS)..=last.saturating_add(NEAR_PORTS);
            near.contains(&port).then(|| Ports::Range(first.min(port), last.max(port)))
        }
        Ports::Exact(_) | Ports::Any => Some(Ports::Exact(port)),
    }
}

/// Matched packets that no output is offered.
fn losses(facts: &Facts, watched: &Watched) -> Vec<Judged> {
    let interface = &facts.rule.matcher.interface;
    let dropped = |reason: RuleDrop| watched.added.dropped[reason as usize];
    let is_known = |reason: RuleDrop| facts.findings.contains(&Finding::AllDropped(reason));
    let told = RuleDrop::ALL.iter().filter(|reason| dropped(**reason) > 0 || is_known(**reason));
    let judged = told.map(|reason| {
        let age = if dropped(*reason) > 0 { Duration::from_secs_f64(watched.seconds) } else { facts.age };
        if let Some(repair) = repaired_rule(*reason, &facts.ingress, age) {
            let all = facts.reading.dropped[*reason as usize];
            return ok("worker", interface, format!("{all} packets were dropped ({}) before {repair}", reason.name()));
        }
        let count = match dropped(*reason) {
            0 => "the last packets are".to_owned(),
            count => format!("{} of {} packets are", count, watched.added.matched_packets),
        };
        let text = format!("{count} dropped ({}): {}", reason.name(), why(*reason));
        problem(rank::LOSS, "worker", interface, text, None)
    });
    let judged: Vec<Judged> = judged.collect();
    if judged.is_empty() && watched.added.matched_packets > 0 {
        return vec![ok("worker", interface, "the workers take each of them")];
    }
    judged
}

fn why(reason: RuleDrop) -> &'static str {
    match reason {
        RuleDrop::RxRing => {
            "the worker runs too late and the RX ring overflows; give mcrd more CPU, or use --profile low-latency"
        }
        RuleDrop::RuleGone => "the rule was changed while they waited",
        RuleDrop::Malformed => {
            "the IPv4 header checksum or a length is wrong; the sender, or a device on the way, damages them"
        }
        RuleDrop::Oversize => {
            "they are longer than a frame, or merged in a way that cannot be split; see `mcrctl doctor` on gro and lro"
        }
        RuleDrop::MartianSource => {
            "their source is an address that no datagram on a network may come from; fix the sender's address"
        }
    }
}
