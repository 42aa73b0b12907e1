//! Why a flow matches no rule as it comes, whatever the rule's values. Pure.

use mcr_common::{unmatched::UnmatchedKey, wire};

use super::{
    facts::Flow,
    near::{Lack, is_close, lacks},
};
use crate::rules::rule::Match;

/// Why a flow matches no rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// Several VLAN tags.
    Tags {
        /// How many: 2 or more.
        count: u8,
        /// VLAN ID of the first.
        outer: u16,
        /// VLAN ID of the second.
        inner: u16,
    },
    /// A VLAN tag of this EtherType.
    TagType(u16),
    /// PTP, by this port.
    Ptp(u16),
    /// It is fragments.
    Fragment,
    /// UDP port 0, which only a rule of any port matches.
    PortZero,
}

impl Obstacle {
    /// What keeps the packets of this key from rules, if anything does.
    pub fn of(key: &UnmatchedKey) -> Option<Self> {
        match key.tags {
            0 if key.is_fragment != 0 => Some(Self::Fragment),
            0 if wire::PTP_PORTS.contains(&key.port) => Some(Self::Ptp(key.port)),
            0 => (key.port == 0).then_some(Self::PortZero),
            1 => Some(Self::TagType(key.tag_type)),
            count => Some(Self::Tags { count, outer: key.vlan.bits(), inner: key.inner.bits() }),
        }
    }

    /// The word in JSON; it stays.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tags { .. } => "two_tags",
            Self::TagType(_) => "tag_type",
            Self::Ptp(_) => "ptp",
            Self::Fragment => "fragment",
            Self::PortZero => "port_0",
        }
    }

    /// Why, for people.
    pub fn why(self) -> String {
        match self {
            Self::Tags { count, outer, inner } => {
                format!("{} ({outer}, {inner}): mcr matches at most one", tags(count))
            }
            Self::TagType(ethertype) => format!("a VLAN tag of type {ethertype:#06x}: mcr matches 0x8100 alone"),
            Self::Ptp(port) => format!("PTP (port {port}): mcr never forwards it"),
            Self::Fragment => "fragments: they carry no ports to match".to_owned(),
            Self::PortZero => "port 0: a rule can name no such port".to_owned(),
        }
    }

    /// Whether no rule at all matches it. Of what is left, a rule's own values tell what it wants instead.
    pub const fn is_certain(self) -> bool {
        matches!(self, Self::Tags { .. } | Self::TagType(_) | Self::Ptp(_))
    }

    /// What a rule that wants the packet's fields does not match all the same: `no PTP`.
    pub const fn not_matched(self) -> Option<&'static str> {
        match self {
            Self::Tags { .. } => Some("no packet with two VLAN tags"),
            Self::TagType(_) => Some("no VLAN tag of another type than 0x8100"),
            Self::Ptp(_) => Some("no PTP"),
            Self::Fragment => Some("no fragments: they carry no ports"),
            Self::PortZero => None,
        }
    }

    /// What comes in on the interface, and what is to be changed, which no command on this host can.
    pub fn told(self, interface: &str) -> String {
        match self {
            Self::Tags { count, outer, inner } => format!(
                "comes in with {} ({outer}, {inner}), and mcr matches at most one; have the switch send it to {interface} without the outer tag",
                tags(count)
            ),
            Self::TagType(ethertype) => format!(
                "comes in with a VLAN tag of type {ethertype:#06x}, and mcr matches 0x8100 alone; set the tag type (TPID) of the switch's port to {interface} to 0x8100"
            ),
            Self::Ptp(port) => format!(
                "is PTP (port {port}), which mcr never forwards, since its own delay would be taken for the network's; run a boundary clock (ptp4l) on this host, or let a sender of anything else use another port"
            ),
            Self::Fragment | Self::PortZero => self.why(),
        }
    }
}

fn tags(count: u8) -> &'static str {
    if count > 2 { "three VLAN tags or more" } else { "two VLAN tags" }
}

/// What `matcher` wants besides, of a flow of its group that no rule matches; `None` of any other flow.
pub fn beside(matcher: &Match, flow: &Flow) -> Option<Vec<Lack>> {
    flow.obstacle.filter(|obstacle| obstacle.is_certain())?;
    let mut lacks = lacks(matcher, &flow.arrived());
    if !matches!(flow.obstacle, Some(Obstacle::Ptp(_))) {
        // The tags are what is wrong.
        lacks.retain(|lack| *lack != Lack::Vlan);
    }
    (!lacks.contains(&Lack::Group) && is_close(&lacks)).then_some(lacks)
}
