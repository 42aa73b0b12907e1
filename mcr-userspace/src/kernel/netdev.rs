//! What a driver says of XDP and of its queues: the generic netlink family `netdev` (linux/netdev.h), from Linux 6.3.

use std::io;

use super::{
    genl::{call, family, nothing},
    netlink::{attribute, attributes},
};

// linux/netdev.h.
const NETDEV_CMD_DEV_GET: u8 = 1;
const NETDEV_A_DEV_IFINDEX: u16 = 1;
const NETDEV_A_DEV_XDP_FEATURES: u16 = 3;
const NETDEV_CMD_QUEUE_GET: u8 = 10;
const NETDEV_A_QUEUE_ID: u16 = 1;
const NETDEV_A_QUEUE_IFINDEX: u16 = 2;
const NETDEV_A_QUEUE_TYPE: u16 = 3;
const NETDEV_A_QUEUE_NAPI_ID: u16 = 4;
const NETDEV_QUEUE_TYPE_RX: u32 = 0;
const NETDEV_QUEUE_TYPE_TX: u32 = 1;
const NETDEV_XDP_ACT_BASIC: u64 = 1;
const NETDEV_XDP_ACT_REDIRECT: u64 = 2;
const NETDEV_XDP_ACT_XSK_ZEROCOPY: u64 = 8;

/// What a driver says of itself. It may refuse all the same, for how the interface is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct XdpFeatures {
    /// It runs programs, and lets them redirect to AF_XDP sockets.
    pub native: bool,
    /// AF_XDP sockets may be zero-copy.
    pub zero_copy: bool,
}

/// What the driver of an interface says; an error where the kernel does not know the question.
pub fn xdp_features(ifindex: u32) -> io::Result<XdpFeatures> {
    let id = family("netdev")?.id;
    let device = attribute(NETDEV_A_DEV_IFINDEX, &ifindex.to_ne_bytes());
    let answer = call(id, NETDEV_CMD_DEV_GET, &device)?;
    let features = attributes(&answer).find(|(kind, _)| *kind == NETDEV_A_DEV_XDP_FEATURES);
    let features = features.and_then(|(_, value)| value.first_chunk()).ok_or_else(nothing)?;
    let features = u64::from_ne_bytes(*features);
    let has = |bits| features & bits == bits;
    Ok(XdpFeatures {
        native: has(NETDEV_XDP_ACT_BASIC | NETDEV_XDP_ACT_REDIRECT),
        zero_copy: has(NETDEV_XDP_ACT_XSK_ZEROCOPY),
    })
}

/// Whether receiving and sending of a queue are served by one NAPI instance, so by one interrupt; `None` where the kernel (before 6.8)
/// or the driver does not say.
pub fn is_paired(ifindex: u32, queue: u32) -> Option<bool> {
    let id = family("netdev").ok()?.id;
    let napi = |of: u32| -> Option<u32> {
        let asked = [
            attribute(NETDEV_A_QUEUE_IFINDEX, &ifindex.to_ne_bytes()),
            attribute(NETDEV_A_QUEUE_TYPE, &of.to_ne_bytes()),
            attribute(NETDEV_A_QUEUE_ID, &queue.to_ne_bytes()),
        ];
        let answer = call(id, NETDEV_CMD_QUEUE_GET, &asked.concat()).ok()?;
        let (_, value) = attributes(&answer).find(|(kind, _)| *kind == NETDEV_A_QUEUE_NAPI_ID)?;
        Some(u32::from_ne_bytes(*value.first_chunk()?))
    };
    Some(napi(NETDEV_QUEUE_TYPE_RX)? == napi(NETDEV_QUEUE_TYPE_TX)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the kernel knows the question: the loopback has no native XDP.
    #[test]
    fn the_loopback_has_none() {
        if let Ok(features) = xdp_features(1) {
            assert_eq!(features, XdpFeatures::default());
        }
    }

    #[test]
    fn the_loopback_says_nothing_of_its_queues() {
        assert_eq!(is_paired(1, 0), None);
    }
}
