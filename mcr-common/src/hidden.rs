//! A second look at frames that the parser makes nothing of, for those who ask what no rule takes.

use crate::{
    flow::{Datagram, Vlan},
    parse::{Packet, Parsed, datagram, tag},
    wire,
};

/// Multicast UDP that no rule can match: behind tags that the parser does not read, or PTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hidden {
    /// Its headers. Behind tags that the parser does not read the VLAN is that of the first.
    pub datagram: Datagram,
    /// Whether it is a fragment.
    pub is_fragment: bool,
    /// The tags that the parser does not read.
    pub tags: Tags,
}

/// VLAN tags that the parser does not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tags {
    /// How many, 3 at most; 0: those that there are, if any, are read.
    pub count: u8,
    /// EtherType of the first.
    pub ethertype: u16,
    /// VLAN of the second.
    pub inner: Vlan,
}

impl Tags {
    /// None that is not read.
    pub const NONE: Self = Self { count: 0, ethertype: 0, inner: Vlan::UNTAGGED };
}

/// What the parser makes nothing of, where it is multicast UDP all the same. To be asked of such frames alone.
#[inline(always)]
pub fn look<P: Packet + ?Sized>(packet: &P) -> Option<Hidden> {
    let ethernet: [u8; wire::ETHERNET_LEN] = packet.load(0)?;
    let mut ethertype = u16::from_be_bytes([ethernet[12], ethernet[13]]);
    let (mut vlan, mut tags, mut ip_offset) = (Vlan::UNTAGGED, Tags::NONE, wire::ETHERNET_LEN);
    if is_tag(ethertype) {
        let (first, behind) = tag(packet, ip_offset)?;
        tags = Tags { count: 1, ethertype, ..tags };
        let mut is_read =
            ethertype == wire::ETHERTYPE_VLAN || ethertype == wire::ETHERTYPE_SERVICE_VLAN && first == Vlan::UNTAGGED;
        (vlan, ethertype, ip_offset) = (first, behind, ip_offset + wire::VLAN_LEN);
        if is_tag(ethertype) {
            let (second, behind) = tag(packet, ip_offset)?;
            tags = Tags { count: 2, inner: second, ..tags };
            is_read &= first == Vlan::UNTAGGED && ethertype == wire::ETHERTYPE_VLAN;
            if is_read {
                vlan = second;
            }
            (ethertype, ip_offset) = (behind, ip_offset + wire::VLAN_LEN);
        }
        if is_tag(ethertype) {
            let (_, behind) = tag(packet, ip_offset)?;
            tags.count = 3;
            (is_read, vlan, ethertype, ip_offset) = (false, first, behind, ip_offset + wire::VLAN_LEN);
        }
        if is_read {
            tags = Tags::NONE;
        }
    }
    if ethertype != wire::ETHERTYPE_IPV4 {
        return None;
    }
    match datagram(packet, ethernet[0], vlan, ip_offset)? {
        Parsed::Other => None,
        Parsed::Fragment(datagram) => Some(Hidden { datagram, is_fragment: true, tags }),
        Parsed::Datagram(datagram) => Some(Hidden { datagram, is_fragment: false, tags }),
    }
}

#[inline(always)]
fn is_tag(ethertype: u16) -> bool {
    ethertype == wire::ETHERTYPE_VLAN
        || ethertype == wire::ETHERTYPE_SERVICE_VLAN
        || wire::ETHERTYPES_OLD_SERVICE_VLAN.contains(&ethertype)
}
