//! Whether a rule's packets arrive; where they do not, what arrives instead.

use std::time::Duration;

use mcr_common::counter::{RuleDrop, Verdict};

use super::{
    super::traffic::Finding,
    cause::repaired_rule,
    facts::{Facts, Flow, Watched},
    judge::{Judged, command_in, ok, problem, rank, rate},
    miss::near,
    near::lacks,
    silence::{nothing, stopped, time},
};
use crate::rules::rule::Match;

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
        let text = match &stronger.port {
            Some(port) => format!(
                "rule {} takes the packets on {port}, before {interface} gets them from its port {port}; let one of the two rules have both outputs",
                stronger.name
            ),
            None => format!("rule {} is more specific and takes the packets", stronger.name),
        };
        judged.push(problem(rank::ARRIVAL, "arrival", interface, text, None));
    }
    let (near, others) = near(facts, watched);
    judged.extend(near);
    if !judged.is_empty() {
        return judged;
    }
    // The last packets that came say what becomes of the next.
    judged.extend(losses(facts, watched));
    let seconds = watched.seconds.round();
    judged.push(match (stopped(facts), facts.silence) {
        (Some(stopped), _) => {
            let else_there = match others.is_empty() {
                true => "nothing like it arrives",
                false => "nothing began in its place",
            };
            let text = format!("{stopped}; {else_there} on {interface}: look at the sender");
            problem(rank::SILENCE, "arrival", interface, text, None)
        }
        (None, Some(silence)) => {
            let text = format!("no packet in {seconds} s; the last one came {} ago", time(silence));
            ok("arrival", interface, text)
        }
        (None, None) => problem(rank::SILENCE, "arrival", interface, nothing(facts, seconds), None),
    });
    judged.extend(others);
    judged
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
            // What waited in the ring came before the watch began.
            count if count > watched.added.matched_packets => format!("{count} packets are"),
            count => format!("{count} of {} packets are", watched.added.matched_packets),
        };
        // Each of the other reasons has its cause outside this host, or in several settings of it.
        let (more, fix) = match reason {
            RuleDrop::Oversize => (facts.ingress.oversize.as_str(), command_in(&facts.ingress.oversize)),
            _ => ("", None),
        };
        let text = format!("{count} dropped ({}): {}{more}", reason.name(), why(*reason));
        problem(rank::LOSS, "worker", interface, text, fix)
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
        RuleDrop::Oversize => "they are longer than a frame takes",
        RuleDrop::MartianSource => {
            "their source is an address that no datagram on a network may come from; fix the sender's address"
        }
    }
}
