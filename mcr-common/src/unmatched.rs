//! What the XDP program records of the multicast that no rule takes, while somebody asks.

use crate::{
    counter::Verdict,
    flow::{Datagram, Vlan},
    hidden::{Hidden, Tags},
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
    /// The frame's VLAN; behind [`tags`](Self::tags) that of the first.
    pub vlan: Vlan,
    /// VLAN of the second tag, where there are two in `tags`.
    pub inner: Vlan,
    /// EtherType of the first of `tags`; 0 where there are none.
    pub tag_type: u16,
    /// VLAN tags that the parser does not read: [`Tags::count`].
    pub tags: u8,
    /// The [`Verdict`].
    pub verdict: u8,
    /// 1 where the frame is for one Ethernet address.
    pub is_unicast: u8,
    /// 1 of a fragment.
    pub is_fragment: u8,
}

const _: () = assert!(size_of::<UnmatchedKey>() == 24, "no padding");

impl UnmatchedKey {
    /// The key of a packet that came in on `ifindex` and was passed on with this verdict.
    #[inline(always)]
    pub const fn new(ifindex: u32, datagram: &Datagram, is_fragment: bool, verdict: Verdict) -> Self {
        Self::hidden(ifindex, &Hidden { datagram: *datagram, is_fragment, tags: Tags::NONE }, verdict)
    }

    /// The key of a packet that the parser made nothing of.
    #[inline(always)]
    pub const fn hidden(ifindex: u32, hidden: &Hidden, verdict: Verdict) -> Self {
        let Hidden { datagram, is_fragment, tags } = hidden;
        Self {
            ifindex,
            source: datagram.source,
            group: datagram.group,
            port: datagram.port,
            vlan: datagram.vlan,
            inner: tags.inner,
            tag_type: tags.ethertype,
            tags: tags.count,
            verdict: verdict as u8,
            is_unicast: datagram.is_unicast as u8,
            is_fragment: *is_fragment as u8,
        }
    }
}
