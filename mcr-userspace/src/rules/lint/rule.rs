//! Warnings about a rule by itself.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::Ipv4Addr,
};

use super::{Kind, Warning};
use crate::rules::{
    reach::{segment, sent_groups, sent_ports, sent_vlan},
    rule::{Match, Output, Prefix, Rule, Source, Ttl},
};

/// Blocks of groups whose sources commonly send a TTL of 1, so that nothing of them is left after one hop.
const SMALL_TTL: [(Prefix, &str); 2] = [
    // RFC 2365 section 6.1, IPv4 Local Scope.
    (
        Prefix { address: Ipv4Addr::new(239, 255, 0, 0), length: 16 },
        "the IPv4 Local Scope: SSDP, WS-Discovery, sACN and others",
    ),
    // RFC 5771 section 5.
    (
        Prefix { address: Ipv4Addr::new(224, 0, 1, 0), length: 24 },
        "the Internetwork Control Block: PTP, NTP, SLP and others",
    ),
];

/// Warnings about a rule that [`check_rule`](crate::rules::check::check_rule) found right.
pub fn of_rule(rule: &Rule) -> Vec<Warning> {
    let matcher = &rule.matcher;
    let mut warnings: Vec<Warning> = small_ttl(rule).into_iter().collect();
    let mut sent = HashMap::new();
    for (i, output) in rule.outputs.iter().enumerate() {
        let (interface, vlan) = (output.interface.as_str(), sent_vlan(matcher, output));
        let (groups, ports) = (sent_groups(matcher, output), sent_ports(matcher, output));
        let place = || segment(interface, vlan);
        let mut warn = |kind: Kind, message: String| warnings.push(kind.at(format!("output[{i}]"), message));
        let as_it_came = (groups, ports, vlan) == (matcher.group, matcher.ports, matcher.vlan);
        if as_it_came && interface == matcher.interface {
            warn(
                Kind::Echo,
                format!(
                    "sends {groups}:{ports} back to {}, where it came from, so receivers there get each packet twice; \
                     change the output's interface, group, port or VLAN",
                    place()
                ),
            );
        } else if as_it_came && keeps_header(matcher, output) {
            warn(
                Kind::Unchanged,
                format!(
                    "changes nothing, the TTL included: where {} leads back to {} in any way, packets go round and no \
                     TTL ends it; leave ttl at decrement, or change the group or the port",
                    place(),
                    matcher.interface
                ),
            );
        }
        match sent.entry((interface, vlan, groups, ports)) {
            Entry::Vacant(vacant) => drop(vacant.insert(i)),
            Entry::Occupied(first) => warn(
                Kind::Twice,
                format!(
                    "sends the same group and port to {} as output[{}], so receivers there get each packet twice; \
                     delete one, or change its interface, group, port or VLAN",
                    place(),
                    first.get()
                ),
            ),
        }
    }
    warnings
}

/// Whether source, TTL and DSCP leave as they came.
fn keeps_header(matcher: &Match, output: &Output) -> bool {
    let source = match output.source {
        Source::Keep => true,
        Source::Address(address) => matcher.source == Prefix::host(address),
        Source::Interface => false,
    };
    source && output.ttl == Ttl::Keep && output.dscp.is_none()
}

/// One for the rule, at the first output that takes one off the TTL. A match that is wider than the block is not
/// meant for it alone.
fn small_ttl(rule: &Rule) -> Option<Warning> {
    let group = rule.matcher.group;
    let (block, what) =
        SMALL_TTL.iter().find(|(block, _)| group.length >= block.length && block.contains(group.address))?;
    let first = rule.outputs.iter().position(|output| output.ttl == Ttl::Decrement)?;
    Some(Kind::SmallTtl.at(
        format!("output[{first}].ttl"),
        format!(
            "sources of {block} ({what}) commonly send a TTL of 1, and decrement would drop their packets \
             (ttl_expired); set ttl=N or ttl=keep at each output"
        ),
    ))
}
