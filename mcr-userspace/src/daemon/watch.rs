//! Whether zero-copy still works, by what is counted: it may pass its trial and fail later.

use std::time::{Duration, Instant};

/// Between two samples.
pub const EVERY: Duration = Duration::from_secs(1);
/// In so many samples something must be so.
const SAMPLES: u32 = 3;
/// So many samples with packets and without a cut one make good what was before.
const CLEAN: u32 = 10;
/// Packets that a NIC may keep to itself meanwhile: some count what their firmware takes, such as LLDP.
const OWN: u64 = 10;

/// Counters of an interface at one moment; each only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Packets that the NIC says it has received, with those that it had no room for.
    pub nic: u64,
    /// Packets that the program has seen.
    pub program: u64,
    /// Of those, packets that no rule was for.
    pub unmatched: u64,
    /// Packets for rules that ended before their IP length says.
    pub cut: u64,
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The NIC receives, and the program sees nothing.
    Deaf,
    /// Packets come in pieces: the first too short for its length, and another that is no packet.
    Cut,
}

impl Finding {
    /// In a sentence.
    pub fn why(self) -> &'static str {
        match self {
            Self::Deaf => "the NIC counts packets, and none of them comes",
            Self::Cut => "packets come cut in two, since the driver's receive buffer is smaller than they are",
        }
    }
}

/// What the samples have shown so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Watch {
    last: Option<(Instant, Sample)>,
    /// Samples in a row in which the NIC counted and the program did not, and packets that it counted in them.
    deaf: (u32, u64),
    cut: Cut,
}

/// Cut packets since the last of many samples without one.
#[derive(Clone, Copy, Debug, Default)]
struct Cut {
    /// Samples with some.
    samples: u32,
    /// And those with none since.
    clean: u32,
    packets: u64,
    /// Packets that no rule was for, in the same time.
    rests: u64,
}

impl Cut {
    fn add(&mut self, cut: u64, unmatched: u64) {
        self.packets += cut;
        self.rests += unmatched;
        if cut > 0 {
            (self.samples, self.clean) = (self.samples + 1, 0);
        } else {
            self.clean += 1;
        }
        if self.clean >= CLEAN {
            *self = Self::default();
        }
    }

    /// A rest for each: a sender that writes a wrong length sends none.
    fn is_found(&self) -> bool {
        self.samples >= SAMPLES && self.packets > OWN && self.rests >= self.packets
    }
}

impl Watch {
    /// Whether it is time for a sample.
    pub fn is_due(&self, now: Instant) -> bool {
        self.last.is_none_or(|(at, _)| now - at >= EVERY)
    }

    /// Takes a sample in, and says what is wrong. A counter that has fallen begins anew: a driver may clear its own at a reset.
    pub fn look(&mut self, now: Instant, sample: Sample) -> Option<Finding> {
        let before = self.last.replace((now, sample)).map_or(sample, |(_, before)| before);
        let more = |of: fn(&Sample) -> u64| of(&sample).saturating_sub(of(&before));
        let (nic, program) = (more(|of| of.nic), more(|of| of.program));
        self.deaf = match (nic, program) {
            (_, 1..) => (0, 0),
            // A pause in the stream says nothing.
            (0, 0) => self.deaf,
            (nic, 0) => (self.deaf.0 + 1, self.deaf.1 + nic),
        };
        // A pause says nothing.
        if program > 0 {
            self.cut.add(more(|of| of.cut), more(|of| of.unmatched));
        }
        if self.deaf.0 >= SAMPLES && self.deaf.1 > OWN {
            return Some(Finding::Deaf);
        }
        self.cut.is_found().then_some(Finding::Cut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Samples a second apart, as `(nic, program, unmatched, cut)`; at which of them what was found.
    fn first(samples: &[(u64, u64, u64, u64)]) -> Option<(usize, Finding)> {
        let start = Instant::now();
        let mut watch = Watch::default();
        samples.iter().enumerate().find_map(|(second, &(nic, program, unmatched, cut))| {
            let now = start + Duration::from_secs(second as u64);
            assert!(watch.is_due(now));
            let found = watch.look(now, Sample { nic, program, unmatched, cut })?;
            Some((second, found))
        })
    }

    /// As a NIC would count whose driver has run out of frames: all that it missed, and nothing for the program. No NIC was at hand.
    #[test]
    fn the_nic_counts_and_the_program_does_not() {
        let counted = [(4_000, 4_000, 12, 0), (4_010, 4_000, 12, 0), (4_510, 4_000, 12, 0), (5_010, 4_000, 12, 0)];
        assert_eq!(first(&counted), Some((3, Finding::Deaf)));
        let slow = [(0, 0, 0, 0), (0, 0, 0, 0), (5, 0, 0, 0), (5, 0, 0, 0), (10, 0, 0, 0), (15, 0, 0, 0)];
        assert_eq!(first(&slow), Some((5, Finding::Deaf)), "with pauses between");
    }

    #[test]
    fn what_a_nic_keeps_to_itself_is_no_fault() {
        let lldp: Vec<_> = (0..10).map(|second| (100 + second, 90, 0, 0)).collect();
        assert_eq!(first(&lldp), None);
        let busy: Vec<_> = (0..60).map(|second| (second * 1_000, second, 0, 0)).collect();
        assert_eq!(first(&busy), None, "it sees some");
        let reset = [(9_000, 9_000, 0, 0), (100, 9_000, 0, 0), (200, 9_100, 0, 0), (300, 9_200, 0, 0)];
        assert_eq!(first(&reset), None, "its counters began anew");
    }

    /// The pattern seen on igb with frames of 2,048 bytes: each packet of 1,066 bytes comes as 1,024 and a rest.
    #[test]
    fn packets_come_in_two() {
        let counted =
            [(0, 0, 0, 0), (500, 1_000, 500, 500), (1_000, 2_000, 1_000, 1_000), (1_500, 3_000, 1_500, 1_500)];
        assert_eq!(first(&counted), Some((3, Finding::Cut)));
        // Between them others, whole ones; and what was seen at the program is handled a sample later.
        let mixed = [(0, 0, 0, 0), (9, 9, 4, 4), (9, 9, 4, 4), (19, 19, 8, 6), (29, 29, 12, 12), (31, 31, 12, 12)];
        assert_eq!(first(&mixed), Some((4, Finding::Cut)));
    }

    #[test]
    fn a_sender_that_writes_a_wrong_length_is_not_the_drivers_fault() {
        let wrong: Vec<_> = (0..20).map(|second| (second * 10, second * 10, 0, second * 10)).collect();
        assert_eq!(first(&wrong), None);
        let few: Vec<_> = (0..60).map(|second| (second * 9, second * 9, second * 8, second / 15)).collect();
        assert_eq!(first(&few), None, "long since made good");
        let others: Vec<_> = (0..20).map(|second| (second * 90, second * 90, second * 90, 0)).collect();
        assert_eq!(first(&others), None);
    }
}
