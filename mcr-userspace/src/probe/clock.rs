//! The clocks that all processes of one machine share, whatever their network namespace.
//!
//! Schedules and ends follow CLOCK_MONOTONIC. Packets are stamped with CLOCK_REALTIME, because that is the clock
//! with which the kernel stamps their arrival.

use std::mem::MaybeUninit;

/// CLOCK_MONOTONIC in nanoseconds.
pub fn now_ns() -> u64 {
    read(libc::CLOCK_MONOTONIC)
}

/// CLOCK_REALTIME in nanoseconds.
pub fn stamp_ns() -> u64 {
    read(libc::CLOCK_REALTIME)
}

/// A timespec of a clock in nanoseconds.
pub fn nanoseconds(time: libc::timespec) -> u64 {
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn read(clock: libc::clockid_t) -> u64 {
    let mut time = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: the pointer is valid for one timespec.
    let rc = unsafe { libc::clock_gettime(clock, time.as_mut_ptr()) };
    assert_eq!(rc, 0, "these clocks are always there");
    // SAFETY: the call succeeded, so it filled the timespec.
    nanoseconds(unsafe { time.assume_init() })
}

/// Sleeps until CLOCK_MONOTONIC reads `at_ns`; returns early when a signal arrives.
pub fn sleep_until(at_ns: u64) {
    let at = libc::timespec {
        tv_sec: (at_ns / 1_000_000_000) as libc::time_t,
        tv_nsec: (at_ns % 1_000_000_000) as libc::c_long,
    };
    // SAFETY: `at` is a valid timespec, and with TIMER_ABSTIME the remaining time is not written.
    unsafe { libc::clock_nanosleep(libc::CLOCK_MONOTONIC, libc::TIMER_ABSTIME, &at, std::ptr::null_mut()) };
}
