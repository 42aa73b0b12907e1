//! Packet sockets (packet(7)) that show and take packets from the IPv4 header on.

use std::{io, mem};

use socket2::{Domain, Socket, Type};

/// Without a protocol it hears nothing, until it is bound to one.
pub(super) fn socket() -> io::Result<Socket> {
    Socket::new(Domain::PACKET, Type::DGRAM, None)
}

/// An interface, and a protocol as linux/if_ether.h numbers them.
pub(super) fn address(ifindex: u32, protocol: u16) -> libc::sockaddr_ll {
    // SAFETY: integers and bytes: all zero is a value of it.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = protocol.to_be();
    address.sll_ifindex = ifindex.cast_signed();
    address
}
