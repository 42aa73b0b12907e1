//! The outputs of a rule.

use std::{collections::HashMap, net::Ipv4Addr};

use mcr_common::{limits::MAX_OUTPUTS, wire::is_martian_source};

use super::{
    super::{
        lint::Kind,
        reach::{Reach, reach, segment, sent_groups, sent_ports, shared_ports},
        rule::{Match, Output, Ports, Prefix, Source, Ttl, Vlan},
        spec::{OutputSpec, Scalar},
        value::{self, LINK_LOCAL, MULTICAST, shown},
    },
    Found, vlan_id,
};

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
pub fn check_outputs(specs: &[OutputSpec], matcher: Option<&Match>, found: &mut Found) -> Vec<(usize, Output)> {
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
pub fn check_own_loops(name: Option<&str>, matcher: &Match, outputs: &[(usize, Output)], found: &mut Found) {
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
