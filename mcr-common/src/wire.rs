//! Offsets and values of the headers that mcr reads and writes.
//!
//! Ethernet: IEEE 802.3 and 802.1Q; IPv4: RFC 791; UDP: RFC 768. All offsets are in bytes from the start of their header,
//! all multi-byte fields are big-endian on the wire.

/// Bytes of an untagged Ethernet header.
pub const ETHERNET_LEN: usize = 14;
/// Bytes of an 802.1Q tag.
pub const VLAN_LEN: usize = 4;
/// Bytes of an IPv4 header without options.
pub const IPV4_MIN_LEN: usize = 20;
/// Bytes of a UDP header.
pub const UDP_LEN: usize = 8;

/// EtherType of IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// EtherType of an 802.1Q tag.
pub const ETHERTYPE_VLAN: u16 = 0x8100;
/// EtherType of an 802.1ad service tag.
pub const ETHERTYPE_SERVICE_VLAN: u16 = 0x88a8;
/// EtherTypes of tags that some switches put before an 802.1Q tag, older than 802.1ad's.
pub const ETHERTYPES_OLD_SERVICE_VLAN: [u16; 3] = [0x9100, 0x9200, 0x9300];
/// IPv4 protocol number of UDP.
pub const PROTOCOL_UDP: u8 = 17;
/// Low twelve bits of an 802.1Q tag: the VLAN ID.
pub const VLAN_ID_MASK: u16 = 0x0fff;

/// Offset of the EtherType, or of an 802.1Q tag, in an Ethernet header.
pub const ETHERTYPE: usize = 12;

/// Offsets in an IPv4 header.
pub mod ipv4 {
    /// DSCP (six bits) and ECN (two bits).
    pub const TOS: usize = 1;
    /// Header and payload, in bytes.
    pub const TOTAL_LENGTH: usize = 2;
    /// Identification: the same in all fragments of a datagram.
    pub const IDENTIFICATION: usize = 4;
    /// Three flags and the fragment offset.
    pub const FRAGMENT: usize = 6;
    /// Time to live.
    pub const TTL: usize = 8;
    /// Protocol of the payload.
    pub const PROTOCOL: usize = 9;
    /// Header checksum.
    pub const CHECKSUM: usize = 10;
    /// Source address.
    pub const SOURCE: usize = 12;
    /// Destination address.
    pub const DESTINATION: usize = 16;
    /// "More fragments" and the fragment offset: zero in a datagram that is whole.
    pub const FRAGMENTED: u16 = 0x3fff;
}

/// Offsets in a UDP header.
pub mod udp {
    /// Source port.
    pub const SOURCE_PORT: usize = 0;
    /// Destination port.
    pub const DESTINATION_PORT: usize = 2;
    /// Header and payload, in bytes.
    pub const LENGTH: usize = 4;
    /// Checksum over the pseudo-header, header and payload; 0 is none.
    pub const CHECKSUM: usize = 6;
}

/// Destination ports of the Precision Time Protocol (IEEE 1588), which are never forwarded: a relay's delay would be taken for the path's.
pub const PTP_PORTS: [u16; 2] = [319, 320];

/// Whether `group` (host byte order) is a multicast address outside the Local Network Control Block 224.0.0.0/24,
/// which routers must not forward (RFC 5771 section 4).
#[inline(always)]
pub const fn is_forwardable_group(group: u32) -> bool {
    group >> 28 == 0xe && group >> 8 != 0x00e0_0000
}

/// Whether `source` (host byte order) is an address that no datagram on a network may come from, so that routers must drop the datagram
/// (RFC 1812 section 5.3.7; RFC 6890): 0.0.0.0/8, 127.0.0.0/8, multicast and 240.0.0.0/4 with the broadcast address.
#[inline(always)]
pub const fn is_martian_source(source: u32) -> bool {
    let network = source >> 24;
    network == 0 || network == 127 || network >= 224
}

/// The Ethernet address of an IPv4 group (host byte order): RFC 1112 section 6.4.
#[inline(always)]
pub const fn group_mac(group: u32) -> [u8; 6] {
    let [_, b, c, d] = group.to_be_bytes();
    [0x01, 0x00, 0x5e, b & 0x7f, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn martians_come_from_no_network() {
        let is = |a: u8, b: u8, c: u8, d: u8| is_martian_source(u32::from_be_bytes([a, b, c, d]));
        for [a, b, c, d] in
            [[0, 0, 0, 0], [0, 1, 2, 3], [127, 0, 0, 1], [127, 255, 255, 255], [224, 0, 0, 1], [239, 1, 1, 1]]
        {
            assert!(is(a, b, c, d), "{a}.{b}.{c}.{d}");
        }
        assert!(is(240, 0, 0, 1) && is(255, 255, 255, 255));
        for [a, b, c, d] in
            [[1, 0, 0, 0], [10, 0, 0, 5], [126, 255, 255, 255], [128, 0, 0, 1], [169, 254, 7, 7], [223, 255, 255, 255]]
        {
            assert!(!is(a, b, c, d), "{a}.{b}.{c}.{d}");
        }
    }
}
