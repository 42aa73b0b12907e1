//! Listens beside the host on one interface: which queries come, which of them the host takes, and what multicast it sends.
//!
//! A packet socket sees what comes in before any filter of the host; a raw socket sees what the host's own IGMP sees, behind them all.
//! What the XDP program takes neither sees. Both hold little, and lose what does not fit.

use std::{
    io::{self, Read},
    net::Ipv4Addr,
    os::fd::AsRawFd,
    ptr,
};

use mcr_common::wire::{ipv4, udp};
use socket2::{Domain, Protocol, Socket, Type};

use super::{
    filter::{self, SNAP},
    packet,
    report::PROTOCOL,
};
use crate::kernel::sockopt;

/// Bytes that the kernel keeps for each socket: some ten packets.
const BUFFER: usize = 8 << 10;
/// linux/if_packet.h.
const PACKET_IGNORE_OUTGOING: libc::c_int = 23;

/// Three sockets on one interface.
#[derive(Debug)]
pub struct Ear {
    wire: Socket,
    host: Socket,
    sent: Socket,
}

/// A multicast datagram that this host sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sent {
    /// From.
    pub source: Ipv4Addr,
    /// To.
    pub group: Ipv4Addr,
    /// Its UDP destination port.
    pub port: u16,
}

impl Ear {
    /// Listens on an interface from now on.
    pub fn open(ifindex: u32) -> io::Result<Self> {
        let wire = packet::socket()?;
        sockopt::set(&wire, libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, &1i32)?;
        filter::attach(&wire, filter::general_queries_on_the_wire())?;
        bind(&wire, ifindex)?;
        let host = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(i32::from(PROTOCOL))))?;
        filter::attach(&host, filter::general_queries())?;
        sockopt::set(&host, libc::SOL_SOCKET, libc::SO_BINDTOIFINDEX, &ifindex)?;
        let sent = packet::socket()?;
        filter::attach(&sent, filter::sent_multicast())?;
        bind(&sent, ifindex)?;
        for socket in [&wire, &host, &sent] {
            socket.set_nonblocking(true)?;
            socket.set_recv_buffer_size(BUFFER)?;
        }
        Ok(Self { wire, host, sent })
    }

    /// Whom queries on the wire came from since this was last asked.
    pub fn queries(&self) -> Vec<Ipv4Addr> {
        drain(&self.wire, source)
    }

    /// And whom those came from that the host has taken. Ask for this second: then none is taken that has not been on the wire.
    pub fn taken(&self) -> Vec<Ipv4Addr> {
        drain(&self.host, source)
    }

    /// Some of the multicast that the host has sent since this was last asked.
    pub fn sent(&self) -> Vec<Sent> {
        drain(&self.sent, |packet| {
            let header = usize::from(packet.first()? & 0xf) * 4;
            let port = packet.get(header + udp::DESTINATION_PORT..)?.first_chunk()?;
            let port = u16::from_be_bytes(*port);
            Some(Sent { source: source(packet)?, group: address(packet, ipv4::DESTINATION)?, port })
        })
    }
}

fn source(packet: &[u8]) -> Option<Ipv4Addr> {
    address(packet, ipv4::SOURCE)
}

fn address(packet: &[u8], at: usize) -> Option<Ipv4Addr> {
    packet.get(at..)?.first_chunk().map(|bytes: &[u8; 4]| Ipv4Addr::from(*bytes))
}

/// Reads what there is. An error is that of an interface that is gone or down, of which nothing comes.
fn drain<T>(mut socket: &Socket, read: impl Fn(&[u8]) -> Option<T>) -> Vec<T> {
    let mut all = Vec::new();
    let mut buffer = [0; SNAP];
    while let Ok(length) = socket.read(&mut buffer) {
        all.extend(read(&buffer[..length]));
    }
    all
}

/// Hears every protocol: only such a socket comes before the host's filters, and hears what is sent.
fn bind(socket: &Socket, ifindex: u32) -> io::Result<()> {
    let address = packet::address(ifindex, libc::ETH_P_ALL as u16);
    let length = size_of_val(&address) as libc::socklen_t;
    // SAFETY: the kernel reads `length` bytes, which is all of `address`.
    match unsafe { libc::bind(socket.as_raw_fd(), ptr::from_ref(&address).cast(), length) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
