//! What the XDP program records of the multicast that no rule takes, while somebody asks.

use crate::{
    counter::Verdict,
    flow::{Datagram, Vlan},
};

/// Flows that are kept at once; beyond, the ones least recently seen are forgotten.
pub const MAX_UNMATCHED: u32 = 4096;

/// Key of the map `UNMATCHED`, whose value is a number of packets. No padding: the kernel compares bytes. Addresses and port in host
/// byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct UnmatchedKey {
    /// Ingress interface.
    pub ifindex: u32,
    /// Source address.
    pub source: u32,
    /// Group.
    pub group: u32,
    /// UDP destination port; 0 of a fragment.
    pub port: u16,
    /// The frame's VLAN.
    pub vlan: Vlan,
    /// The [`Verdict`].
    pub verdict: u8,
    /// 1 where the frame is for one Ethernet address.
    pub is_unicast: u8,
    /// 0.
    pub reserved: u16,
}

impl UnmatchedKey {
    /// The key of a packet that came in on `ifindex` and was passed on with this verdict.
    #[inline(always)]
    pub const fn new(ifindex: u32, datagram: &Datagram, verdict: Verdict) -> Self {
        Self {
            ifindex,
            source: datagram.source,
            group: datagram.group,
            port: datagram.port,
            vlan: datagram.vlan,
            verdict: verdict as u8,
            is_unicast: datagram.is_unicast as u8,
            reserved: 0,
        }
    }
}
