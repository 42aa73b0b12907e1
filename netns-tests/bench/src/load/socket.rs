//! A sender as programs are: one packet a system call, sleeping in between or looking at the clock.

use std::{
    ffi::CString,
    io, mem,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    ptr,
};

use anyhow::{Context, Result};
use netns_tests::netns::Namespace;

use super::{
    frame::{Origin, Template},
    layout::Streams,
};
use crate::{
    interrupt,
    machine::{
        clock::{self, sleep_until},
        cpu::{self, SENDER},
    },
};

/// How a sender comes to its next packet's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// It sleeps, and wakes at most once in 100 us for what is due by then: it costs little, and the same in front of every
    /// forwarder.
    Sleeping,
    /// It looks at the clock all the time: each packet leaves at its own time.
    Watching,
}

/// Nanoseconds between two wake-ups.
const NAP: u64 = 100_000;
/// A sender that is later than this was held up, and goes on from there.
const HELD_UP: u64 = 5_000_000;

/// Sends `packets` of `size` bytes at `rate` a second from `interface`, on the sender's CPU; the seconds that it took.
pub fn send(
    namespace: &Namespace,
    interface: &str,
    (streams, origin, run): (Streams, Origin, u32),
    (size, packets, rate): (u32, u32, f64),
    pace: Pace,
) -> Result<f64> {
    let mut templates: Vec<_> =
        (0..streams.count).map(|stream| Template::new(&streams, stream, origin, run, size)).collect();
    let sent = namespace.enter(|| {
        cpu::bind(SENDER)?;
        cpu::prefer()?;
        clock::exact_sleeps()?;
        let socket = open(interface)?;
        let mut start = clock::now();
        let began = start;
        for number in 0..packets {
            interrupt::check()?;
            let due = start + (f64::from(number) * 1e9 / rate) as u64;
            let mut now = clock::now();
            if now < due && pace == Pace::Sleeping {
                sleep_until(due.next_multiple_of(NAP))?;
                now = clock::now();
            }
            while now < due {
                now = clock::now();
            }
            if now > due + HELD_UP {
                start += now - due;
            }
            let template = &mut templates[streams.of(number) as usize];
            put(&socket, template.stamped(number, now))?;
        }
        Ok((clock::now() - began) as f64 / 1e9)
    });
    sent.with_context(|| format!("sending from {interface}"))
}

/// Sends a frame; one that the interface has no room for is lost, as on a wire.
fn put(socket: &OwnedFd, frame: &[u8]) -> io::Result<()> {
    // SAFETY: the pointer and the length are those of one slice.
    match unsafe { libc::send(socket.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) } {
        0.. => Ok(()),
        _ => match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::ENOBUFS) => Ok(()),
            error => Err(error),
        },
    }
}

/// A packet socket that only sends, past the queueing discipline.
fn open(interface: &str) -> io::Result<OwnedFd> {
    // SAFETY: no pointers. Protocol 0 hears nothing.
    let socket = check(unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: the descriptor was just made and belongs to nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    let (bypass, length) = (1, size_of::<libc::c_int>() as libc::socklen_t);
    let option = ptr::from_ref::<libc::c_int>(&bypass).cast();
    // SAFETY: the kernel reads `length` bytes, which is all of `bypass`.
    check(unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS, option, length)
    })?;
    let name = CString::new(interface)?;
    // SAFETY: integers and bytes: all zero is a value of it.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    // SAFETY: a string that ends with NUL and outlives the call.
    address.sll_ifindex = unsafe { libc::if_nametoindex(name.as_ptr()) }.cast_signed();
    let length = size_of_val(&address) as libc::socklen_t;
    // SAFETY: the kernel reads `length` bytes, which is all of `address`.
    check(unsafe { libc::bind(socket.as_raw_fd(), ptr::from_ref(&address).cast(), length) })?;
    Ok(socket)
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
