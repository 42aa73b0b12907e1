//! The one parser of packets, for the XDP program, the workers and the tests alike.

use crate::{
    flow::{Datagram, Vlan},
    wire::{self, ipv4, udp},
};

/// Bytes of a packet, however they are reached. The one bounds check of each side is its [`load`](Packet::load).
pub trait Packet {
    /// The `N` bytes from `offset`, or `None` where the packet ends before them.
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]>;
}

impl Packet for [u8] {
    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.get(offset..)?.first_chunk().copied()
    }
}

/// What a packet is to mcr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// Nothing that a rule can match: not IPv4/UDP to a group, a link-local group, PTP, cut short.
    Other,
    /// A fragment of an IPv4/UDP datagram to a group; its ports are not read, even in the first one.
    Fragment(Datagram),
    /// A whole IPv4/UDP datagram to a group.
    Datagram(Datagram),
}

/// Reads the headers of an Ethernet frame. Checksums and lengths are left to the worker.
#[inline(always)]
pub fn parse<P: Packet + ?Sized>(packet: &P) -> Parsed {
    read(packet).unwrap_or(Parsed::Other)
}

/// [`parse`]; `None` where the packet ends before a header does.
#[inline(always)]
fn read<P: Packet + ?Sized>(packet: &P) -> Option<Parsed> {
    let ethernet: [u8; wire::ETHERNET_LEN] = packet.load(0)?;
    let mut ethertype = u16::from_be_bytes([ethernet[12], ethernet[13]]);
    let (mut vlan, mut ip_offset) = (Vlan::UNTAGGED, wire::ETHERNET_LEN);
    if ethertype == wire::ETHERTYPE_VLAN || ethertype == wire::ETHERTYPE_SERVICE_VLAN {
        let (outer, inner) = tag(packet, ip_offset)?;
        // Of service tags only the priority tag: it stands for no VLAN.
        if outer != Vlan::UNTAGGED && ethertype == wire::ETHERTYPE_SERVICE_VLAN {
            return Some(Parsed::Other);
        }
        (ethertype, vlan, ip_offset) = (inner, outer, ip_offset + wire::VLAN_LEN);
        // Behind a priority tag another one may say the VLAN, as `__netif_receive_skb_core()` (net/core/dev.c) reads them.
        if outer == Vlan::UNTAGGED && ethertype == wire::ETHERTYPE_VLAN {
            (vlan, ethertype) = tag(packet, ip_offset)?;
            ip_offset += wire::VLAN_LEN;
        }
    }
    if ethertype != wire::ETHERTYPE_IPV4 {
        return Some(Parsed::Other);
    }
    match datagram(packet, ethernet[0], vlan, ip_offset)? {
        Parsed::Datagram(datagram) if wire::PTP_PORTS.contains(&datagram.port) => Some(Parsed::Other),
        parsed => Some(parsed),
    }
}

/// What the IPv4 header at `ip_offset` begins; PTP too is a datagram here. `first`: the frame's first byte.
#[inline(always)]
pub(crate) fn datagram<P: Packet + ?Sized>(packet: &P, first: u8, vlan: Vlan, ip_offset: usize) -> Option<Parsed> {
    let ip: [u8; wire::IPV4_MIN_LEN] = packet.load(ip_offset)?;
    let header_len = usize::from(ip[0] & 0x0f) * 4;
    let group = u32::from_be_bytes([ip[16], ip[17], ip[18], ip[19]]);
    if ip[0] >> 4 != 4
        || header_len < wire::IPV4_MIN_LEN
        || ip[ipv4::PROTOCOL] != wire::PROTOCOL_UDP
        || !wire::is_forwardable_group(group)
    {
        return Some(Parsed::Other);
    }
    let mut datagram = Datagram {
        source: u32::from_be_bytes([ip[12], ip[13], ip[14], ip[15]]),
        group,
        port: 0,
        vlan,
        // The individual/group bit.
        is_unicast: first & 1 == 0,
        ip_offset: ip_offset as u8,
        udp_offset: (ip_offset + header_len) as u16,
    };
    if u16::from_be_bytes([ip[6], ip[7]]) & ipv4::FRAGMENTED != 0 {
        return Some(Parsed::Fragment(datagram));
    }

    let ports: [u8; wire::UDP_LEN] = packet.load(ip_offset + header_len)?;
    datagram.port = u16::from_be_bytes([ports[udp::DESTINATION_PORT], ports[udp::DESTINATION_PORT + 1]]);
    Some(Parsed::Datagram(datagram))
}

/// The VLAN of the tag at `offset`, and the EtherType behind it.
#[inline(always)]
pub(crate) fn tag<P: Packet + ?Sized>(packet: &P, offset: usize) -> Option<(Vlan, u16)> {
    let tag: [u8; wire::VLAN_LEN] = packet.load(offset)?;
    let vlan = Vlan::tagged(u16::from_be_bytes([tag[0], tag[1]]) & wire::VLAN_ID_MASK);
    Some((vlan, u16::from_be_bytes([tag[2], tag[3]])))
}

#[cfg(test)]
mod tests;
