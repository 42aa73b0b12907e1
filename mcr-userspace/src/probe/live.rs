//! A line each second on stderr while a probe runs.

use std::io::{self, Write};

use super::clock;

const SECOND_NS: u64 = 1_000_000_000;

/// What has been counted so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets.
    pub packets: u64,
    /// Bytes of their Ethernet frames without FCS.
    pub bytes: u64,
    /// Packets lost, or refused by the kernel.
    pub faults: u64,
}

/// Says once a second what came since.
pub struct Live {
    words: [&'static str; 2],
    begun: u64,
    last: (u64, Counts),
    next: u64,
    is_on: bool,
}

impl Live {
    /// Lines of `words[0]` packets and `words[1]` faults; none where `is_on` is false.
    pub fn new(words: [&'static str; 2], is_on: bool) -> Self {
        let now = clock::now_ns();
        Self { words, begun: now, last: (now, Counts::default()), next: now + SECOND_NS, is_on }
    }

    /// Whether a line is due at `now` (CLOCK_MONOTONIC, nanoseconds).
    pub fn is_due(&self, now: u64) -> bool {
        self.is_on && now >= self.next
    }

    /// Says it. Whether anybody reads it changes nothing.
    pub fn say(&mut self, now: u64, counts: Counts) {
        let _ = io::stderr().write_all(format!("{}\n", self.line(now, counts)).as_bytes());
        self.last = (now, counts);
        // One that comes late, comes alone.
        self.next = now - (now - self.next) % SECOND_NS + SECOND_NS;
    }

    fn line(&self, now: u64, counts: Counts) -> String {
        let (at, before) = self.last;
        let seconds = (now - at).max(1) as f64 / 1e9;
        let pps = (counts.packets - before.packets) as f64 / seconds;
        let mbit = (counts.bytes - before.bytes) as f64 * 8.0 / seconds / 1e6;
        let [packets, faults] = self.words;
        format!(
            "{:>5.0} s  {packets} {pps:.0} pps, {mbit:.2} Mbit/s; so far {} {packets}, {} {faults}",
            (now - self.begun) as f64 / 1e9,
            counts.packets,
            counts.faults
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_what_came_since_the_last() {
        let second = |n: u64| n * SECOND_NS;
        let mut live =
            Live { words: ["received", "lost"], begun: 0, last: (0, Counts::default()), next: second(1), is_on: true };
        assert!(!live.is_due(second(1) - 1) && live.is_due(second(1)));
        let first = Counts { packets: 1_000, bytes: 125_000, faults: 0 };
        assert_eq!(
            live.line(second(1), first),
            "    1 s  received 1000 pps, 1.00 Mbit/s; so far 1000 received, 0 lost"
        );
        live.say(second(3) + 5, first);
        assert_eq!(live.next, second(4));
        let then = Counts { packets: 1_500, bytes: 187_500, faults: 7 };
        live.last.0 = second(3);
        assert_eq!(live.line(second(4), then), "    4 s  received 500 pps, 0.50 Mbit/s; so far 1500 received, 7 lost");
    }
}
