//! Generic netlink (linux/genetlink.h): families are found by their names.

use std::io;

use super::netlink::{ask, attribute, attributes, number, text};

const GENL_ID_CTRL: u16 = 16;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
const CTRL_ATTR_MCAST_GROUPS: u16 = 7;
const CTRL_ATTR_MCAST_GRP_NAME: u16 = 1;
const CTRL_ATTR_MCAST_GRP_ID: u16 = 2;
/// Bytes of `struct genlmsghdr`.
const GENLMSGHDR: usize = 4;

/// A family that the kernel has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Family {
    /// The type of its messages.
    pub id: u16,
    /// Its multicast groups, by name.
    pub groups: Vec<(String, u32)>,
}

/// The family of this name.
pub(super) fn family(name: &str) -> io::Result<Family> {
    let name = attribute(CTRL_ATTR_FAMILY_NAME, format!("{name}\0").as_bytes());
    let answer = call(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, &name)?;
    let of = |wanted| attributes(&answer).find(move |(kind, _)| *kind == wanted).map(|(_, value)| value);
    let id = of(CTRL_ATTR_FAMILY_ID).and_then(<[u8]>::first_chunk).ok_or_else(nothing)?;
    let group = |(_, group)| {
        let of = |wanted| attributes(group).find(move |(kind, _)| *kind == wanted).map(|(_, value)| value);
        Some((text(of(CTRL_ATTR_MCAST_GRP_NAME)?), number(of(CTRL_ATTR_MCAST_GRP_ID)?)?))
    };
    let groups = of(CTRL_ATTR_MCAST_GROUPS).into_iter().flat_map(attributes).filter_map(group).collect();
    Ok(Family { id: u16::from_ne_bytes(*id), groups })
}

/// Asks one question, and returns the attributes of its answer.
pub(super) fn call(family: u16, command: u8, attributes_sent: &[u8]) -> io::Result<Vec<u8>> {
    let body = [&[command, 1, 0, 0], attributes_sent].concat();
    let answers = ask(libc::NETLINK_GENERIC, family, 0, &body)?;
    answers.first().and_then(|answer| answer.get(GENLMSGHDR..)).map(<[u8]>::to_vec).ok_or_else(nothing)
}

/// An answer that lacks something.
pub(super) fn nothing() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer lacks what was asked for")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The family of families is always there, under its own number and with a group for news of them.
    #[test]
    fn the_control_family_is_found() -> io::Result<()> {
        let control = family("nlctrl")?;
        assert_eq!(control.id, GENL_ID_CTRL);
        assert!(control.groups.iter().any(|(name, _)| name == "notify"));
        assert_eq!(family("no-such-family").map_err(|error| error.raw_os_error()), Err(Some(libc::ENOENT)));
        Ok(())
    }
}
