//! What the XDP program leaves to the worker: lengths, the IPv4 header checksum, partial UDP checksums.

use mcr_common::{
    checksum::{Sum, pseudo_header},
    flow::Datagram,
    wire::{self, ipv4, udp},
};

/// Checks the lengths and the IPv4 header checksum of a parsed frame; the end of the IP packet in it, or `None` where it is
/// malformed. What follows that end is Ethernet padding.
#[inline]
pub fn end_of_packet(frame: &[u8], datagram: &Datagram) -> Option<usize> {
    let (ip, udp_at) = (usize::from(datagram.ip_offset), usize::from(datagram.udp_offset));
    let end = ip + usize::from(be16(frame, ip + ipv4::TOTAL_LENGTH)?);
    let udp_length = usize::from(be16(frame, udp_at + udp::LENGTH)?);
    if end > frame.len() || udp_length < wire::UDP_LEN || udp_at + udp_length > end {
        return None;
    }
    // The sum over a sound header, its checksum included, is all ones.
    (Sum::default().header(frame.get(ip..udp_at)?).fold() == 0xffff).then_some(end)
}

/// Whether a frame that is too short for its packet ends with its headers: so the XDP program leaves a packet that is too long for a frame.
/// A damaged packet may look the same, so metadata is asked first.
#[inline]
pub fn is_cut(frame: &[u8], datagram: &Datagram) -> bool {
    let (ip, headers) = (usize::from(datagram.ip_offset), usize::from(datagram.udp_offset) + wire::UDP_LEN);
    let total = be16(frame, ip + ipv4::TOTAL_LENGTH).map_or(0, usize::from);
    frame.len() == headers && ip + total > headers
}

/// Whether a parsed frame ends before its IP packet does.
#[cold]
pub fn ends_early(frame: &[u8], datagram: &Datagram) -> bool {
    let ip = usize::from(datagram.ip_offset);
    be16(frame, ip + ipv4::TOTAL_LENGTH).is_none_or(|length| ip + usize::from(length) > frame.len())
}

/// Completes a partial UDP checksum: virtual interfaces leave only the pseudo-header's folded sum there (`CHECKSUM_PARTIAL`,
/// include/linux/skbuff.h), for a NIC to complete. One damaged packet in 65,535 looks the same, hence only on those.
#[inline]
pub fn complete_checksum(packet: &mut [u8], datagram: &Datagram) {
    let at = usize::from(datagram.udp_offset);
    let (Some(length), Some(checksum)) = (be16(packet, at + udp::LENGTH), be16(packet, at + udp::CHECKSUM)) else {
        return;
    };
    // Never true of 0, no checksum: the sum is at least the protocol's number.
    if checksum != pseudo_header(datagram.source, datagram.group, length).fold() {
        return;
    }
    // The field already holds the pseudo-header's sum, so the sum over header and payload is the whole.
    let Some(covered) = packet.get(at..at + usize::from(length)) else { return };
    let complete = match Sum::default().bytes(covered).finish() {
        0 => 0xffff,
        checksum => checksum,
    };
    packet[at + udp::CHECKSUM..at + udp::CHECKSUM + 2].copy_from_slice(&complete.to_be_bytes());
}

/// A big-endian word.
#[inline]
pub(super) fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests;
