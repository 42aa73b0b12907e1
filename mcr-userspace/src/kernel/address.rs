//! IPv4 addresses of an interface, and which of them the kernel sends from (rtnetlink(7)).
//!
//! An `ioctl` tells only of an address whose label is the interface's name, and of the first.

use std::{io, net::Ipv4Addr};

use super::{
    link::Link,
    netlink::{ask_route, attribute, attributes, number},
};

// linux/if_addr.h.
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_FLAGS: u16 = 8;
const IFA_F_SECONDARY: u32 = 1;
/// Bytes of `struct ifaddrmsg`.
const IFADDRMSG: usize = 8;
// linux/rtnetlink.h.
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_PREFSRC: u16 = 7;
/// Bytes of `struct rtmsg`.
const RTMSG: usize = 12;
/// `RTM_F_LOOKUP_TABLE`, as `ip route get` asks.
const LOOKUP_TABLE: u32 = 0x1000;
const RT_SCOPE_UNIVERSE: u8 = 0;
const RT_SCOPE_HOST: u8 = 254;

/// A group to ask about where any would do.
const ANY_GROUP: Ipv4Addr = Ipv4Addr::new(239, 255, 255, 250);

/// An address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Address {
    /// The interface's own, of a pair too.
    own: Ipv4Addr,
    /// Prefix length of its network; `None` of a pair.
    prefix: Option<u8>,
    /// How far it is valid (`RT_SCOPE_*`): the smaller, the farther.
    scope: u8,
    /// Whether another address of its subnet came before it.
    is_secondary: bool,
}

/// What an interface sends multicast from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    /// The address; `None` where the interface has none that packets may leave with.
    pub address: Option<Ipv4Addr>,
    /// Its prefix length, where it is the interface's own.
    pub prefix: Option<u8>,
    /// Whether it may be another one for other groups: none of the interface's own is valid everywhere, and routes are asked.
    pub by_group: bool,
}

/// The address that the kernel sends from on `link` to `group`, or to any group: what `ip route get GROUP oif IF` shows, as long as the
/// interface, or the VRF that it is in, has an address at all. While the interface is down the kernel chooses none; then it is the
/// one that it would take of the interface's own.
///
/// # Errors
///
/// The kernel could not be asked, or the interface is gone.
pub fn chosen(link: &Link, group: Option<Ipv4Addr>) -> io::Result<Chosen> {
    let mut own = of(link.ifindex)?;
    let is_own = !own.is_empty();
    if let (false, "vrf", Some(vrf)) = (is_own, link.port_of.as_str(), link.master) {
        own = of(vrf)?;
    }
    let (by_itself, by_group) = select(&own);
    let Some(by_itself) = by_itself else { return Ok(Chosen::default()) };
    let asked = toward(group.unwrap_or(ANY_GROUP), link.ifindex)?;
    let address = asked.unwrap_or(by_itself);
    let prefix = own.iter().find(|own| is_own && own.own == address).and_then(|own| own.prefix);
    Ok(Chosen { address: Some(address), prefix, by_group })
}

/// Of an interface's addresses, the one that the kernel takes with no route to ask (`inet_select_addr`, net/ipv4/devinet.c), and whether
/// it would ask routes first.
fn select(own: &[Address]) -> (Option<Ipv4Addr>, bool) {
    let mut primary = own.iter().filter(|address| !address.is_secondary && address.scope < RT_SCOPE_HOST);
    let everywhere = primary.clone().find(|address| address.scope == RT_SCOPE_UNIVERSE);
    (everywhere.or(primary.next()).map(|address| address.own), everywhere.is_none())
}

/// The addresses of an interface in the kernel's order.
fn of(ifindex: u32) -> io::Result<Vec<Address>> {
    let mut body = vec![0; IFADDRMSG];
    body[0] = libc::AF_INET as u8;
    body[4..8].copy_from_slice(&ifindex.to_ne_bytes());
    let answers = ask_route(libc::RTM_GETADDR, libc::NLM_F_DUMP, &body)?;
    Ok(answers.iter().filter_map(|answer| read(answer, ifindex)).collect())
}

/// Reads a `struct ifaddrmsg` and what follows it, if it is of this interface: kernels that do not know the strict check tell of all.
fn read(message: &[u8], ifindex: u32) -> Option<Address> {
    let (head, rest) = message.split_first_chunk::<IFADDRMSG>()?;
    let [family, length, flags, scope, index @ ..] = *head;
    if i32::from(family) != libc::AF_INET || u32::from_ne_bytes(index) != ifindex {
        return None;
    }
    let find = |wanted| attributes(rest).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
    let flags = find(IFA_FLAGS).and_then(number).unwrap_or(flags.into());
    // IFA_ADDRESS is the other end's, where there are two.
    let (local, address) = (find(IFA_LOCAL).and_then(ipv4), find(IFA_ADDRESS).and_then(ipv4));
    let own = local.or(address)?;
    let prefix = address.is_none_or(|address| address == own).then_some(length);
    Some(Address { own, prefix, scope, is_secondary: flags & IFA_F_SECONDARY != 0 })
}

/// Which address the kernel sends from to `group` by an interface; `None` where it would not send.
fn toward(group: Ipv4Addr, ifindex: u32) -> io::Result<Option<Ipv4Addr>> {
    let mut body = vec![0; RTMSG];
    (body[0], body[1]) = (libc::AF_INET as u8, 32);
    body[8..].copy_from_slice(&LOOKUP_TABLE.to_ne_bytes());
    body.extend(attribute(RTA_DST, &group.octets()));
    body.extend(attribute(RTA_OIF, &ifindex.to_ne_bytes()));
    let answers = match ask_route(libc::RTM_GETROUTE, 0, &body) {
        Ok(answers) => answers,
        // It is down, or a route or a rule forbids it.
        Err(error) => match error.raw_os_error() {
            Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EACCES | libc::EINVAL) => return Ok(None),
            _ => return Err(error),
        },
    };
    let preferred = |answer: &Vec<u8>| {
        let rest = answer.get(RTMSG..)?;
        attributes(rest).find(|(kind, _)| *kind == RTA_PREFSRC).and_then(|(_, value)| ipv4(value))
    };
    Ok(answers.iter().find_map(preferred))
}

fn ipv4(value: &[u8]) -> Option<Ipv4Addr> {
    value.first_chunk::<4>().map(|octets| Ipv4Addr::from(*octets)).filter(|address| !address.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(scope: u8, flags: u8, attributes: &[(u16, [u8; 4])]) -> Vec<u8> {
        let head = [&[libc::AF_INET as u8, 24, flags, scope][..], &5u32.to_ne_bytes()].concat();
        let rest = attributes.iter().map(|(kind, value)| attribute(*kind, value));
        std::iter::once(head).chain(rest).collect::<Vec<_>>().concat()
    }

    #[test]
    fn an_end_of_a_pair_is_its_own() {
        let pair = message(0, 0, &[(IFA_ADDRESS, [10, 2, 0, 2]), (IFA_LOCAL, [10, 2, 0, 1])]);
        let own = Ipv4Addr::new(10, 2, 0, 1);
        assert_eq!(read(&pair, 5), Some(Address { own, prefix: None, scope: 0, is_secondary: false }));
        assert_eq!(read(&pair, 6), None, "another interface's");
        // Flags beyond eight are in an attribute, which has the others too.
        let second = message(253, 0, &[(IFA_LOCAL, [10, 2, 0, 1]), (IFA_FLAGS, 0x201u32.to_ne_bytes())]);
        assert_eq!(read(&second, 5), Some(Address { own, prefix: Some(24), scope: 253, is_secondary: true }));
    }

    #[test]
    fn far_before_near_and_primary_alone() {
        let address = |last, scope, is_secondary| Address {
            own: Ipv4Addr::new(10, 0, 0, last),
            prefix: Some(24),
            scope,
            is_secondary,
        };
        let chosen = |own: &[Address]| {
            let (address, by_group) = select(own);
            (address.map(|address| address.octets()[3]), by_group)
        };
        assert_eq!(chosen(&[]), (None, true));
        assert_eq!(chosen(&[address(1, 254, false)]), (None, true), "of this host alone");
        assert_eq!(chosen(&[address(1, 253, false), address(2, 253, false)]), (Some(1), true));
        assert_eq!(chosen(&[address(1, 253, false), address(2, 0, true), address(3, 0, false)]), (Some(3), false));
    }

    #[test]
    fn the_loopback_sends_no_multicast() {
        let lo = super::super::link::of(1).expect("lo is there");
        assert_eq!(chosen(&lo, None).expect("the kernel answers").address, None);
    }
}
