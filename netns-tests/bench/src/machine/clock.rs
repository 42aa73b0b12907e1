//! CLOCK_MONOTONIC, which the programs in the kernel read too.

use std::io;

/// Nanoseconds.
pub fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec. This clock is always there.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Sleeps until the clock shows `at`.
pub fn sleep_until(at: u64) -> io::Result<()> {
    let time = libc::timespec { tv_sec: (at / 1_000_000_000) as i64, tv_nsec: (at % 1_000_000_000) as i64 };
    loop {
        // SAFETY: the kernel reads one timespec; with an absolute time it writes no rest.
        let result =
            unsafe { libc::clock_nanosleep(libc::CLOCK_MONOTONIC, libc::TIMER_ABSTIME, &time, std::ptr::null_mut()) };
        match result {
            0 => return Ok(()),
            libc::EINTR => {}
            code => return Err(io::Error::from_raw_os_error(code)),
        }
    }
}

/// Lets the calling thread's sleeps end when they are due, not up to 50 us later.
pub fn exact_sleeps() -> io::Result<()> {
    // SAFETY: takes integers; 1 ns is the least slack.
    match unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1, 0, 0, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
