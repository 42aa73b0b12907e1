//! Changes of interfaces and of their addresses, as the kernel tells them (rtnetlink(7)).

use std::{
    io, mem,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    ptr,
};

/// linux/rtnetlink.h: links that come, go or change, and IPv4 addresses.
const GROUPS: u32 = (libc::RTMGRP_LINK | libc::RTMGRP_IPV4_IFADDR) as u32;

/// Hears of changes in the network namespace in which it was made.
#[derive(Debug)]
pub struct Events(OwnedFd);

impl Events {
    /// Hears of everything from now on.
    pub fn listen() -> io::Result<Self> {
        // SAFETY: takes three integers.
        let fd = unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::NETLINK_ROUTE) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is fresh, and nobody else's.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: integers: all zero is a value of it.
        let mut address: libc::sockaddr_nl = unsafe { mem::zeroed() };
        address.nl_family = libc::AF_NETLINK as libc::sa_family_t;
        address.nl_groups = GROUPS;
        let length = mem::size_of::<libc::sockaddr_nl>() as libc::socklen_t;
        // SAFETY: the kernel reads `length` bytes, the size of the address.
        match unsafe { libc::bind(socket.as_raw_fd(), ptr::from_ref(&address).cast(), length) } {
            0 => Ok(Self(socket)),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Waits for a change. What it was is to be looked up: events may be lost when many come at once, and are one then.
    pub fn wait(&self) -> io::Result<()> {
        self.receive(0)
    }

    /// Forgets what has been told.
    pub fn drain(&self) {
        while self.receive(libc::MSG_DONTWAIT).is_ok() {}
    }

    fn receive(&self, flags: libc::c_int) -> io::Result<()> {
        let mut byte = 0u8;
        loop {
            // SAFETY: one byte of ours; the rest of the message is cut off.
            if unsafe { libc::recv(self.0.as_raw_fd(), ptr::from_mut(&mut byte).cast(), 1, flags) } >= 0 {
                return Ok(());
            }
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::EINTR) => {}
                // More came than was read.
                Some(libc::ENOBUFS) => return Ok(()),
                _ => return Err(error),
            }
        }
    }
}
