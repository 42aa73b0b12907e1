//! What a driver says it can do with XDP: the generic netlink family `netdev` (linux/netdev.h), from Linux 6.3.

use std::io;

use super::netlink::{ask, attribute, attributes};

// linux/genetlink.h.
const GENL_ID_CTRL: u16 = 16;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
/// linux/genetlink.h: bytes of `struct genlmsghdr`.
const GENLMSGHDR: usize = 4;
// linux/netdev.h.
const NETDEV_CMD_DEV_GET: u8 = 1;
const NETDEV_A_DEV_IFINDEX: u16 = 1;
const NETDEV_A_DEV_XDP_FEATURES: u16 = 3;
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
    let name = attribute(CTRL_ATTR_FAMILY_NAME, b"netdev\0");
    let id = call(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, &name, CTRL_ATTR_FAMILY_ID)?;
    let id = id.first_chunk().map(|id| u16::from_ne_bytes(*id)).ok_or_else(nothing)?;
    let device = attribute(NETDEV_A_DEV_IFINDEX, &ifindex.to_ne_bytes());
    let features = call(id, NETDEV_CMD_DEV_GET, &device, NETDEV_A_DEV_XDP_FEATURES)?;
    let features = features.first_chunk().map(|bits| u64::from_ne_bytes(*bits)).ok_or_else(nothing)?;
    let has = |bits| features & bits == bits;
    Ok(XdpFeatures {
        native: has(NETDEV_XDP_ACT_BASIC | NETDEV_XDP_ACT_REDIRECT),
        zero_copy: has(NETDEV_XDP_ACT_XSK_ZEROCOPY),
    })
}

/// Asks one question, and returns the value of an attribute of its answer.
fn call(family: u16, command: u8, attributes_sent: &[u8], wanted: u16) -> io::Result<Vec<u8>> {
    let body = [&[command, 1, 0, 0], attributes_sent].concat();
    let answers = ask(libc::NETLINK_GENERIC, family, 0, &body)?;
    let answer = answers.first().and_then(|answer| answer.get(GENLMSGHDR..)).ok_or_else(nothing)?;
    attributes(answer).find(|(kind, _)| *kind == wanted).map(|(_, value)| value.to_vec()).ok_or_else(nothing)
}

fn nothing() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer lacks what was asked for")
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
}
