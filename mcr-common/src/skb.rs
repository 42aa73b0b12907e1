//! What the XDP program reads of the kernel's own structures: where it lies, and what it says.

/// Where fields lie in the running kernel, in bytes, as its BTF has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Offsets {
    /// `data_hard_start` in `struct xdp_buff`.
    pub hard_start: u32,
    /// `frame_sz` in `struct xdp_buff`.
    pub frame_size: u32,
    /// `rxq` in `struct xdp_buff`.
    pub queue: u32,
    /// `dev` in `struct xdp_rxq_info`.
    pub device: u32,
    /// `_rx` in `struct net_device`.
    pub queues: u32,
    /// `xdp_rxq` in `struct netdev_rx_queue`.
    pub queue_info: u32,
    /// Bytes of `struct netdev_rx_queue`.
    pub queue_size: u32,
    /// `struct skb_shared_info` lies so far before the end of an skb's head: its size in whole cache lines. 0: nothing is known.
    pub shared_info: u32,
    /// `gso_size` in `struct skb_shared_info`.
    pub gso_size: u32,
    /// `gso_type` in `struct skb_shared_info`.
    pub gso_type: u32,
}

impl Offsets {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self {
        hard_start: 0,
        frame_size: 0,
        queue: 0,
        device: 0,
        queues: 0,
        queue_info: 0,
        queue_size: 0,
        shared_info: 0,
        gso_size: 0,
        gso_type: 0,
    };
}

// `gso_type` of `struct skb_shared_info` (include/linux/skbuff.h).

/// From a sender that is not trusted.
pub const DODGY: u32 = 1 << 1;
/// Device-side segmentation of a part.
pub const PARTIAL: u32 = 1 << 12;
/// One datagram that is to be sent as IP fragments.
pub const UDP: u32 = 1 << 16;
/// Datagrams of one size.
pub const UDP_L4: u32 = 1 << 17;
/// Datagrams that are kept in a list; linear by the time that XDP sees them.
pub const FRAGLIST: u32 = 1 << 18;
