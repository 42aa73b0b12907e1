//! From what was typed to a rule that can be trusted: every error of a rule at once.

mod output;

use std::{fmt, time::Duration};

use mcr_common::wire::PTP_PORTS;

use super::{
    edit::{ANY, NONE},
    lint::{self, Kind, Warning},
    rule::{Match, Ports, Prefix, Rule},
    spec::{MatchSpec, RuleSpec, Scalar},
    value::{self, LINK_LOCAL, MARTIANS, MULTICAST, shown},
};

use output::{check_outputs, check_own_loops};

/// A rule, and what its author should know about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The rule.
    pub rule: Rule,
    /// About the rule by itself.
    pub warnings: Vec<Warning>,
}

/// One error of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where: a path of the configuration file's keys within the rule, such as `output[1].group`; empty for the rule as
    /// a whole.
    pub key: String,
    /// What is wrong and what to do.
    pub message: String,
    /// Whose fault it is.
    pub kind: ProblemKind,
}

/// Kinds of [`Problem`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProblemKind {
    /// The rule is wrong by itself, or with the others of its file.
    #[default]
    Invalid,
    /// A rule that is there already has the name, or an equal claim to the same packets.
    Exists,
    /// There is no rule of that name.
    NotFound,
    /// A limit is reached.
    Limit,
}

impl Problem {
    /// A rule that is wrong by itself at `key`.
    pub fn invalid(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { key: key.into(), message: message.into(), kind: ProblemKind::Invalid }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// Checks all of one rule by itself; [`RuleSet`](super::set::RuleSet) checks it against the others.
///
/// # Errors
///
/// Every problem of the rule, in the order of its fields.
pub fn check_rule(spec: &RuleSpec) -> Result<Checked, Vec<Problem>> {
    let mut found = Found::default();
    let typed = spec.name.as_deref().map(|name| found.take("name", value::name(name)));
    let description = spec.description.as_deref().and_then(|text| found.take("description", value::description(text)));
    let stall_after = spec.stall_after.as_deref().filter(|text| *text != NONE);
    let stall_after = stall_after.and_then(|text| found.take("stall_after", duration(text)));
    let matcher = check_match(&spec.matcher, &mut found);
    let outputs = check_outputs(&spec.output, matcher.as_ref(), &mut found);
    let name = typed.unwrap_or_else(|| {
        let Match { interface, group, ports, source, .. } = matcher.as_ref()?;
        Some(RuleSpec::default_name(interface, *group, *ports, *source))
    });
    if let Some(matcher) = &matcher {
        check_own_loops(name.as_deref(), matcher, &outputs, &mut found);
    }
    let (Some(name), Some(matcher), true) = (name, matcher, found.problems.is_empty()) else {
        return Err(found.problems);
    };
    let outputs = outputs.into_iter().map(|(_, output)| output).collect();
    // An empty text takes a description away.
    let description = description.filter(|text| !text.is_empty());
    let rule = Rule { name, matcher, outputs, stall_after, description, enabled: spec.enabled.unwrap_or(true) };
    found.warnings.extend(lint::of_rule(&rule));
    Ok(Checked { rule, warnings: found.warnings })
}

/// What a check has found so far.
#[derive(Default)]
struct Found {
    problems: Vec<Problem>,
    warnings: Vec<Warning>,
}

impl Found {
    fn problem(&mut self, key: impl Into<String>, message: impl Into<String>) {
        self.problems.push(Problem::invalid(key, message));
    }

    /// The value, or a problem at `key`.
    fn take<T>(&mut self, key: impl Into<String>, result: Result<T, String>) -> Option<T> {
        result.map_err(|message| self.problem(key, message)).ok()
    }
}

/// The longest duration that a key takes.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration > LONGEST => {
            Err(format!("`{}` is longer than a year; write a duration such as \"5s\"", shown(text)))
        }
        Ok(duration) if !duration.is_zero() => Ok(duration),
        Ok(_) => Err(format!("`{}` is no time at all; leave it out, or write a duration such as \"5s\"", shown(text))),
        Err(_) => Err(value::negative(text)
            .unwrap_or_else(|| format!("`{}` is not a duration; write one such as \"5s\" or \"500ms\"", shown(text)))),
    }
}

/// `None` only after a problem was reported.
fn check_match(spec: &MatchSpec, found: &mut Found) -> Option<Match> {
    let interface = found.take("match.interface", value::rule_interface(&spec.interface));
    let group = found.take("match.group", match_group(&spec.group));
    let ports = match &spec.port {
        Some(Scalar::Text(text)) if text == ANY => Some(Ports::Any),
        Some(port) => found.take("match.port", value::ports(port)),
        None => Some(Ports::Any),
    };
    let source = match &spec.source {
        Some(text) if text == ANY => Some(Prefix::ANY),
        Some(source) => found.take("match.source", match_source(source)),
        None => Some(Prefix::ANY),
    };
    let vlan = match &spec.vlan {
        Some(Scalar::Text(text)) if text == NONE => Some(None),
        // A frame with VLAN ID 0 is in no VLAN, like an untagged frame.
        Some(vlan) => found.take("match.vlan", vlan_id(vlan, 0, "a VLAN ID")).map(|id| (id != 0).then_some(id)),
        None => Some(None),
    };
    if let Some(group) = group.filter(|group| group.contains(LINK_LOCAL.address) && group.length < LINK_LOCAL.length) {
        let message = format!("{LINK_LOCAL}, within {group}, is never forwarded and stays with the host");
        found.warnings.push(Kind::NeverForwarded.at("match.group", message));
    }
    if let Some(ports) = ports.filter(|ports| has_only_ptp(*ports)) {
        let is = if matches!(ports, Ports::Exact(_)) { "is" } else { "are" };
        let message = format!("{ports} {is} PTP's, which is never forwarded; choose a port other than 319 and 320");
        found.problem("match.port", message);
    } else if let Some(ports) = ports.filter(|ports| takes_ptp(*ports)) {
        let message = format!("319 and 320 (PTP), among {ports}, are never forwarded and stay with the host");
        found.warnings.push(Kind::NeverForwarded.at("match.port", message));
    }
    Some(Match { interface: interface?, group: group?, ports: ports?, source: source?, vlan: vlan? })
}

fn match_group(text: &str) -> Result<Prefix, String> {
    if text.is_empty() {
        return Err("is missing; give the multicast group or group prefix".to_owned());
    }
    if let Some((group, port)) = text.split_once(':').filter(|(group, _)| value::prefix(group).is_ok()) {
        return Err(format!(
            "`{}` has a port; the port goes to --port (`port` in a file): write {group}, and {} there",
            shown(text),
            shown(port)
        ));
    }
    let group = value::prefix(text)?;
    if group.length < MULTICAST.length || !MULTICAST.contains(group.address) {
        return Err(format!("{group} is not multicast; groups lie in {MULTICAST}"));
    }
    if group.length >= LINK_LOCAL.length && LINK_LOCAL.contains(group.address) {
        return Err(format!("{group} lies in {LINK_LOCAL}, which is never forwarded; choose a group outside it"));
    }
    Ok(group)
}

fn match_source(text: &str) -> Result<Prefix, String> {
    let source = value::prefix(text)?;
    if source.length >= MULTICAST.length && MULTICAST.contains(source.address) {
        return Err(format!("{source} is multicast, which sends nothing; give the sender's address, or leave it out"));
    }
    if MARTIANS.iter().any(|martians| source.length >= martians.length && martians.contains(source.address)) {
        return Err(format!(
            "{source} is no sender's address: packets from it are never forwarded; leave it out for any source"
        ));
    }
    Ok(source)
}

/// Ports of which none is forwarded.
fn has_only_ptp(ports: Ports) -> bool {
    let (first, last) = ports.bounds();
    first >= PTP_PORTS[0] && last <= PTP_PORTS[1]
}

/// Ports 319 and 320 under a rule that names ports; that any port leaves them out is no surprise.
fn takes_ptp(ports: Ports) -> bool {
    match ports {
        Ports::Exact(_) => false,
        Ports::Range(first, last) => first <= 320 && last >= 319,
        Ports::Any => false,
    }
}

/// A VLAN ID from `least` (0 or 1) to 4094. `what` also names the words allowed beside a number.
fn vlan_id(value: &Scalar, least: i64, what: &str) -> Result<u16, String> {
    value::number(value, least, 4094, what).map(|id| id as u16)
}

#[cfg(test)]
mod tests;
