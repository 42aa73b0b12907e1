//! Plain UDP sockets, and what the receiving kernel counts.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket},
};

use anyhow::{Result, ensure};
use netns_tests::netns::Namespace;

use crate::draw::Stream;

/// v3's address.
const RECEIVER: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 2);

/// In the order of [`errors`].
pub const ERRORS: [&str; 5] =
    ["UdpInErrors", "UdpInCsumErrors", "UdpRcvbufErrors", "IpInHdrErrors", "IpExtInCsumErrors"];

/// A socket for what each stream arrives as, joined on v3.
pub fn sockets(namespace: &Namespace, streams: &[Stream]) -> Result<Vec<UdpSocket>> {
    namespace.enter(|| {
        let socket = |stream: &Stream| {
            let socket = UdpSocket::bind(stream.arrives)?;
            socket.join_multicast_v4(&stream.arrives.0, &RECEIVER)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        streams.iter().map(socket).collect()
    })
}

/// Every payload that has come, and from where.
pub fn all(socket: &UdpSocket) -> Result<Vec<(Vec<u8>, SocketAddrV4)>> {
    let mut all = Vec::new();
    let mut buffer = [0; 2048];
    loop {
        match socket.recv_from(&mut buffer) {
            Ok((length, SocketAddr::V4(from))) => all.push((buffer[..length].to_vec(), from)),
            Ok((_, from)) => anyhow::bail!("from {from}"),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(all),
            Err(error) => return Err(error.into()),
        }
    }
}

/// What the namespace's kernel has refused, see [`ERRORS`].
pub fn errors(namespace: &Namespace) -> Result<[u64; 5]> {
    let mut counts = [0; 5];
    for (count, name) in counts.iter_mut().zip(ERRORS) {
        let text = namespace.run(&format!("nstat -asz {name}"))?;
        let line = text.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
        ensure!(value.is_some(), "no {name} in {text}");
        *count = value.unwrap_or_default();
    }
    Ok(counts)
}
