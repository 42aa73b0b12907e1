//! Says once more what the host is a member of. The kernel does so only when it is asked by a query, or when a membership changes; so
//! this sends the reports that the kernel would answer with, by a packet socket, on which nothing is ever received.

use std::{io, net::Ipv4Addr, os::fd::AsRawFd, ptr};

use mcr_common::wire::{ETHERTYPE_IPV4, group_mac};
use socket2::Socket;

use super::{
    packet,
    proc::{included, members},
    report::{Wanted, packets},
};
use crate::kernel::netlink::{ask, attributes, number};

// linux/rtnetlink.h, linux/if_addr.h.
const RT_SCOPE_LINK: u8 = 253;
const IFA_LOCAL: u16 = 2;
const IFA_F_SECONDARY: u8 = 1;
/// Bytes of `struct ifaddrmsg`.
const IFADDRMSG: usize = 8;

/// Sends reports of these groups on an interface, where the host is a member of them still; `whole` says of each whether it is
/// held for any source, so that no others need be looked for.
///
/// # Errors
///
/// When the kernel does not say what it is a member of, or does not take the packets.
pub fn repeat(ifindex: u32, groups: &[(Ipv4Addr, bool)]) -> io::Result<()> {
    let Some(joined) = members()?.remove(&ifindex) else { return Ok(()) };
    let sources = if groups.iter().all(|(_, whole)| *whole) { Default::default() } else { included(ifindex)? };
    let wanted = |(group, whole): &(Ipv4Addr, bool)| {
        let (_, users) = joined.groups.iter().find(|(joined, _)| joined == group)?;
        let sources = sources.get(group).map(Vec::as_slice).unwrap_or_default();
        // Each socket that wants some sources wants one at least: where there are more sockets, another wants all.
        let all = *whole || *users > sources.iter().map(|(_, sockets)| sockets).sum();
        let sources = sources.iter().map(|(source, _)| *source).collect();
        Some((*group, if all { Wanted::All } else { Wanted::Sources(sources) }))
    };
    let wanted: Vec<_> = groups.iter().filter_map(wanted).collect();
    let socket = packet::socket()?;
    for (to, report) in packets(joined.version, source(ifindex)?, &wanted) {
        send(&socket, ifindex, to, &report)?;
    }
    Ok(())
}

/// The address that the kernel's own reports have (`inet_select_addr`): the first that is valid on the link, or none at all.
fn source(ifindex: u32) -> io::Result<Ipv4Addr> {
    let mut request = [0; IFADDRMSG];
    request[0] = libc::AF_INET as u8;
    let answers = ask(libc::NETLINK_ROUTE, libc::RTM_GETADDR, libc::NLM_F_DUMP, &request)?;
    let first = answers.iter().find_map(|answer| {
        let (&[_, _, flags, scope, i0, i1, i2, i3], rest) = answer.split_first_chunk::<IFADDRMSG>()?;
        let is_it =
            u32::from_ne_bytes([i0, i1, i2, i3]) == ifindex && flags & IFA_F_SECONDARY == 0 && scope <= RT_SCOPE_LINK;
        let local = attributes(rest).find(|(kind, _)| *kind == IFA_LOCAL).filter(|_| is_it)?;
        number(local.1).map(|address| Ipv4Addr::from(address.to_ne_bytes()))
    });
    Ok(first.unwrap_or(Ipv4Addr::UNSPECIFIED))
}

fn send(socket: &Socket, ifindex: u32, to: Ipv4Addr, report: &[u8]) -> io::Result<()> {
    let mut address = packet::address(ifindex, ETHERTYPE_IPV4);
    let mac = group_mac(to.to_bits());
    address.sll_halen = mac.len() as u8;
    address.sll_addr[..mac.len()].copy_from_slice(&mac);
    let length = size_of_val(&address) as libc::socklen_t;
    let (bytes, count, to) = (report.as_ptr().cast(), report.len(), ptr::from_ref(&address).cast());
    // SAFETY: the kernel reads `count` bytes of one slice, and all of the address.
    match unsafe { libc::sendto(socket.as_raw_fd(), bytes, count, libc::MSG_DONTWAIT, to, length) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
