//! What a packet is matched by, and the layout of the maps that match it.
//!
//! The rules of one *shape* (source length, group length, kind of port) differ only in values, so one hash lookup
//! under the shape's masks finds the one that takes a packet. Shapes are tried from the most specific to the least
//! (see [`lookup`](crate::lookup)).

/// The headers of a datagram that matter to rules. Addresses and port in host byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// IPv4 source address.
    pub source: u32,
    /// IPv4 destination: a group.
    pub group: u32,
    /// UDP destination port; 0 in a fragment.
    pub port: u16,
    /// The frame's VLAN.
    pub vlan: Vlan,
    /// Whether the frame is for one Ethernet address. A rule takes it only where that is the interface's own.
    pub is_unicast: bool,
    /// Bytes from the start of the frame to the IPv4 header: 14, 18 behind a tag, or 22 behind a priority tag and another.
    pub ip_offset: u8,
    /// Bytes from the start of the frame to the UDP header.
    pub udp_offset: u16,
}

/// A frame's VLAN as rules see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Vlan(u16);

impl Vlan {
    /// No tag, or a priority tag alone (VLAN ID 0): the frame is in no VLAN (IEEE 802.1Q section 6.9).
    pub const UNTAGGED: Self = Self(0);
    /// Any tag or none: only in keys of [`PortKind::Group`].
    pub const ANY: Self = Self(0xffff);

    /// The VLAN of a frame with an 802.1Q tag of this VLAN ID (0 to 4095).
    #[inline(always)]
    pub const fn tagged(id: u16) -> Self {
        Self(id)
    }

    /// As a number, different for each.
    #[inline(always)]
    pub const fn bits(self) -> u16 {
        self.0
    }
}

/// What the ports of a shape's rules are; lower is more specific.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum PortKind {
    /// One port.
    Exact = 1,
    /// A block of a range.
    Range = 2,
    /// Any port.
    Any = 3,
    /// No rule at all: an entry that says that rules for the group exist, for packets that none of them takes.
    Group = 4,
}

/// Which bits of a packet count. `Ord` is the order of lookups: `a < b` where `a` is more specific.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Shape {
    /// Leading bits of the source address, 0 to 32; 0 is any source.
    pub source_len: u8,
    /// Leading bits of the group, 4 to 32.
    pub group_len: u8,
    /// Leading bits of the port, 0 to 16: 16 for an exact port, 0 for any.
    pub port_len: u8,
    /// A [`PortKind`], or 0 past the last shape of a table.
    pub kind: u8,
}

impl Shape {
    /// Past the last shape of a table.
    pub const END: Self = Self { source_len: 0, group_len: 0, port_len: 0, kind: 0 };

    /// As a number, different for each and 0 for [`END`](Self::END) alone.
    #[inline(always)]
    pub const fn to_bits(self) -> u32 {
        u32::from_be_bytes([self.kind, self.port_len, self.group_len, self.source_len])
    }

    /// The key under which a rule of this shape, if any, takes `datagram`.
    #[inline(always)]
    pub const fn key(self, ifindex: u32, vlan: Vlan, datagram: &Datagram) -> FlowKey {
        FlowKey {
            ifindex,
            source: datagram.source & mask(self.source_len),
            group: datagram.group & mask(self.group_len),
            port: datagram.port & (mask(self.port_len) >> 16) as u16,
            vlan,
            shape: self,
        }
    }
}

impl Ord for Shape {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        // Longer source, longer group, kind of port, narrower block: interface.md, "Matching".
        let rank = |s: &Self| (!s.source_len, !s.group_len, s.kind, !s.port_len);
        rank(self).cmp(&rank(other))
    }
}

impl PartialOrd for Shape {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// A mask of `length` leading bits, 0 to 32.
#[inline(always)]
const fn mask(length: u8) -> u32 {
    // In 64 bits, since a shift by 32 is undefined in 32; the mask keeps the verifier and the optimiser sure of the range.
    (0xffff_ffff_u64 << (32 - (length as u32 & 63))) as u32
}

/// What an entry of the table of rules is found by; key of the map `GROUP_FLOWS`. No padding: the kernel compares bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct FlowKey {
    /// Ingress interface.
    pub ifindex: u32,
    /// Source address under the shape's mask, host byte order.
    pub source: u32,
    /// Group under the shape's mask, host byte order.
    pub group: u32,
    /// Port under the shape's mask, host byte order.
    pub port: u16,
    /// The frame's VLAN.
    pub vlan: Vlan,
    /// The shape.
    pub shape: Shape,
}

/// What the table of rules says of a key; value of the map `GROUP_FLOWS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct FlowValue {
    /// The rule's slot: its index in `COUNTS`.
    pub slot: u32,
    /// Index in `XSKS` of the ingress interface's queue 0.
    pub xsk_base: u32,
    /// Indices from there on that are the interface's.
    pub queues: u32,
}

/// Value of the map `COUNTS`, one for each slot and CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FlowCount {
    /// Packets steered.
    pub packets: u64,
    /// Their bytes, from the Ethernet header to the end of the frame.
    pub bytes: u64,
}

/// What the program knows of an interface with sockets; value of the map `INTERFACES`, at the index of the interface's queue 0 in `XSKS`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct InterfaceFacts {
    /// Its own Ethernet address.
    pub mac: [u8; 6],
    /// Where the program runs on skbs: a [`Generic`].
    pub generic: u16,
    /// Bytes of the longest frame that its UMEM takes, from the Ethernet header on.
    pub capacity: u32,
    /// Bytes of the longest merged packet that its sockets take; 0 where they take none.
    pub merged: u32,
}

/// Whether the program may find skbs on an interface, which alone can be several datagrams in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Generic {
    /// Each packet is the driver's own.
    Never = 0,
    /// Each packet is an skb.
    Always = 1,
    /// Some packets are skbs: the driver hands those to generic XDP that it cannot build a buffer for (drivers/net/tun.c).
    Sometimes = 2,
}
