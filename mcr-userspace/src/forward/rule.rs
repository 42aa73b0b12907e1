//! A rule as workers use it: numbers only, names and addresses resolved.

use mcr_common::flow::{Datagram, Vlan};

use super::outputs::Outputs;
use crate::rules::rule::{Match, Output, Ports, Rule, Source, Ttl, Vlan as OutputVlan};

/// Number of an interface that has sockets, the same at every worker.
pub type InterfaceId = usize;

/// A rule whose interfaces all have sockets. A clone shares the targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    ifindex: u32,
    source: (u32, u32),
    group: (u32, u32),
    ports: (u16, u16),
    vlan: Vlan,
    /// Where its packets go.
    pub targets: Outputs<Target>,
}

/// An output: which interface, and what packets become there. Addresses and ports in host byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Egress interface.
    pub egress: InterfaceId,
    /// New group.
    pub group: Map<u32>,
    /// New destination port.
    pub port: Map<u16>,
    /// New source address.
    pub source: Source,
    /// New TTL.
    pub ttl: Ttl,
    /// New DSCP.
    pub dscp: Option<u8>,
    /// New tag.
    pub vlan: OutputVlan,
}

/// What becomes of a value of the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Map<T> {
    /// As it is.
    Keep,
    /// This one, whatever it was.
    Set(T),
    /// `to + (value - from)`: from one range to another, its offset kept.
    Move {
        /// Base of the matched range.
        from: T,
        /// Base of the new range.
        to: T,
    },
}

impl Map<u32> {
    /// The new value.
    #[inline]
    pub fn apply(self, value: u32) -> u32 {
        match self {
            Self::Keep => value,
            Self::Set(to) => to,
            Self::Move { from, to } => to.wrapping_add(value.wrapping_sub(from)),
        }
    }
}

impl Map<u16> {
    /// The new value.
    #[inline]
    pub fn apply(self, value: u16) -> u16 {
        match self {
            Self::Keep => value,
            Self::Set(to) => to,
            Self::Move { from, to } => to.wrapping_add(value.wrapping_sub(from)),
        }
    }
}

impl Compiled {
    /// Resolves a rule: its ingress interface's index, and the interface of each of its outputs; `None` where it has none.
    pub fn new(rule: &Rule, ifindex: u32, egresses: &[InterfaceId]) -> Option<Self> {
        let matcher = &rule.matcher;
        let targets = rule.outputs.iter().zip(egresses).map(|(output, egress)| target(matcher, output, *egress));
        Some(Self {
            ifindex,
            source: (matcher.source.address.into(), matcher.source.mask()),
            group: (matcher.group.address.into(), matcher.group.mask()),
            ports: matcher.ports.bounds(),
            vlan: matcher.vlan.map_or(Vlan::UNTAGGED, Vlan::tagged),
            targets: Outputs::new(targets)?,
        })
    }

    /// Index of the ingress interface.
    pub fn ifindex(&self) -> u32 {
        self.ifindex
    }

    /// Whether the rule takes a packet that came in on this interface.
    #[inline]
    pub fn covers(&self, ifindex: u32, datagram: &Datagram) -> bool {
        self.ifindex == ifindex
            && datagram.source & self.source.1 == self.source.0
            && datagram.group & self.group.1 == self.group.0
            && (self.ports.0..=self.ports.1).contains(&datagram.port)
            && datagram.vlan == self.vlan
    }
}

fn target(matcher: &Match, output: &Output, egress: InterfaceId) -> Target {
    Target {
        egress,
        group: match output.group {
            Some(to) => Map::Move { from: matcher.group.address.into(), to: to.into() },
            None => Map::Keep,
        },
        port: match (output.port, matcher.ports) {
            (Some(to), Ports::Exact(from) | Ports::Range(from, _)) => Map::Move { from, to },
            (Some(to), Ports::Any) => Map::Set(to),
            (None, _) => Map::Keep,
        },
        source: output.source,
        ttl: output.ttl,
        dscp: output.dscp,
        vlan: output.vlan,
    }
}
