//! Options of a bound AF_XDP socket.

use std::{io, mem, os::fd::RawFd, ptr};

use crate::kernel::sockopt;

/// Descriptors that one `sendto` may send in copy mode; 32 unless set (`XDP_MAX_TX_SKB_BUDGET`, Linux 6.17).
const TX_BUDGET: u32 = 512;
/// The budget where it cannot be set.
pub const LEAST_BUDGET: u32 = 32;
/// linux/if_xdp.h.
const XDP_MAX_TX_SKB_BUDGET: libc::c_int = 9;
/// Bytes of skbs under way that the kernel allows a socket in copy mode.
const SEND_BUFFER: libc::c_int = 16 << 20;
/// Packets that a call may take from the driver; 8 unless set. As many as a turn of the softirq's (`NAPI_POLL_WEIGHT`).
const POLL_BUDGET: libc::c_int = 64;
/// Microseconds for which a call that waits would poll. Ours do not wait; other than 0 it turns polling on.
const POLL_TIME: libc::c_int = 20;

/// Whether the kernel granted zero-copy: what it says itself (`XDP_OPTIONS`), not what was asked for.
///
/// # Errors
/// The kernel's, where `fd` is no AF_XDP socket.
pub fn is_zero_copy(fd: RawFd) -> io::Result<bool> {
    let mut options: u32 = 0;
    let mut length = mem::size_of::<u32>() as libc::socklen_t;
    // SAFETY: the kernel writes one integer, `struct xdp_options`.
    let result = unsafe {
        libc::getsockopt(fd, libc::SOL_XDP, libc::XDP_OPTIONS, ptr::from_mut(&mut options).cast(), &mut length)
    };
    match result {
        0 => Ok(options & libc::XDP_OPTIONS_ZEROCOPY != 0),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Lets copy mode send more for each call. Older kernels know no budget, and the default of the other is only slower.
pub fn raise_limits(fd: RawFd) {
    for (level, option, value) in [
        (libc::SOL_XDP, XDP_MAX_TX_SKB_BUDGET, TX_BUDGET as libc::c_int),
        (libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, SEND_BUFFER),
    ] {
        if let Err(error) = sockopt::set(&fd, level, option, &value) {
            log::debug!("socket option {level}/{option}: {error}");
        }
    }
}

/// Lets `recvfrom` run the driver's NAPI, and the kernel leave it to that as long as it is called (Linux 5.11); or no longer.
///
/// # Errors
/// The kernel has no such option, or the process lacks CAP_NET_ADMIN.
pub fn prefer_busy_poll(fd: RawFd, on: bool) -> io::Result<()> {
    for (option, value) in [
        (libc::SO_PREFER_BUSY_POLL, libc::c_int::from(on)),
        (libc::SO_BUSY_POLL_BUDGET, POLL_BUDGET),
        (libc::SO_BUSY_POLL, if on { POLL_TIME } else { 0 }),
    ] {
        sockopt::set(&fd, libc::SOL_SOCKET, option, &value)?;
    }
    Ok(())
}
