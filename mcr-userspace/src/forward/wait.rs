//! What a worker does between batches: the whole difference between the profiles.

use std::{
    io,
    os::fd::RawFd,
    ptr,
    time::{Duration, Instant},
};

use crate::config::Profile;

/// A batch of this many says that more wait already.
const FULL_BATCH: usize = 64;
/// The time over which the rate of packets is averaged.
const MEMORY: Duration = Duration::from_millis(1);
/// Packets a second from which naps cost less than a wake-up for each packet. Below, none waits for anything but its wake-up.
const BUSY: f32 = 24_000.0;
/// A nap while there is traffic: with the timer's slack at 1 ns it ends a few microseconds late, and the profile may add 100 us.
const NAP: Duration = Duration::from_micros(50);
/// A nap where few packets come in one: there waking up is what costs, on several workers the more.
const LONG_NAP: Duration = Duration::from_micros(85);
/// Packets of a nap that are worth waking up for.
const WORTH_IT: usize = 8;

/// Decides how to wait.
#[derive(Debug)]
pub struct Waiter {
    profile: Profile,
    since: Instant,
    /// Packets a second.
    rate: f32,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Go on at once.
    Not,
    /// Be away for so long.
    Nap(Duration),
    /// Sleep until a packet or a command comes.
    Sleep,
}

impl Waiter {
    /// For a worker that starts now.
    pub fn new(profile: Profile, now: Instant) -> Self {
        Self { profile, since: now, rate: 0.0 }
    }

    /// After a round that handled `packets`: what to do.
    #[inline]
    pub fn after(&mut self, packets: usize, now: impl FnOnce() -> Instant) -> Wait {
        if self.profile == Profile::LowLatency {
            if packets == 0 {
                std::hint::spin_loop();
            }
            return Wait::Not;
        }
        let now = now();
        let passed = (now - self.since).as_secs_f32();
        self.since = now;
        // A moving average whose weights fall off with time: each packet is one over the memory, and fades.
        let memory = MEMORY.as_secs_f32();
        self.rate = self.rate * memory / (memory + passed) + packets as f32 / (memory + passed);
        if packets >= FULL_BATCH {
            Wait::Not
        } else if self.rate < BUSY {
            Wait::Sleep
        } else if packets < WORTH_IT {
            Wait::Nap(LONG_NAP)
        } else {
            Wait::Nap(NAP)
        }
    }
}

/// Makes the calling thread's timers exact.
pub fn be_exact() {
    // SAFETY: takes integers. Where it fails naps are 50 us longer.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) };
}

/// Is away for a moment; waking early is harmless.
pub fn nap(time: Duration) {
    let time = libc::timespec { tv_sec: 0, tv_nsec: libc::c_long::from(time.subsec_nanos()) };
    // SAFETY: reads a valid `timespec`.
    unsafe { libc::clock_nanosleep(libc::CLOCK_MONOTONIC, 0, &time, ptr::null_mut()) };
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What a worker does that has packets at this rate: the waits of its second 10 ms, each as long as a packet's or a nap's time.
    fn waits(rate: f32) -> Vec<Wait> {
        let start = Instant::now();
        let mut waiter = Waiter::new(Profile::Efficient, start);
        let (mut time, mut owed, mut waits) = (0.0_f32, 0.0_f32, Vec::new());
        while time < 0.02 {
            let packets = owed as usize;
            owed -= packets as f32;
            let wait = waiter.after(packets, || start + Duration::from_secs_f32(time));
            let passed = match wait {
                Wait::Not => 1e-6,
                Wait::Nap(time) => time.as_secs_f32(),
                Wait::Sleep => ((1.0 - owed) / rate).max(1e-6),
            };
            time += passed;
            owed += passed * rate;
            if time > 0.01 {
                waits.push(wait);
            }
        }
        waits
    }

    #[test]
    fn sleeps_between_few_packets_and_naps_between_many() {
        for rate in [100.0, 1_000.0, 10_000.0] {
            assert!(waits(rate).iter().all(|wait| *wait == Wait::Sleep), "{rate}");
        }
        for rate in [40_000.0, 150_000.0, 600_000.0] {
            assert!(waits(rate).iter().all(|wait| matches!(wait, Wait::Nap(_))), "{rate}");
        }
        assert!(waits(5_000_000.0).contains(&Wait::Not), "a full batch is followed up at once");
    }

    #[test]
    fn the_other_profile_never_waits() {
        let mut waiter = Waiter::new(Profile::LowLatency, Instant::now());
        assert!((0..100).all(|packets| waiter.after(packets, || unreachable!("it needs no clock")) == Wait::Not));
    }
}
