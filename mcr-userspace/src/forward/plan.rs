//! What a packet becomes at one output, or why it is not sent there. No I/O, no clock, no allocation.

use std::net::Ipv4Addr;

use mcr_common::{
    counter::OutputDrop,
    flow::{self, Datagram},
    wire::ipv4,
};

use super::{rule::Target, sources::Sources};
use crate::rules::rule::{Source, Ttl, Vlan};

/// What is known of an egress interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EgressFacts {
    /// Its own Ethernet address.
    pub mac: [u8; 6],
    /// The IPv4 address that it sends from in general.
    pub address: Option<Ipv4Addr>,
    /// Where it sends from another one.
    pub sources: Sources,
    /// Bytes of the largest IP packet.
    pub mtu: u32,
}

/// The new values of everything that may change. Addresses and port in host byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// Destination group.
    pub group: u32,
    /// Source address.
    pub source: u32,
    /// UDP destination port.
    pub port: u16,
    /// Time to live.
    pub ttl: u8,
    /// DSCP and ECN.
    pub tos: u8,
    /// The new tag.
    pub vlan: Vlan,
    /// Source Ethernet address.
    pub mac: [u8; 6],
}

/// Plans a valid packet (`packet` ends where its IP packet ends) for one output.
#[inline]
pub fn plan(packet: &[u8], datagram: &Datagram, target: &Target, facts: &EgressFacts) -> Result<Rewrite, OutputDrop> {
    let ip = usize::from(datagram.ip_offset);
    let ttl = match target.ttl {
        Ttl::Decrement => packet[ip + ipv4::TTL].saturating_sub(1),
        Ttl::Keep => packet[ip + ipv4::TTL],
        Ttl::Set(ttl) => ttl,
    };
    if ttl == 0 {
        return Err(OutputDrop::TtlExpired);
    }
    if packet.len() - ip > facts.mtu as usize {
        return Err(OutputDrop::TooBig);
    }
    let group = target.group.apply(datagram.group);
    let vlan = match target.vlan {
        Vlan::None => None,
        Vlan::Set(id) => Some(id),
        Vlan::Keep => (datagram.vlan != flow::Vlan::UNTAGGED).then(|| datagram.vlan.bits()),
    };
    let source = match target.source {
        Source::Keep => datagram.source,
        Source::Address(address) => address.into(),
        Source::Interface => {
            let special = facts.sources.of(vlan, group);
            special.map_or(facts.address, |special| special.address).ok_or(OutputDrop::NoSource)?.into()
        }
    };
    let tos = packet[ip + ipv4::TOS];
    Ok(Rewrite {
        group,
        source,
        port: target.port.apply(datagram.port),
        ttl,
        tos: target.dscp.map_or(tos, |dscp| dscp << 2 | tos & 0b11),
        vlan: target.vlan,
        mac: facts.mac,
    })
}
