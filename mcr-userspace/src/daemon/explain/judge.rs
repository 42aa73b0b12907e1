//! Judges a rule from facts alone: each check from the wire to the outputs.

use super::{
    super::links::Link,
    arrival::{self, pps},
    facts::{Facts, InterfaceFacts, Watched},
    outputs,
};
use crate::{
    control::protocol::{CheckResult, RuleExplained, RuleFinding, RuleState},
    doctor::quoted,
    rules::edit,
};

/// The check of IGMP queries that do not reach the host: `mcrctl`, which sees the firewall, finds out why.
pub const DEAF: &str = "igmp-queries";

/// A finding, and how near the root of all evil it is: the first problem is the cause.
#[derive(Clone, Debug)]
pub struct Judged {
    /// 0 is the root.
    pub rank: u8,
    /// What was found.
    pub finding: RuleFinding,
}

/// Ranks of problems.
pub mod rank {
    /// The rule itself.
    pub const RULE: u8 = 0;
    /// Its ingress.
    pub const INGRESS: u8 = 1;
    /// Packets arrive, and are not what the rule wants.
    pub const ARRIVAL: u8 = 2;
    /// The switch is not asked.
    pub const MEMBERSHIP: u8 = 3;
    /// An output can send nothing.
    pub const OUTPUT: u8 = 4;
    /// Packets are lost on their way.
    pub const LOSS: u8 = 5;
    /// A sender or receiver on this host, which mcr does not serve.
    pub const OWN_HOST: u8 = 6;
    /// No packet arrives at all.
    pub const SILENCE: u8 = 7;
}

/// In order.
pub fn ok(check: &str, place: &str, text: impl Into<String>) -> Judged {
    let (check, place, text) = (check.to_owned(), place.to_owned(), text.into());
    Judged { rank: u8::MAX, finding: RuleFinding { check, place, result: CheckResult::Ok, text, fix: None } }
}

/// Not in order. A text that ends with the fix says it once only.
pub fn problem(rank: u8, check: &str, place: &str, text: impl Into<String>, fix: Option<String>) -> Judged {
    let (check, place, mut text) = (check.to_owned(), place.to_owned(), text.into());
    let end = fix.as_ref().map(|fix| format!("; `{fix}`"));
    if let Some(rest) = end.and_then(|end| text.strip_suffix(&end).map(str::len)) {
        text.truncate(rest);
    }
    Judged { rank, finding: RuleFinding { check, place, result: CheckResult::Problem, text, fix } }
}

/// Whether there is nothing to be watched: no packet can match.
pub fn is_certain(facts: &Facts) -> bool {
    matches!(facts.state, RuleState::Disabled | RuleState::Waiting) || facts.ingress.link == Link::Down
}

/// All findings, the cause first. `watched`: what came, where packets were watched.
pub fn judge(facts: &Facts, watched: Option<&Watched>) -> RuleExplained {
    let mut judged = vec![rule(facts)];
    if !matches!(facts.state, RuleState::Disabled | RuleState::Waiting) {
        judged.extend(ingress(&facts.ingress));
        judged.extend(membership(facts, watched));
        if let Some(watched) = watched {
            judged.extend(arrival::judge(facts, watched));
        }
        judged.extend(outputs::judge(facts, watched));
        let own_host = facts.own_host.iter();
        judged.extend(own_host.map(|own| problem(rank::OWN_HOST, "own-host", &own.interface, own.text.as_str(), None)));
    }
    // Stable: from the wire to the outputs among equals.
    judged.sort_by_key(|judged| judged.rank);
    let silent = judged.iter().any(|judged| judged.rank == rank::SILENCE);
    let findings = judged.into_iter().map(|judged| judged.finding).collect();
    RuleExplained { rule: facts.rule.name.clone(), state: facts.state, findings, silent }
}

fn rule(facts: &Facts) -> Judged {
    let name = &facts.rule.name;
    match (facts.state, &facts.waiting) {
        (RuleState::Disabled, _) => {
            let fix = Some(format!("mcrctl rule enable {}", edit::argument(name)));
            problem(rank::RULE, "rule", name, "the rule is switched off", fix)
        }
        (RuleState::Waiting, why) => {
            let why = why.as_deref().filter(|why| !why.is_empty()).unwrap_or("it starts");
            let (more, fix) = match outputs::renamed(facts, why).or_else(|| outputs::unaddressed(facts, why)) {
                Some((more, fix)) => (more, Some(fix)),
                None => (String::new(), command_in(why)),
            };
            problem(rank::RULE, "rule", name, format!("the rule waits: {why}{more}"), fix)
        }
        _ => ok("rule", name, "the rule is switched on"),
    }
}

fn ingress(interface: &InterfaceFacts) -> Vec<Judged> {
    let name = &interface.name;
    let mut judged = vec![link(rank::INGRESS, "ingress", interface, "no packet can come in")];
    if interface.absent.is_none() {
        let mode = match interface.xdp.as_str() {
            "driver" => "native",
            _ => "generic",
        };
        judged.push(match &interface.fault {
            Some(fault) => {
                problem(rank::INGRESS, "xdp", name, format!("{name}: zero-copy fails: {fault}"), command_in(fault))
            }
            None => ok("xdp", name, format!("the XDP program is attached ({mode}), AF_XDP {}", interface.xsk)),
        });
    }
    judged
}

/// Whether an interface is there, up, and has a carrier.
pub fn link(rank: u8, check: &str, interface: &InterfaceFacts, means: &str) -> Judged {
    let name = &interface.name;
    match (interface.link, &interface.absent) {
        (_, Some(why)) => problem(rank, check, name, format!("{why}: {means}"), command_in(why)),
        (Link::Down, _) => {
            let fix = Some(format!("ip link set dev {} up", quoted(name)));
            problem(rank, check, name, format!("{name} is down: {means}"), fix)
        }
        (Link::NoCarrier, _) => {
            let text = format!("{name} has no carrier: {means}; look at its cable, or at its peer");
            problem(rank, check, name, text, None)
        }
        (Link::Absent | Link::Up, None) => {
            ok(check, name, format!("{name} is up and has a carrier, MTU {}", interface.mtu))
        }
    }
}

fn membership(facts: &Facts, watched: Option<&Watched>) -> Vec<Judged> {
    let interface = &facts.rule.matcher.interface;
    let mut judged = vec![joined(facts, watched)];
    if let Some(deaf) = &facts.deaf {
        judged.push(problem(rank::MEMBERSHIP, DEAF, interface, deaf, command_in(deaf)));
    }
    judged
}

fn joined(facts: &Facts, watched: Option<&Watched>) -> Judged {
    let interface = &facts.rule.matcher.interface;
    let takes_all = facts.takes_all();
    // Nothing asks a switch for the groups of a prefix. Where they arrive all the same, none has to be asked.
    let arrives = facts.state == RuleState::Active || watched.is_some_and(|watched| watched.added.matched_packets > 0);
    if let Some(warning) = facts.unjoined.as_ref().filter(|_| !(takes_all && arrives)) {
        return problem(rank::MEMBERSHIP, "membership", interface, warning, command_in(warning));
    }
    let failed = facts.memberships.iter().find(|view| view.state.starts_with("failed"));
    if let Some(view) = failed {
        let group = view.group.map_or("every group".to_owned(), |group| group.to_string());
        let why = view.state.strip_prefix("failed: ").unwrap_or(&view.state);
        let text = format!("the host could not join {group} on {interface}: {why}");
        return problem(rank::MEMBERSHIP, "membership", interface, text, command_in(&view.state));
    }
    let text = match facts.memberships.first() {
        None => "the rule asks for no membership (membership = \"none\")".to_owned(),
        Some(_) if takes_all => {
            format!("{interface} takes every group that reaches it, and asks for none by IGMP")
        }
        Some(view) => {
            let group = view.group.map_or(String::new(), |group| group.to_string());
            let of = view.source.map(|source| format!(" from {source}")).unwrap_or_default();
            format!("the host has joined {group}{of} on {}", view.via.as_ref().unwrap_or(interface))
        }
    };
    ok("membership", interface, text)
}

/// The first command between backticks that changes something and can be run as it stands.
pub fn command_in(text: &str) -> Option<String> {
    let quoted = text.split('`').skip(1).step_by(2);
    let runs = |command: &&str| {
        let is_placeholder = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_uppercase() || c == '/');
        let changes =
            ["ip link set ", "ip link add ", "ip addr add ", "ethtool ", "mcrctl rule ", "sysctl -w ", "kill "];
        changes.iter().any(|start| command.starts_with(start)) && !command.split(' ').any(is_placeholder)
    };
    quoted.into_iter().find(runs).map(str::to_owned)
}

/// A rate of the watched packets, for a sentence.
pub fn rate(packets: u64, watched: &Watched) -> String {
    format!("{} pps", pps(packets, watched.seconds))
}

#[cfg(test)]
mod tests;
