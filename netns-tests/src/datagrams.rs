//! Numbered datagrams that a UDP socket sends, several at a time where wanted, and their judge at the far end of the relay.

use std::{
    io, mem,
    net::{Ipv4Addr, UdpSocket},
    os::fd::AsRawFd,
    ptr, thread,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use etherparse::{Ipv4Slice, NetSlice, SlicedPacket, TransportSlice};

use crate::{
    deadline::{SOON, until},
    netns::Namespace,
    raw::Wire,
    rules::{RECEIVED, SENT},
};

/// linux/udp.h: bytes of each datagram of what is sent at once.
const UDP_SEGMENT: libc::c_int = 103;
/// Between two sends: none is late, and a ring of 256 packets does not overflow.
const PAUSE: Duration = Duration::from_millis(2);

/// Datagrams to send.
#[derive(Clone, Copy, Debug)]
pub struct Datagrams {
    /// Bytes of each but the last of those that are sent at once.
    pub size: usize,
    /// Bytes of that one, at most as many.
    pub last: usize,
    /// Sent at once: more than 1 go to the kernel as one, to be cut by whoever can (`UDP_SEGMENT`, udp(7)).
    pub at_once: usize,
    /// How often.
    pub times: usize,
}

impl Datagrams {
    /// All of one size.
    pub fn new(size: usize, at_once: usize, times: usize) -> Self {
        Self { size, last: size, at_once, times }
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.at_once * self.times
    }

    /// The payload of number `n`: the number, and bytes that differ from the next one's.
    fn payload(&self, n: usize) -> Vec<u8> {
        let is_last = (n + 1).is_multiple_of(self.at_once);
        let mut bytes = vec![n as u8 ^ 0x5a; if is_last { self.last } else { self.size }];
        bytes[..4].copy_from_slice(&(n as u32).to_be_bytes());
        bytes
    }

    /// The payloads, as many at a time as are sent at once.
    pub fn payloads(&self) -> impl Iterator<Item = Vec<u8>> {
        (0..self.times).map(|time| (0..self.at_once).flat_map(|i| self.payload(time * self.at_once + i)).collect())
    }

    /// Sends them from a socket in `namespace` with this address, to the group and port of the first rule.
    pub fn send(&self, namespace: &Namespace, address: Ipv4Addr) -> Result<()> {
        let socket = namespace.enter(|| Ok(UdpSocket::bind((address, 0))?))?;
        // SAFETY: an address of four bytes in network order is what the option takes, `struct in_addr`.
        let interface = libc::in_addr { s_addr: u32::from_ne_bytes(address.octets()) };
        option(&socket, libc::IPPROTO_IP, libc::IP_MULTICAST_IF, &interface)?;
        option(&socket, libc::IPPROTO_IP, libc::IP_MULTICAST_TTL, &16)?;
        if self.at_once > 1 {
            option(&socket, libc::IPPROTO_UDP, UDP_SEGMENT, &(self.size as libc::c_int))?;
        }
        for payload in self.payloads() {
            socket.send_to(&payload, SENT).with_context(|| format!("sending {} bytes at once", payload.len()))?;
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Waits until as many have come in at `wire` as were sent, and judges them: each once, in order, whole, with right checksums.
    pub fn arrive(&self, wire: &Wire) -> Result<()> {
        let mut seen = Vec::new();
        let all = until("all datagrams", SOON, || {
            seen.extend(wire.received()?.iter().filter_map(|frame| read(frame).transpose()));
            Ok((seen.len() >= self.count()).then_some(()))
        });
        let seen = seen.into_iter().collect::<Result<Vec<_>>>()?;
        all.with_context(|| format!("{} of {} came", seen.len(), self.count()))?;
        for (n, payload) in seen.iter().enumerate() {
            let wanted = self.payload(n);
            ensure!(
                *payload == wanted,
                "datagram {n} of {} bytes came as {} bytes that begin with {:?}",
                wanted.len(),
                payload.len(),
                payload.get(..4)
            );
        }
        ensure!(seen.len() == self.count(), "{} came of {}", seen.len(), self.count());
        Ok(())
    }
}

/// The payload of a frame to the first rule's new group and port; `None` of any other frame.
fn read(frame: &[u8]) -> Result<Option<Vec<u8>>> {
    let Ok(packet) = SlicedPacket::from_ethernet(frame) else { return Ok(None) };
    let (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Udp(udp))) = (&packet.net, &packet.transport) else {
        return Ok(None);
    };
    if (ip.header().destination_addr(), udp.destination_port()) != RECEIVED {
        return Ok(None);
    }
    checksums(ip, udp)?;
    Ok(Some(udp.payload().to_vec()))
}

fn checksums(ip: &Ipv4Slice<'_>, udp: &etherparse::UdpSlice<'_>) -> Result<()> {
    let header = ip.header().to_header();
    let right = header.calc_header_checksum();
    ensure!(header.header_checksum == right, "IPv4 header checksum {:#x}, not {right:#x}", header.header_checksum);
    let right = udp.to_header().calc_checksum_ipv4(&header, udp.payload())?;
    if udp.checksum() != right {
        bail!("UDP checksum {:#x}, not {right:#x}, of {} bytes", udp.checksum(), udp.payload().len());
    }
    Ok(())
}

fn option<T>(socket: &UdpSocket, level: libc::c_int, name: libc::c_int, value: &T) -> Result<()> {
    let length = mem::size_of::<T>() as libc::socklen_t;
    // SAFETY: the pointer and the length are those of one value.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, ptr::from_ref(value).cast(), length) };
    if result != 0 {
        let error = io::Error::last_os_error();
        return Err(error).with_context(|| format!("socket option {level}/{name}"));
    }
    Ok(())
}
