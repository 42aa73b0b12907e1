//! Changes of interfaces and of their addresses (rtnetlink(7)), and of their queues (ethtool), as the kernel tells them.

use std::{
    io, mem,
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
    ptr,
};

use super::{genl, sockopt};

/// linux/rtnetlink.h: links that come, go or change, and IPv4 addresses.
const LINKS: u32 = (libc::RTMGRP_LINK | libc::RTMGRP_IPV4_IFADDR) as u32;
/// linux/ethtool_netlink.h: the family and its group, from Linux 5.6.
const ETHTOOL: (&str, &str) = ("ethtool", "monitor");

/// Hears of changes in the network namespace in which it was made.
#[derive(Debug)]
pub struct Events {
    links: OwnedFd,
    /// `None` where the kernel tells of no queues.
    queues: Option<OwnedFd>,
}

impl Events {
    /// Hears of everything from now on.
    pub fn listen() -> io::Result<Self> {
        let links = socket(libc::NETLINK_ROUTE, LINKS)?;
        let queues = listen_for_queues();
        if let Err(error) = &queues {
            log::debug!("changes of queues are found by looking: {error}");
        }
        Ok(Self { links, queues: queues.ok() })
    }

    /// Waits for a change. What it was is to be looked up: events may be lost when many come at once, and are one then.
    pub fn wait(&self) -> io::Result<()> {
        let mut polled: Vec<libc::pollfd> =
            self.sockets().map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 }).collect();
        loop {
            // SAFETY: as many valid `pollfd`s as said, and descriptors of our own.
            match unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, -1) } {
                -1 if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
                -1 => return Err(io::Error::last_os_error()),
                _ => return Ok(()),
            }
        }
    }

    /// Forgets what has been told.
    pub fn drain(&self) -> io::Result<()> {
        self.sockets().try_for_each(drain)
    }

    fn sockets(&self) -> impl Iterator<Item = RawFd> {
        std::iter::once(&self.links).chain(&self.queues).map(AsRawFd::as_raw_fd)
    }
}

fn listen_for_queues() -> io::Result<OwnedFd> {
    let (family, group) = ETHTOOL;
    let groups = genl::family(family)?.groups;
    let (_, group) = groups.into_iter().find(|(name, _)| name == group).ok_or(io::ErrorKind::NotFound)?;
    let socket = socket(libc::NETLINK_GENERIC, 0)?;
    sockopt::set(&socket, libc::SOL_NETLINK, libc::NETLINK_ADD_MEMBERSHIP, &group)?;
    Ok(socket)
}

fn socket(protocol: libc::c_int, groups: u32) -> io::Result<OwnedFd> {
    // SAFETY: takes three integers.
    let fd = unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is fresh, and nobody else's.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: integers: all zero is a value of it.
    let mut address: libc::sockaddr_nl = unsafe { mem::zeroed() };
    address.nl_family = libc::AF_NETLINK as libc::sa_family_t;
    address.nl_groups = groups;
    let length = mem::size_of::<libc::sockaddr_nl>() as libc::socklen_t;
    // SAFETY: the kernel reads `length` bytes, the size of the address.
    match unsafe { libc::bind(socket.as_raw_fd(), ptr::from_ref(&address).cast(), length) } {
        0 => Ok(socket),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Reads what there is.
fn drain(socket: RawFd) -> io::Result<()> {
    let mut byte = 0u8;
    loop {
        // SAFETY: one byte of ours; the rest of the message is cut off.
        if unsafe { libc::recv(socket, ptr::from_mut(&mut byte).cast(), 1, libc::MSG_DONTWAIT) } >= 0 {
            continue;
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            // More came than was read.
            Some(libc::EINTR | libc::ENOBUFS) => {}
            Some(libc::EAGAIN) => return Ok(()),
            _ => return Err(error),
        }
    }
}
