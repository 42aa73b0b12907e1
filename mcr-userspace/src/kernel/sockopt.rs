//! `setsockopt` for the options that socket2 does not have.

use std::{
    io,
    os::fd::{AsRawFd, RawFd},
    ptr,
};

/// Sets an option. `T` is the option's own C type: integers, or a `repr(C)` struct of them.
pub fn set<T: Copy>(socket: &impl AsRawFd, level: libc::c_int, option: libc::c_int, value: &T) -> io::Result<()> {
    let fd: RawFd = socket.as_raw_fd();
    // SAFETY: the kernel reads `size_of::<T>()` bytes of a value that outlives the call.
    let result =
        unsafe { libc::setsockopt(fd, level, option, ptr::from_ref(value).cast(), size_of::<T>() as libc::socklen_t) };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
