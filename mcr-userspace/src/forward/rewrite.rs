//! Makes a packet what the plan says, in place. No I/O, no clock, no allocation.

use mcr_common::{
    checksum::Change,
    flow::Datagram,
    wire::{self, ipv4, udp},
};

use super::plan::Rewrite;
use crate::rules::rule::Vlan;

/// Rewrites the packet of `length` bytes at the start of `buffer`, which is valid (see
/// [`end_of_packet`](super::validate::end_of_packet)); its new length. It grows by four bytes where a tag is pushed: `buffer`
/// must have them.
#[inline]
pub fn rewrite(buffer: &mut [u8], length: usize, datagram: &Datagram, new: &Rewrite) -> usize {
    let (ip, udp_at) = (usize::from(datagram.ip_offset), usize::from(datagram.udp_offset));
    let addresses = Change::default().address(datagram.source, new.source).address(datagram.group, new.group);

    let header: &mut [u8; wire::IPV4_MIN_LEN] = part(buffer, ip);
    // Each checksummed word is read and written whole: a read of bytes that were just written one by one waits for them.
    let (old_tos, old_ttl) = (word(header, 0), word(header, ipv4::TTL));
    let new_tos = old_tos & 0xff00 | u16::from(new.tos);
    let new_ttl = old_ttl & 0x00ff | u16::from(new.ttl) << 8;
    let change = addresses.word(old_ttl, new_ttl).word(old_tos, new_tos);
    let checksum = change.apply(word(header, ipv4::CHECKSUM));
    put(header, 0, new_tos);
    put(header, ipv4::TTL, new_ttl);
    put(header, ipv4::CHECKSUM, checksum);
    header[ipv4::SOURCE..ipv4::SOURCE + 4].copy_from_slice(&new.source.to_be_bytes());
    header[ipv4::DESTINATION..ipv4::DESTINATION + 4].copy_from_slice(&new.group.to_be_bytes());

    let header: &mut [u8; wire::UDP_LEN] = part(buffer, udp_at);
    put(header, udp::DESTINATION_PORT, new.port);
    // RFC 768: 0 is no checksum and stays; a computed 0 is sent as all ones.
    let checksum = word(header, udp::CHECKSUM);
    if checksum != 0 {
        let updated = addresses.word(datagram.port, new.port).apply(checksum);
        put(header, udp::CHECKSUM, if updated == 0 { 0xffff } else { updated });
    }

    let length = retag(buffer, length, ip, new.vlan);
    buffer[0..6].copy_from_slice(&wire::group_mac(new.group));
    buffer[6..12].copy_from_slice(&new.mac);
    length
}

/// Moves the IP packet from `ip` to where it starts behind the new tag or none, and writes the bytes between. The new length.
#[inline]
fn retag(buffer: &mut [u8], length: usize, ip: usize, vlan: Vlan) -> usize {
    let tag = match vlan {
        Vlan::Keep => return length,
        Vlan::None => None,
        // The priority code point of a packet that comes with a tag stays; a new tag has none. Of two tags the one before the IP
        // header says the VLAN (see `mcr_common::parse`).
        Vlan::Set(id) if ip > wire::ETHERNET_LEN => Some(word(buffer, ip - wire::VLAN_LEN) & !wire::VLAN_ID_MASK | id),
        Vlan::Set(id) => Some(id),
    };
    let to = wire::ETHERNET_LEN + if tag.is_some() { wire::VLAN_LEN } else { 0 };
    if to != ip {
        buffer.copy_within(ip..length, to);
    }
    let mut at = wire::ETHERTYPE;
    if let Some(tag) = tag {
        put(buffer, at, wire::ETHERTYPE_VLAN);
        put(buffer, at + 2, tag);
        at += wire::VLAN_LEN;
    }
    put(buffer, at, wire::ETHERTYPE_IPV4);
    length - ip + to
}

/// A header's fixed part: one check of bounds for all of its fields.
#[inline]
fn part<const N: usize>(buffer: &mut [u8], at: usize) -> &mut [u8; N] {
    buffer[at..].first_chunk_mut().expect("a valid packet has its headers")
}

#[inline]
fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

#[inline]
fn put(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

#[cfg(test)]
mod tests;
