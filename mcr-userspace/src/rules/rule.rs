//! A checked rule: what it matches, where its packets go and what they become there.
//!
//! What was typed is a [`RuleSpec`](super::spec::RuleSpec); only [`check`](super::check) makes a [`Rule`] of it,
//! so every value here is known to be in range.

#[cfg(test)]
pub mod draw;

use std::{fmt, net::Ipv4Addr, time::Duration};

/// One rule. `Clone` is for the control side; workers share it behind an `Arc`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Unique among the rules of a daemon.
    pub name: String,
    /// Which packets it takes.
    pub matcher: Match,
    /// Where they go: 1 to [`MAX_OUTPUTS`](mcr_common::limits::MAX_OUTPUTS).
    pub outputs: Vec<Output>,
    /// Silence after which the stream counts as stalled.
    pub stall_after: Option<Duration>,
    /// What it is for, in the user's words.
    pub description: Option<String>,
    /// Whether it is to forward; one that is not keeps its name and its match.
    pub enabled: bool,
}

/// Which packets a rule takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// Ingress interface, by name; it need not exist yet.
    pub interface: String,
    /// Destination group or group prefix.
    pub group: Prefix,
    /// UDP destination ports.
    pub ports: Ports,
    /// Source address or prefix; length 0 is any source.
    pub source: Prefix,
    /// VLAN ID of the frame's tag, 1 to 4094; `None` is untagged.
    pub vlan: Option<u16>,
}

/// An IPv4 address prefix, host bits zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    /// First address.
    pub address: Ipv4Addr,
    /// Leading bits that count, 0 to 32.
    pub length: u8,
}

/// UDP destination ports, host byte order, bounds inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ports {
    /// One port.
    Exact(u16),
    /// `first..=last`, `first < last`.
    Range(u16, u16),
    /// Any port but those never forwarded (PTP).
    Any,
}

/// One destination of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Output {
    /// The user's label for it, unique within the rule; it changes nothing about the packets.
    pub name: Option<String>,
    /// Egress interface, by name.
    pub interface: String,
    /// New group, or base of the new range when the match is a prefix; `None` keeps the packet's.
    pub group: Option<Ipv4Addr>,
    /// New destination port, or base of the new range when the match is a range; `None` keeps the packet's.
    /// Under [`Ports::Any`] there is no first port to count from: every packet gets this port.
    pub port: Option<u16>,
    /// New source address.
    pub source: Source,
    /// New TTL.
    pub ttl: Ttl,
    /// New DSCP, 0 to 63; `None` keeps the packet's. ECN is always kept.
    pub dscp: Option<u8>,
    /// Tag of the frame that is sent.
    pub vlan: Vlan,
}

/// Source address of what an output sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// The egress interface's own address (the default).
    Interface,
    /// The packet's.
    Keep,
    /// This one.
    Address(Ipv4Addr),
}

/// TTL of what an output sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ttl {
    /// One less than the packet's (the default, RFC 1812 section 5.3.1).
    Decrement,
    /// The packet's.
    Keep,
    /// This one, 1 to 255.
    Set(u8),
}

/// VLAN tag of what an output sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Vlan {
    /// Untagged (the default).
    None,
    /// As the packet came.
    Keep,
    /// Tagged with this VLAN ID, 1 to 4094.
    Set(u16),
}

impl Prefix {
    /// Any address.
    pub const ANY: Self = Self { address: Ipv4Addr::UNSPECIFIED, length: 0 };

    /// The prefix of one address.
    pub const fn host(address: Ipv4Addr) -> Self {
        Self { address, length: 32 }
    }

    /// The bits that count, as a mask in host byte order.
    pub const fn mask(self) -> u32 {
        match self.length {
            0 => 0,
            n => u32::MAX << (32 - n),
        }
    }

    /// Whether `address` lies within.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        u32::from(address) & self.mask() == u32::from(self.address)
    }
}

impl Ports {
    /// First and last port; any port starts at 0, so that it is wider than every range.
    pub const fn bounds(self) -> (u16, u16) {
        match self {
            Self::Exact(port) => (port, port),
            Self::Range(first, last) => (first, last),
            Self::Any => (0, u16::MAX),
        }
    }
}

impl Rule {
    /// Whether it does the same to packets as `other`, and is in force as it is.
    pub fn forwards_like(&self, other: &Self) -> bool {
        (&self.matcher, &self.outputs, self.enabled) == (&other.matcher, &other.outputs, other.enabled)
    }

    /// Whether it matches on this interface, or sends to it.
    pub fn names(&self, interface: &str) -> bool {
        self.interfaces().any(|name| name == interface)
    }

    /// The interfaces that it matches on and sends to; one may be there several times.
    pub fn interfaces(&self) -> impl Iterator<Item = &str> {
        let outputs = self.outputs.iter().map(|output| output.interface.as_str());
        std::iter::once(self.matcher.interface.as_str()).chain(outputs)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.length {
            32 => write!(f, "{}", self.address),
            n => write!(f, "{}/{n}", self.address),
        }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(port) => write!(f, "{port}"),
            Self::Range(first, last) => write!(f, "{first}-{last}"),
            Self::Any => write!(f, "any"),
        }
    }
}
