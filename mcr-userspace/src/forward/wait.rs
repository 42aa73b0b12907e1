//! What a worker does between batches: the whole difference between the profiles.

use std::{
    io,
    os::fd::RawFd,
    ptr,
    time::{Duration, Instant},
};

use super::reserve::Reserve;
use crate::{config::Profile, kernel::sched};

/// A batch of this many says that more wait already.
const FULL_BATCH: usize = 64;
/// The time over which the rate of packets is averaged.
const MEMORY: Duration = Duration::from_millis(1);
/// Packets a second from which naps cost less than a wake-up for each packet, where timers are exact. Below, none waits for
/// anything but its wake-up.
const BUSY: f32 = 24_000.0;
/// What naps while there is traffic may add to a packet's way: the profile promises 100 us.
const AWAY: Duration = Duration::from_micros(95);
/// Where naps end later than this, as on many virtual machines, a timer costs as much as a packet's wake-up, which comes sooner.
const EXACT: Duration = Duration::from_micros(25);
/// There, from so many packets a second on, it does not pause: most of the CPU is at work anyway, and a virtual CPU that halts may
/// be back too late for what the rings hold.
const FULL: f32 = 300_000.0;
/// How often that is looked at again, by a nap.
const AGAIN: Duration = Duration::from_secs(1);
/// Weight of the last nap in how late naps end.
const LAST: f32 = 1.0 / 16.0;

/// Decides how to wait.
#[derive(Debug)]
pub struct Waiter {
    profile: Profile,
    since: Instant,
    /// Packets a second.
    rate: f32,
    /// How much later than asked for naps end, in seconds: some microseconds on a machine of one's own, half of a nap and more on
    /// some virtual ones.
    late: f32,
    /// When it last napped.
    napped: Instant,
    reserve: Reserve,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Go on at once.
    Not,
    /// Be away for so long.
    Nap(Duration),
    /// Be away for so long, for others' sake.
    GiveWay(Duration),
    /// Sleep until a packet or a command comes.
    Sleep,
}

impl Waiter {
    /// For a worker that starts now. Where it sleeps in between, it leaves the part `reserve` of its CPU to others at all events.
    pub fn new(profile: Profile, reserve: f64, now: Instant) -> Self {
        Self { profile, since: now, rate: 0.0, late: 0.0, napped: now, reserve: Reserve::new(reserve, now) }
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
        if let Some(owed) = self.reserve.owed(now, sched::usage) {
            return Wait::GiveWay(owed);
        }
        let naps = self.is_exact() || now - self.napped >= AGAIN;
        if packets >= FULL_BATCH || self.rate >= FULL && !naps {
            Wait::Not
        } else if self.rate >= BUSY && naps {
            self.napped = now;
            // Where it was not exact, all of it tells.
            let late = if self.is_exact() { self.late } else { 0.0 };
            Wait::Nap(AWAY.saturating_sub(Duration::from_secs_f32(late)))
        } else if packets > 0 {
            // What came meanwhile is found by a look at the rings for less than by a call of poll.
            Wait::Not
        } else {
            Wait::Sleep
        }
    }

    /// Whether naps end when they should.
    #[inline]
    fn is_exact(&self) -> bool {
        self.late <= EXACT.as_secs_f32()
    }

    /// A nap that was to be so long was so long in truth: the next is asked for accordingly.
    #[inline]
    pub fn napped(&mut self, asked: Duration, took: Duration) {
        // One that the machine itself kept from ending says nothing about the timer.
        let late = took.saturating_sub(asked).min(AWAY).as_secs_f32();
        self.late += (late - self.late) * LAST;
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

    /// What a worker does that has packets at this rate: packets and waits of its second 10 ms, each as long as a packet's or a nap's
    /// time.
    fn waits(rate: f32) -> Vec<(usize, Wait)> {
        let start = Instant::now();
        let mut waiter = Waiter::new(Profile::Efficient, 0.0, start);
        let (mut time, mut owed, mut waits) = (0.0_f32, 0.0_f32, Vec::new());
        while time < 0.02 {
            let packets = owed as usize;
            owed -= packets as f32;
            let wait = waiter.after(packets, || start + Duration::from_secs_f32(time));
            let passed = match wait {
                Wait::Not => 1e-6,
                Wait::Nap(time) | Wait::GiveWay(time) => time.as_secs_f32(),
                Wait::Sleep => ((1.0 - owed) / rate).max(1e-6),
            };
            time += passed;
            owed += passed * rate;
            if time > 0.01 {
                waits.push((packets, wait));
            }
        }
        waits
    }

    #[test]
    fn sleeps_between_few_packets_and_naps_between_many() {
        for rate in [100.0, 1_000.0, 10_000.0] {
            // After a packet it looks once more.
            let expected = |packets| if packets > 0 { Wait::Not } else { Wait::Sleep };
            assert!(waits(rate).iter().all(|(packets, wait)| *wait == expected(*packets)), "{rate}");
        }
        for rate in [40_000.0, 150_000.0, 600_000.0] {
            assert!(waits(rate).iter().all(|(_, wait)| matches!(wait, Wait::Nap(_))), "{rate}");
        }
        assert!(waits(5_000_000.0).iter().any(|(_, wait)| *wait == Wait::Not), "a full batch is followed up at once");
    }

    /// The waits of a busy worker on a machine whose naps end late: so many of them, 100 us apart.
    fn busy(waiter: &mut Waiter, late: Duration, waits: u32) -> Vec<Wait> {
        (0..waits)
            .map(|_| {
                let now = waiter.since + Duration::from_micros(100);
                let wait = waiter.after(15, || now);
                if let Wait::Nap(time) = wait {
                    waiter.napped(time, time + late);
                }
                wait
            })
            .collect()
    }

    #[test]
    fn naps_that_end_a_little_late_are_asked_for_shorter() {
        let (mut waiter, late) = (Waiter::new(Profile::Efficient, 0.0, Instant::now()), Duration::from_micros(15));
        let waits = busy(&mut waiter, late, 1_000);
        let Some(Wait::Nap(last)) = waits.last() else { panic!("{waits:?}") };
        let away = *last + late;
        assert!(away <= AWAY + Duration::from_micros(1) && away >= AWAY - Duration::from_micros(1), "{last:?}");
    }

    #[test]
    fn where_naps_end_much_too_late_it_sleeps_and_looks_again() {
        let mut waiter = Waiter::new(Profile::Efficient, 0.0, Instant::now());
        busy(&mut waiter, Duration::from_micros(60), 1_000);
        let naps = |waits: Vec<Wait>| waits.iter().filter(|wait| matches!(wait, Wait::Nap(_))).count();
        let since = waiter.since;
        assert_eq!([15, 0].map(|packets| waiter.after(packets, || since)), [Wait::Not, Wait::Sleep]);
        waiter.rate = FULL * 1.5;
        assert_eq!(waiter.after(0, || since), Wait::Not);
        assert_eq!(waiter.after(2, || since), Wait::Not);
        // 5 s.
        let slow = naps(busy(&mut waiter, Duration::from_micros(60), 50_000));
        assert!((4..=5).contains(&slow), "{slow}");
        // Another host, after a migration.
        busy(&mut waiter, Duration::from_micros(3), 300_000);
        assert_eq!(naps(busy(&mut waiter, Duration::from_micros(3), 100)), 100);
    }

    #[test]
    fn the_other_profile_never_waits() {
        let mut waiter = Waiter::new(Profile::LowLatency, 0.5, Instant::now());
        assert!((0..100).all(|packets| waiter.after(packets, || unreachable!("it needs no clock")) == Wait::Not));
    }
}
