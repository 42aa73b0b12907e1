//! Interfaces as rtnetlink describes them (rtnetlink(7), linux/if_link.h): what an `ioctl` does not tell.

use std::{fmt, io};

use mcr_common::wire::ETHERTYPE_VLAN;

use super::netlink::{ask_route, attribute, attributes, number, text};

// linux/if_link.h.
const IFLA_IFNAME: u16 = 3;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_EXT_MASK: u16 = 29;
const IFLA_PROMISCUITY: u16 = 30;
const IFLA_CARRIER: u16 = 33;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_XDP: u16 = 43;
const IFLA_PARENT_DEV_BUS_NAME: u16 = 57;
const IFLA_PROP_LIST: u16 = 52;
const IFLA_ALT_IFNAME: u16 = 53;
const IFLA_ALLMULTI: u16 = 61;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_VLAN_ID: u16 = 1;
const IFLA_VLAN_PROTOCOL: u16 = 5;
const IFLA_XDP_ATTACHED: u16 = 2;
const IFLA_XDP_PROG_ID: u16 = 4;
/// linux/rtnetlink.h: bytes of `struct ifinfomsg`.
const IFINFOMSG: usize = 16;
/// linux/rtnetlink.h: statistics are left out.
const RTEXT_FILTER_SKIP_STATS: u32 = 1 << 3;

/// An interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Its index.
    pub ifindex: u32,
    /// Its name.
    pub name: String,
    /// Further names of it (`ip link property add dev NAME altname OTHER`).
    pub altnames: Vec<String>,
    /// What its addresses are like (linux/if_arp.h): `ARPHRD_ETHER` and others.
    pub hardware: u16,
    /// `IFF_UP` and others.
    pub flags: u32,
    /// What made it: `veth`, `bridge`, `vlan` and others; empty for a device.
    pub kind: String,
    /// The VLAN (802.1Q) whose frames it sends and receives, on [`other_end`](Self::other_end).
    pub vlan: Option<u16>,
    /// The bridge or bond that it is a port of.
    pub master: Option<u32>,
    /// Of which kind that is: `bridge`, `bond`, `team` and others; empty where it is a port of nothing.
    pub port_of: String,
    /// The veth's peer, or the interface that a VLAN is on, where that is in this network namespace.
    pub other_end: Option<u32>,
    /// Whether that one is in another network namespace.
    pub other_end_elsewhere: bool,
    /// Whether there is somebody at the other end of the cable.
    pub carrier: bool,
    /// Whether it takes every multicast packet, whoever asked for it: allmulticast, or promiscuous for a bridge or tcpdump.
    pub takes_all_multicast: bool,
    /// The XDP program that is attached.
    pub xdp: Option<AttachedXdp>,
    /// The bus of the device that it is on, such as `pci` or `virtio`; empty where it is on no device.
    pub bus: String,
}

/// An XDP program as its interface shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttachedXdp {
    /// Where it runs.
    pub mode: XdpPlace,
    /// The program's id; 0 where there are several.
    pub program: u32,
}

/// Where an XDP program runs (linux/if_link.h, `XDP_ATTACHED_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpPlace {
    /// In the driver.
    Driver,
    /// In the stack.
    Skb,
    /// In the device.
    Device,
    /// In several of these.
    Several,
}

impl XdpPlace {
    /// The word that takes a program away, for `ip link set dev NAME ... off`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Skb => "xdpgeneric",
            Self::Device => "xdpoffload",
            Self::Driver | Self::Several => "xdp",
        }
    }
}

impl fmt::Display for XdpPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Driver => "driver",
            Self::Skb => "skb",
            Self::Device => "offloaded",
            Self::Several => "several",
        })
    }
}

/// The interface that was probably meant by a name, where no interface has that name.
pub fn alike(name: &str) -> Option<String> {
    let near = all().ok()?.into_iter().map(|link| (strsim::osa_distance(name, &link.name), link.name));
    let nearest = near.filter(|(distance, _)| *distance <= name.len().max(3).div_ceil(3)).min();
    nearest.filter(|(distance, _)| *distance > 0).map(|(_, name)| name)
}

/// All interfaces of this network namespace.
pub fn all() -> io::Result<Vec<Link>> {
    let answers = ask_route(libc::RTM_GETLINK, libc::NLM_F_DUMP, &[&[0; IFINFOMSG][..], &lean()].concat())?;
    Ok(answers.iter().filter_map(|answer| read(answer)).collect())
}

/// The names of the ports of a bridge or bond; none of any other interface.
///
/// # Errors
///
/// As [`all`].
pub fn ports_of(name: &str) -> io::Result<Vec<String>> {
    let all = all()?;
    let Some(bridge) = all.iter().find(|link| link.name == name) else { return Ok(Vec::new()) };
    Ok(all.iter().filter(|link| link.master == Some(bridge.ifindex)).map(|link| link.name.clone()).collect())
}

/// The interface of this index; `ENODEV` where there is none.
pub fn of(ifindex: u32) -> io::Result<Link> {
    let mut body = vec![0; IFINFOMSG];
    body[4..8].copy_from_slice(&ifindex.to_ne_bytes());
    body.extend(lean());
    let answers = ask_route(libc::RTM_GETLINK, 0, &body)?;
    answers.iter().find_map(|answer| read(answer)).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Asks for what is read here, and not for counters.
fn lean() -> Vec<u8> {
    attribute(IFLA_EXT_MASK, &RTEXT_FILTER_SKIP_STATS.to_ne_bytes())
}

/// Reads a `struct ifinfomsg` and what follows it.
fn read(message: &[u8]) -> Option<Link> {
    let (head, rest) = message.split_first_chunk::<IFINFOMSG>()?;
    let [_, _, type_low, type_high, i0, i1, i2, i3, f0, f1, f2, f3, ..] = *head;
    let flags = u32::from_ne_bytes([f0, f1, f2, f3]);
    let mut link = Link {
        ifindex: u32::from_ne_bytes([i0, i1, i2, i3]),
        hardware: u16::from_ne_bytes([type_low, type_high]),
        flags,
        takes_all_multicast: flags & (libc::IFF_PROMISC | libc::IFF_ALLMULTI) as u32 != 0,
        ..Link::default()
    };
    for (kind, value) in attributes(rest) {
        match kind {
            IFLA_IFNAME => link.name = text(value),
            IFLA_LINK => link.other_end = number(value).filter(|&index| index != 0),
            IFLA_LINK_NETNSID => link.other_end_elsewhere = true,
            IFLA_MASTER => link.master = number(value),
            IFLA_CARRIER => link.carrier = value.first() == Some(&1),
            IFLA_PROMISCUITY | IFLA_ALLMULTI => link.takes_all_multicast |= number(value).is_some_and(|n| n > 0),
            IFLA_LINKINFO => {
                let find = |wanted| attributes(value).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
                link.kind = find(IFLA_INFO_KIND).map(text).unwrap_or_default();
                link.port_of = find(IFLA_INFO_SLAVE_KIND).map(text).unwrap_or_default();
                link.vlan = find(IFLA_INFO_DATA).filter(|_| link.kind == "vlan").and_then(vlan);
            }
            IFLA_PROP_LIST => {
                let names = attributes(value).filter(|(kind, _)| *kind == IFLA_ALT_IFNAME);
                link.altnames.extend(names.map(|(_, name)| text(name)));
            }
            IFLA_XDP => link.xdp = attached(value),
            IFLA_PARENT_DEV_BUS_NAME => link.bus = text(value),
            _ => {}
        }
    }
    if link.other_end_elsewhere {
        // An index of another namespace's.
        link.other_end = None;
    }
    Some(link)
}

/// The ID of what makes a `vlan`; of no other tag than 802.1Q's.
fn vlan(value: &[u8]) -> Option<u16> {
    let find = |wanted| attributes(value).find(|(kind, _)| *kind == wanted).and_then(|(_, value)| value.first_chunk());
    let is_ours = find(IFLA_VLAN_PROTOCOL).is_none_or(|protocol| u16::from_be_bytes(*protocol) == ETHERTYPE_VLAN);
    find(IFLA_VLAN_ID).filter(|_| is_ours).map(|id| u16::from_ne_bytes(*id))
}

fn attached(value: &[u8]) -> Option<AttachedXdp> {
    let find = |wanted| attributes(value).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
    let mode = match find(IFLA_XDP_ATTACHED)?.first()? {
        1 => XdpPlace::Driver,
        2 => XdpPlace::Skb,
        3 => XdpPlace::Device,
        4 => XdpPlace::Several,
        _ => return None,
    };
    Some(AttachedXdp { mode, program: find(IFLA_XDP_PROG_ID).and_then(number).unwrap_or(0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_is_listed() {
        let links = all().expect("rtnetlink answers anybody");
        let lo = links.iter().find(|link| link.name == "lo").expect("lo is there");
        assert_eq!((lo.hardware, lo.kind.as_str(), lo.xdp), (libc::ARPHRD_LOOPBACK, "", None));
        assert_eq!(of(lo.ifindex).map(|alone| (alone.name, alone.hardware)).ok(), Some(("lo".into(), lo.hardware)));
        assert_eq!(of(u32::MAX >> 1).expect_err("there are not so many").raw_os_error(), Some(libc::ENODEV));
    }

    #[test]
    fn a_peer_elsewhere_has_no_index_here() {
        let mut message = vec![0; IFINFOMSG];
        message[4..8].copy_from_slice(&9u32.to_ne_bytes());
        let xdp = [attribute(IFLA_XDP_ATTACHED, &[2]), attribute(IFLA_XDP_PROG_ID, &42u32.to_ne_bytes())].concat();
        message.extend(attribute(IFLA_IFNAME, b"v1\0"));
        message.extend(attribute(IFLA_LINK, &2u32.to_ne_bytes()));
        message.extend(attribute(IFLA_LINKINFO, &attribute(IFLA_INFO_KIND, b"veth\0")));
        message.extend(attribute(IFLA_XDP, &xdp));
        let here = read(&message).expect("whole");
        assert_eq!((here.ifindex, here.name.as_str(), here.kind.as_str()), (9, "v1", "veth"));
        assert_eq!(here.other_end, Some(2));
        assert_eq!(here.xdp, Some(AttachedXdp { mode: XdpPlace::Skb, program: 42 }));
        message.extend(attribute(IFLA_LINK_NETNSID, &0u32.to_ne_bytes()));
        let there = read(&message).expect("whole");
        assert_eq!((there.other_end, there.other_end_elsewhere), (None, true));
    }

    #[test]
    fn names_and_what_it_is_a_port_of() {
        let names = [attribute(IFLA_ALT_IFNAME, b"uplink\0"), attribute(IFLA_ALT_IFNAME, b"a-name-of-more-than-15\0")];
        let message = [
            vec![0; IFINFOMSG],
            attribute(IFLA_MASTER, &7u32.to_ne_bytes()),
            attribute(IFLA_PROP_LIST | 0x8000, &names.concat()),
            attribute(IFLA_LINKINFO, &attribute(IFLA_INFO_SLAVE_KIND, b"team\0")),
        ];
        let link = read(&message.concat()).expect("whole");
        assert_eq!(link.altnames, ["uplink", "a-name-of-more-than-15"]);
        assert_eq!((link.master, link.port_of.as_str(), link.kind.as_str()), (Some(7), "team", ""));
    }

    #[test]
    fn a_vlan_has_its_id() {
        let message = |kind: &[u8], protocol: u16| {
            let data = [attribute(IFLA_VLAN_ID, &[100, 0]), attribute(IFLA_VLAN_PROTOCOL, &protocol.to_be_bytes())];
            let info = [attribute(IFLA_INFO_KIND, kind), attribute(IFLA_INFO_DATA, &data.concat())].concat();
            let link = [attribute(IFLA_LINK, &4u32.to_ne_bytes()), attribute(IFLA_LINKINFO, &info)].concat();
            [vec![0; IFINFOMSG], link].concat()
        };
        let of = |kind, protocol| read(&message(kind, protocol)).map(|link| (link.other_end, link.vlan));
        assert_eq!(of(b"vlan\0", 0x8100), Some((Some(4), Some(100))));
        assert_eq!(of(b"vlan\0", 0x88a8), Some((Some(4), None)), "802.1ad");
        assert_eq!(of(b"vxlan\0", 0x8100), Some((Some(4), None)));
    }
}
