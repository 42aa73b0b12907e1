//! Which packets a socket is for (linux/filter.h, classic BPF): what it does not want is never copied for it.

use std::{io, os::fd::AsRawFd};

use mcr_common::wire::{ETHERTYPE_IPV4, PROTOCOL_UDP, ipv4};

use super::report::PROTOCOL;
use crate::kernel::sockopt;

/// linux/filter.h: where the kernel's own knowledge of a packet begins, and what of it is asked for.
const ABOUT: u32 = -0x1000i32 as u32;
const ABOUT_PROTOCOL: u32 = 0;
const ABOUT_KIND: u32 = 4;
const ABOUT_TAG: u32 = 48;
/// linux/igmp.h, `IGMP_HOST_MEMBERSHIP_QUERY`.
const QUERY: u32 = 0x11;
/// 224.0.0.1, where queries go that are for every group (RFC 3376 section 4.1.12).
const ALL_SYSTEMS: u32 = 0xe000_0001;
/// The first four bits of a group, and which they are.
const CLASS: u32 = 0xf000_0000;
const MULTICAST: u32 = 0xe000_0000;
/// Bytes that are copied of a packet: the longest IPv4 header, and what follows first.
pub(super) const SNAP: usize = 96;

type Code = Vec<libc::sock_filter>;

/// IGMP queries for every group, at a socket that shows packets from the IPv4 header on.
pub(super) fn general_queries() -> Code {
    let mut code = unless(load(libc::BPF_B, ipv4::PROTOCOL as u32), PROTOCOL.into());
    code.extend(unless(load(libc::BPF_W, ipv4::DESTINATION as u32), ALL_SYSTEMS));
    code.push(op(libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH, 0));
    code.extend(unless(op(libc::BPF_LD | libc::BPF_B | libc::BPF_IND, 0), QUERY));
    code.push(op(libc::BPF_RET | libc::BPF_K, SNAP as u32));
    code
}

/// The same, at a packet socket: untagged IPv4 alone.
pub(super) fn general_queries_on_the_wire() -> Code {
    [untagged(), general_queries()].concat()
}

/// First fragments of multicast UDP that this host sends, untagged, at a packet socket.
pub(super) fn sent_multicast() -> Code {
    let mut code = untagged();
    code.extend(unless(load(libc::BPF_W, ABOUT + ABOUT_KIND), libc::PACKET_OUTGOING.into()));
    code.extend(unless(load(libc::BPF_B, ipv4::PROTOCOL as u32), PROTOCOL_UDP.into()));
    code.push(load(libc::BPF_H, ipv4::FRAGMENT as u32));
    code.extend(unless(op(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, 0x1fff), 0));
    code.push(load(libc::BPF_W, ipv4::DESTINATION as u32));
    code.extend(unless(op(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, CLASS), MULTICAST));
    code.push(op(libc::BPF_RET | libc::BPF_K, SNAP as u32));
    code
}

fn untagged() -> Code {
    let mut code = unless(load(libc::BPF_W, ABOUT + ABOUT_TAG), 0);
    code.extend(unless(load(libc::BPF_W, ABOUT + ABOUT_PROTOCOL), ETHERTYPE_IPV4.into()));
    code
}

/// Nothing passes from here on unless what `found` leaves is `wanted`.
fn unless(found: libc::sock_filter, wanted: u32) -> Code {
    let mut is_it = op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, wanted);
    is_it.jt = 1;
    vec![found, is_it, op(libc::BPF_RET | libc::BPF_K, 0)]
}

fn load(width: u32, at: u32) -> libc::sock_filter {
    op(libc::BPF_LD | width | libc::BPF_ABS, at)
}

fn op(code: u32, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

/// Lets a socket have nothing else from now on.
pub(super) fn attach(socket: &impl AsRawFd, mut code: Code) -> io::Result<()> {
    let program = libc::sock_fprog { len: code.len() as u16, filter: code.as_mut_ptr() };
    // The kernel copies the code that the pointer is to before this returns.
    sockopt::set(socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
}
