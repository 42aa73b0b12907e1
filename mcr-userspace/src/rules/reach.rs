//! Whether what an output sends is what a rule takes.

use std::net::Ipv4Addr;

use super::rule::{Match, Output, Ports, Prefix, Source, Vlan};

/// Whether packets of an output match a rule on the interface that they leave by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// None does.
    Never,
    /// Some do, if the egress interface's own address lies in the rule's source prefix.
    Maybe,
    /// Some do.
    Always,
}

/// Whether some packet that `from` takes and `output` rewrites is one that `to` takes.
///
/// A more specific rule that would take it first is not looked for.
pub fn reach(from: &Match, output: &Output, to: &Match) -> Reach {
    if output.interface != to.interface
        || sent_vlan(from, output) != to.vlan
        || !overlap(sent_groups(from, output), to.group)
        || shared_ports(sent_ports(from, output), to.ports).is_none()
    {
        return Reach::Never;
    }
    let always = match output.source {
        Source::Interface if to.source.length > 0 => return Reach::Maybe,
        Source::Interface => true,
        Source::Keep => overlap(from.source, to.source),
        Source::Address(address) => to.source.contains(address),
    };
    if always { Reach::Always } else { Reach::Never }
}

/// Groups that `output` sends to.
pub fn sent_groups(from: &Match, output: &Output) -> Prefix {
    Prefix { address: output.group.unwrap_or(from.group.address), length: from.group.length }
}

/// VLAN that `output` sends on.
pub fn sent_vlan(from: &Match, output: &Output) -> Option<u16> {
    match output.vlan {
        Vlan::None => None,
        Vlan::Keep => from.vlan,
        Vlan::Set(id) => Some(id),
    }
}

/// Ports that `output` sends to.
pub fn sent_ports(from: &Match, output: &Output) -> Ports {
    match (output.port, from.ports) {
        (None, ports) => ports,
        (Some(base), Ports::Range(first, last)) => Ports::Range(base, base.saturating_add(last - first)),
        (Some(port), _) => Ports::Exact(port),
    }
}

/// Whether two prefixes share an address: one then contains the other.
pub fn overlap(a: Prefix, b: Prefix) -> bool {
    let shorter = if a.length <= b.length { a } else { b };
    shorter.contains(a.address) && shorter.contains(b.address)
}

/// The ports that both have.
pub fn shared_ports(a: Ports, b: Ports) -> Option<Ports> {
    let ((a_first, a_last), (b_first, b_last)) = (a.bounds(), b.bounds());
    match (a_first.max(b_first), a_last.min(b_last)) {
        (0, u16::MAX) => Some(Ports::Any),
        (first, last) if first == last => Some(Ports::Exact(first)),
        (first, last) if first < last => Some(Ports::Range(first, last)),
        _ => None,
    }
}

/// An interface and a VLAN in words.
pub fn segment(interface: &str, vlan: Option<u16>) -> String {
    match vlan {
        None => interface.to_owned(),
        Some(id) => format!("{interface} VLAN {id}"),
    }
}

/// The last address of a prefix.
pub fn last_address(prefix: Prefix) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(prefix.address) | !prefix.mask())
}
