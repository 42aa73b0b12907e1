//! What a worker does between batches: the whole difference between the profiles.

use std::{io, os::fd::RawFd, ptr};

use crate::config::Profile;

/// A batch of this many says that more wait already.
const FULL_BATCH: usize = 64;
/// A nap while there is traffic: with the timer's slack at 1 ns it ends a few microseconds late, and the profile may add 100 us.
const NAP_NS: libc::c_long = 50_000;
/// A nap where few packets come in one: there waking up is what costs, on several workers the more.
const LONG_NAP_NS: libc::c_long = 85_000;
/// Packets of a nap that are worth waking up for.
const WORTH_IT: usize = 8;
/// Naps without a packet before the worker sleeps until one comes.
const NAPS: u32 = 4;

/// Decides how to wait.
#[derive(Debug)]
pub struct Waiter {
    profile: Profile,
    idle: u32,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Go on at once.
    Not,
    /// Sleep until a packet or a command comes.
    Sleep,
}

impl Waiter {
    /// For the calling thread, whose timers become exact.
    pub fn new(profile: Profile) -> Self {
        // SAFETY: takes integers. Where it fails naps are 50 us longer.
        unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) };
        Self { profile, idle: 0 }
    }

    /// After a round that handled `packets`: naps, or says what to do.
    #[inline]
    pub fn after(&mut self, packets: usize) -> Wait {
        if packets >= FULL_BATCH {
            self.idle = 0;
            return Wait::Not;
        }
        if self.profile == Profile::LowLatency {
            std::hint::spin_loop();
            return Wait::Not;
        }
        self.idle = if packets > 0 { 0 } else { self.idle + 1 };
        if self.idle > NAPS {
            return Wait::Sleep;
        }
        let tv_nsec = if packets < WORTH_IT { LONG_NAP_NS } else { NAP_NS };
        let nap = libc::timespec { tv_sec: 0, tv_nsec };
        // SAFETY: reads a valid `timespec`; waking early is harmless.
        unsafe { libc::clock_nanosleep(libc::CLOCK_MONOTONIC, 0, &nap, ptr::null_mut()) };
        Wait::Not
    }
}

/// Sleeps until one of the descriptors is readable, or for `timeout_ms` (-1: for ever).
pub fn sleep(fds: impl Iterator<Item = RawFd>, set: &mut Vec<libc::pollfd>, timeout_ms: i32) {
    set.clear();
    set.extend(fds.map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 }));
    // SAFETY: `set` is a valid array of that length.
    if unsafe { libc::poll(set.as_mut_ptr(), set.len() as libc::nfds_t, timeout_ms) } < 0 {
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            log::error!("poll: {error}");
        }
    }
}
