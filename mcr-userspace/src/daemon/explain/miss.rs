//! Flows that are nearly what a rule wants, and the commands that make it want them. Pure.

use mcr_common::counter::Verdict;

use super::{
    facts::{Facts, Flow, Watched},
    judge::{Judged, ok, problem, rank, rate},
    near::{Lack, is_close, lacks},
    obstacle::{Obstacle, beside},
    silence::stopped,
};
use crate::{
    doctor::quoted,
    rules::{
        check::check_rule,
        rule::{Match, Ports, Prefix, Rule},
        spec::RuleSpec,
    },
};

/// So near to a range a port may have been meant to be in it.
const NEAR_PORTS: u16 = 100;
/// Near misses that are told of.
const MOST_NEAR: usize = 3;

/// When a flow began, by the packets of its interface that no rule matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Beginning {
    /// As the rule's own stream ended.
    InItsPlace,
    /// Nobody knows.
    Unknown,
    /// Not then.
    AnotherTime,
}

impl Beginning {
    fn of(flow: &Flow, facts: &Facts, watched: &Watched) -> Self {
        let known = facts.passed.iter().find(|(name, _)| *name == flow.interface);
        let Some((_, rates)) = known.filter(|_| stopped(facts).is_some()) else { return Self::Unknown };
        let share = (rates.since - rates.before) * watched.seconds / flow.packets.max(1) as f64;
        match share {
            share if share < 0.3 => Self::AnotherTime,
            share if (0.7..1.5).contains(&share) => Self::InItsPlace,
            _ => Self::Unknown,
        }
    }
}

/// Flows that are nearly what the rule wants: problems, and notes of those that have nothing to do with the end of the rule's stream.
pub fn near(facts: &Facts, watched: &Watched) -> (Vec<Judged>, Vec<Judged>) {
    let matcher = &facts.rule.matcher;
    let mut near: Vec<(Beginning, Vec<Lack>, &Flow)> = Vec::new();
    for flow in watched.flows.iter().filter(|flow| flow.verdict != Verdict::PassFragment) {
        if flow.obstacle.is_some_and(Obstacle::is_certain) {
            near.extend(beside(matcher, flow).map(|lacks| (Beginning::Unknown, lacks, flow)));
            continue;
        }
        let lacks = lacks(matcher, &flow.arrived());
        // A prefix or any port fits many: then another group alone is no sign that this one was meant.
        let is_vague = lacks == [Lack::Group] && matcher.ports == Ports::Any;
        let is_other = lacks.is_empty() && !flow.is_unicast && flow.verdict != Verdict::PassUnservedQueue;
        if is_close(&lacks) && !is_vague && !is_other {
            let beginning = if lacks.is_empty() { Beginning::Unknown } else { Beginning::of(flow, facts, watched) };
            near.push((beginning, lacks, flow));
        }
    }
    // What began in its place, then of the rule's own group, then what lacks least, then the most packets.
    near.sort_by_key(|(beginning, lacks, flow)| {
        (*beginning, lacks.contains(&Lack::Group), lacks.len(), u64::MAX - flow.packets)
    });
    let key = |flow: &Flow| (flow.group, flow.source, flow.port, flow.obstacle);
    near.dedup_by(|b, a| a.1 == b.1 && key(a.2) == key(b.2));
    let judged = near.into_iter().take(MOST_NEAR).map(|(beginning, lacks, flow)| match beginning {
        Beginning::AnotherTime => {
            let came = format!("{} at {}", flow.arrived(), rate(flow.packets, watched));
            let text = format!("{came} arrives; it did not begin when the rule's own stream stopped");
            (beginning, ok("arrival", &flow.interface, text))
        }
        _ => (beginning, near_miss(facts, watched, (beginning, &lacks), flow)),
    });
    let (others, near): (Vec<_>, Vec<_>) = judged.partition(|(beginning, _)| *beginning == Beginning::AnotherTime);
    let only = |judged: Vec<(Beginning, Judged)>| judged.into_iter().map(|(_, judged)| judged).collect();
    (only(near), only(others))
}

fn near_miss(facts: &Facts, watched: &Watched, (beginning, lacks): (Beginning, &[Lack]), flow: &Flow) -> Judged {
    let (name, matcher) = (&facts.rule.name, &facts.rule.matcher);
    let came = format!("{} at {}", flow.arrived(), rate(flow.packets, watched));
    let judged = |text: String, fix| problem(rank::ARRIVAL, "arrival", &flow.interface, text, fix);
    let wanted: Vec<String> = lacks.iter().map(|lack| lack.wanted(matcher)).collect();
    let wanted = wanted.join(" and ");
    if let Some(obstacle) = flow.obstacle.filter(|obstacle| obstacle.is_certain()) {
        let also = if lacks.is_empty() { String::new() } else { format!("; the rule also wants {wanted}") };
        return judged(format!("{came} {}{also}", obstacle.told(&flow.interface)), None);
    }
    if flow.is_unicast && lacks.is_empty() {
        return judged(
            format!("{came} comes in frames for another host's Ethernet address, which no rule takes"),
            None,
        );
    }
    if lacks.is_empty() {
        return judged(format!("{came} comes in on a queue that mcrd does not serve; restart mcrd"), None);
    }
    let flags: Option<Vec<String>> = lacks.iter().map(|lack| flag(*lack, matcher, flow)).collect();
    let flags = flags.filter(|_| is_accepted(facts.rule.clone(), lacks, flow));
    let fix = flags.map(|flags| format!("mcrctl rule set {} {}", quoted(name), flags.join(" ")));
    let sender = match flow.obstacle {
        Some(Obstacle::PortZero) => "; a rule can name no port 0: look at the sender",
        _ => "",
    };
    let Some(stopped) = stopped(facts) else {
        return judged(format!("{came} arrives, and the rule wants {wanted}{sender}"), fix);
    };
    let since = if beginning == Beginning::InItsPlace { "since then" } else { "now" };
    let changed: Vec<&str> = lacks.iter().map(|lack| changed(*lack)).collect();
    let changed = changed.join(" and ");
    judged(format!("{stopped}; {since} {came} arrives: the sender may have changed its {changed}{sender}"), fix)
}

fn changed(lack: Lack) -> &'static str {
    match lack {
        Lack::Group => "group",
        Lack::Interface => "way to this host",
        Lack::Port => "port",
        Lack::Source => "address",
        Lack::Vlan => "VLAN",
    }
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
