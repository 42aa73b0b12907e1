//! From what was typed to a rule that can be trusted: every error of a rule at once.

use std::{collections::HashMap, fmt, net::Ipv4Addr, time::Duration};

use mcr_common::{
    limits::MAX_OUTPUTS,
    wire::{PTP_PORTS, is_martian_source},
};

use super::{
    edit::{ANY, NONE},
    lint::{self, Kind, Warning},
    reach::{Reach, reach, segment, sent_groups, sent_ports, shared_ports},
    rule::{Match, Output, Ports, Prefix, Rule, Source, Ttl, Vlan},
    spec::{MatchSpec, OutputSpec, RuleSpec, Scalar},
    value::{self, LINK_LOCAL, MARTIANS, MULTICAST, shown},
};

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

/// The VLAN ID of a new tag. 0 is refused: it could mean an untagged frame as well as a priority tag.
fn new_vlan(value: &Scalar) -> Result<u16, String> {
    match vlan_id(value, 1, "`none`, `keep` or a VLAN ID") {
        Err(_) if value.to_string() == "0" => {
            Err("0 is no VLAN; write `none` to send without a tag, or `keep` to keep a priority tag".to_owned())
        }
        id => id,
    }
}

/// The outputs that could be read, with their positions; where one is missing, a problem was reported.
fn check_outputs(specs: &[OutputSpec], matcher: Option<&Match>, found: &mut Found) -> Vec<(usize, Output)> {
    if specs.is_empty() {
        found.problem("output", "is missing; a rule needs at least one output");
    }
    if specs.len() > MAX_OUTPUTS {
        found.problem("output", format!("has more entries than the {MAX_OUTPUTS} that a rule may have"));
    }
    let mut names = HashMap::new();
    for (i, name) in specs.iter().enumerate().filter_map(|(i, spec)| Some((i, spec.name.as_deref()?))) {
        if let Some(first) = names.insert(name, i) {
            found.problem(
                format!("output[{i}].name"),
                format!("`{}` already names output[{first}]; choose another", shown(name)),
            );
        }
    }
    let outputs = specs.iter().enumerate();
    outputs.filter_map(|(i, spec)| Some((i, check_output(i, spec, matcher, found)?))).collect()
}

/// `None` only after a problem was reported.
fn check_output(i: usize, spec: &OutputSpec, matcher: Option<&Match>, found: &mut Found) -> Option<Output> {
    let key = |field: &str| format!("output[{i}].{field}");
    let word = |value: &Option<Scalar>| match value {
        Some(Scalar::Text(text)) => text.clone(),
        _ => String::new(),
    };
    let name = match &spec.name {
        Some(name) => found.take(key("name"), value::name(name)).map(Some),
        None => Some(None),
    };
    let interface = found.take(key("interface"), value::output_interface(&spec.interface));
    let group = match &spec.group {
        Some(text) => found.take(key("group"), output_group(text, matcher)).map(Some),
        None => Some(None),
    };
    let port = match &spec.port {
        Some(port) => found.take(key("port"), output_port(port, matcher)).map(Some),
        None => Some(None),
    };
    let source = match spec.source.as_deref() {
        None | Some("interface") => Some(Source::Interface),
        Some("keep") => Some(Source::Keep),
        Some(text) => found.take(key("source"), output_source(text)).map(Source::Address),
    };
    let ttl = match (&spec.ttl, word(&spec.ttl).as_str()) {
        (None, _) | (_, "decrement") => Some(Ttl::Decrement),
        (_, "keep") => Some(Ttl::Keep),
        (Some(ttl), _) => found
            .take(key("ttl"), value::number(ttl, 1, 255, "`decrement`, `keep` or a TTL"))
            .map(|ttl| Ttl::Set(ttl as u8)),
    };
    let dscp = match &spec.dscp {
        Some(dscp) => found.take(key("dscp"), value::dscp(dscp)).map(Some),
        None => Some(None),
    };
    let vlan = match (&spec.vlan, word(&spec.vlan).as_str()) {
        (None, _) | (_, "none") => Some(Vlan::None),
        (_, "keep") => Some(Vlan::Keep),
        (Some(vlan), _) => found.take(key("vlan"), new_vlan(vlan)).map(Vlan::Set),
    };
    Some(Output {
        name: name?,
        interface: interface?,
        group: group?,
        port: port?,
        source: source?,
        ttl: ttl?,
        dscp: dscp?,
        vlan: vlan?,
    })
}

/// A group, or the base of a range as long as the match's, aligned as that is (so it ends within multicast too).
fn output_group(text: &str, matcher: Option<&Match>) -> Result<Ipv4Addr, String> {
    if let Some((base, _)) = text.split_once('/') {
        return Err(format!(
            "`{}`: write the base alone, {}; the range is as long as match.group",
            shown(text),
            shown(base)
        ));
    }
    let group = value::address(text)?;
    if !group.is_multicast() {
        return Err(format!("{group} is not multicast; groups lie in {MULTICAST}"));
    }
    let length = matcher.map_or(32, |matcher| matcher.group.length);
    let range = Prefix { address: Ipv4Addr::from(u32::from(group) & Prefix { address: group, length }.mask()), length };
    if range.address != group {
        return Err(format!(
            "{group} is not the base of a /{length} as long as match.group; write {} or another aligned base",
            range.address
        ));
    }
    if LINK_LOCAL.contains(group) || range.contains(LINK_LOCAL.address) {
        return Err(format!("{range} reaches into {LINK_LOCAL}, which is never forwarded; choose another group"));
    }
    Ok(group)
}

/// A port, or the base of a range as long as the match's.
fn output_port(value: &Scalar, matcher: Option<&Match>) -> Result<u16, String> {
    if let Ok(Ports::Range(first, _)) = value::ports(value) {
        return Err(format!("`{value}`: write the first port alone, {first}; the range is as long as match.port"));
    }
    let base = value::port(value)?;
    let Some(Ports::Range(first, last)) = matcher.map(|matcher| matcher.ports) else {
        return Ok(base);
    };
    match base.checked_add(last - first) {
        Some(_) => Ok(base),
        None => Err(format!(
            "{} ports from {base} on end above 65535; the highest base is {}",
            u32::from(last - first) + 1,
            u16::MAX - (last - first)
        )),
    }
}

fn output_source(text: &str) -> Result<Ipv4Addr, String> {
    let source = match text.parse::<Ipv4Addr>() {
        Ok(source) => source,
        Err(_) => {
            return Err(format!("`{}` is not a source; write `interface`, `keep` or an IPv4 address", shown(text)));
        }
    };
    match is_martian_source(source.into()) {
        false => Ok(source),
        true => Err(format!(
            "{source} is not a unicast address that packets can come from; write another, `interface` or `keep`"
        )),
    }
}

/// Refuses an output that leads back to its own rule, called `name` where that is known, on the same interface.
fn check_own_loops(name: Option<&str>, matcher: &Match, outputs: &[(usize, Output)], found: &mut Found) {
    for (i, output) in outputs {
        let reached = reach(matcher, output, matcher);
        let shared = shared_ports(sent_ports(matcher, output), matcher.ports).filter(|_| reached != Reach::Never);
        let Some(ports) = shared else { continue };
        let who = name.map_or("the rule".to_owned(), |name| format!("`{name}`"));
        let place = segment(&matcher.interface, matcher.vlan);
        let cycle = format!("{who} -> {place} {}:{ports} -> {who}", sent_groups(matcher, output));
        let key = format!("output[{i}]");
        if reached == Reach::Always {
            let message = format!(
                "leads back to its own rule on {place}, {cycle}, so packets would go round; change the output's \
                 interface, group, port or VLAN"
            );
            found.problem(key, message);
        } else {
            let message = format!(
                "leads back to its own rule, {cycle}, if {}'s own address lies in {}; name another source, or change \
                 the output's interface, group, port or VLAN",
                output.interface, matcher.source
            );
            found.warnings.push(Kind::OwnLoop.at(key, message));
        }
    }
}

#[cfg(test)]
mod tests;
