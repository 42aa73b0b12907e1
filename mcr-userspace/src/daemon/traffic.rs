//! What became of a rule's packets in the last seconds that had some: whether an output sent none of them.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use mcr_common::counter::{OutputDrop, RuleDrop};

use super::active::{OutputReading, Reading};

/// Seconds with packets that are looked at.
const SECONDS: usize = 5;
/// Between two samples.
const PERIOD: Duration = Duration::from_millis(950);
/// Samples in a row with packets of which none reached the outputs and none was dropped by a worker, until they are known to be lost
/// in the rings: some may be under way at the moment of one sample.
const LOST_SAMPLES: usize = 2;

/// What is wrong with a rule's packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// No packet reaches the outputs, for this reason most of all.
    AllDropped(RuleDrop),
    /// This output, by its place from 0, sends none, for this reason most of all.
    NothingSent(usize, OutputDrop),
}

/// The last seconds that had packets.
#[derive(Debug, Default)]
pub struct Traffic {
    sampled: Option<Instant>,
    last: Reading,
    /// What each of those seconds added.
    added: VecDeque<Reading>,
    /// When the last of those seconds began.
    began: Option<Instant>,
    findings: Vec<Finding>,
}

impl Traffic {
    /// Looks at the counters, once a second at most. Seconds without packets leave the findings as they were.
    pub fn look(&mut self, now: Instant, read: impl FnOnce() -> Reading) {
        if self.sampled.is_some_and(|sampled| now - sampled < PERIOD) {
            return;
        }
        let reading = read();
        let before = self.sampled.replace(now);
        let is_first = before.is_none() || reading.outputs.len() != self.last.outputs.len();
        let added = difference(&reading, &self.last);
        self.last = reading;
        if is_first || added.matched_packets == 0 && added.outputs.iter().all(|output| output.offered == 0) {
            return;
        }
        if self.added.len() == SECONDS {
            self.added.pop_front();
        }
        self.added.push_back(added);
        self.began = before;
        self.findings = judge(&self.added);
    }

    /// Forgets what was seen: the rule has other counters now.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// Packets a second, in the last seconds that had packets.
    pub fn pace(&self) -> u64 {
        let packets: u64 = self.added.iter().map(|second| second.matched_packets).sum();
        packets / self.added.len().max(1) as u64
    }

    /// What the last seconds that had packets have shown, in the order of the outputs.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Since the last second that had packets began: they may be as old as that.
    pub fn age(&self, now: Instant) -> Duration {
        self.began.map_or(Duration::ZERO, |began| now.saturating_duration_since(began))
    }
}

fn judge(seconds: &VecDeque<Reading>) -> Vec<Finding> {
    let sum = |of: &dyn Fn(&Reading) -> u64| seconds.iter().map(of).sum::<u64>();
    let outputs = seconds.back().map_or(0, |second| second.outputs.len());
    let offered = sum(&|second| second.outputs.iter().map(|output| output.offered).sum());
    if offered == 0 {
        let reason = |reason: RuleDrop| sum(&|second| second.dropped[reason as usize]);
        let most = most(RuleDrop::ALL, reason).or((seconds.len() >= LOST_SAMPLES).then_some(RuleDrop::RxRing));
        return most.map(Finding::AllDropped).into_iter().collect();
    }
    let silent = (0..outputs).filter_map(|at| {
        let of = |count: &dyn Fn(&OutputReading) -> u64| sum(&|second| second.outputs.get(at).map_or(0, count));
        if of(&|output| output.sent) > 0 {
            return None;
        }
        let reason = most(OutputDrop::ALL, |reason| of(&|output| output.dropped[reason as usize]))?;
        Some(Finding::NothingSent(at, reason))
    });
    silent.collect()
}

/// The reason with the most packets, if there are any.
fn most<R: Copy>(reasons: &[R], packets: impl Fn(R) -> u64) -> Option<R> {
    let counted = reasons.iter().map(|reason| (packets(*reason), *reason));
    counted.filter(|(packets, _)| *packets > 0).max_by_key(|(packets, _)| *packets).map(|(_, reason)| reason)
}

/// What the counters added from `before` to `now`.
pub fn difference(now: &Reading, before: &Reading) -> Reading {
    let outputs = now.outputs.iter().enumerate().map(|(at, now)| {
        let before = before.outputs.get(at).copied().unwrap_or_default();
        OutputReading {
            offered: now.offered.saturating_sub(before.offered),
            sent: now.sent.saturating_sub(before.sent),
            sent_bytes: now.sent_bytes.saturating_sub(before.sent_bytes),
            dropped: std::array::from_fn(|at| now.dropped[at].saturating_sub(before.dropped[at])),
        }
    });
    Reading {
        matched_packets: now.matched_packets.saturating_sub(before.matched_packets),
        matched_bytes: now.matched_bytes.saturating_sub(before.matched_bytes),
        dropped: std::array::from_fn(|at| now.dropped[at].saturating_sub(before.dropped[at])),
        outputs: outputs.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counters of a rule with two outputs, and time that passes.
    struct World {
        now: Instant,
        reading: Reading,
        traffic: Traffic,
    }

    impl World {
        fn new() -> Self {
            let reading = Reading { outputs: vec![OutputReading::default(); 2], ..Reading::default() };
            let mut world = Self { now: Instant::now(), reading, traffic: Traffic::default() };
            world.second(|_| {});
            world
        }

        /// A second in which `pass` counts.
        fn second(&mut self, pass: impl FnOnce(&mut Reading)) -> Option<Finding> {
            pass(&mut self.reading);
            self.now += Duration::from_secs(1);
            let reading = self.reading.clone();
            self.traffic.look(self.now, || reading);
            self.traffic.findings().first().copied()
        }
    }

    /// Packets that are sent by the first output, and by the second or dropped there.
    fn pass(reading: &mut Reading, packets: u64, second: Option<OutputDrop>) {
        reading.matched_packets += packets;
        for (at, output) in reading.outputs.iter_mut().enumerate() {
            output.offered += packets;
            match second.filter(|_| at == 1) {
                Some(reason) => output.dropped[reason as usize] += packets,
                None => output.sent += packets,
            }
        }
    }

    #[test]
    fn an_output_that_sends_nothing_is_found_and_forgiven_at_once_when_it_sends() {
        let mut world = World::new();
        assert_eq!(world.second(|reading| pass(reading, 10, None)), None);
        for _ in 0..SECONDS - 1 {
            assert_eq!(world.second(|reading| pass(reading, 10, Some(OutputDrop::TooBig))), None);
        }
        let found = Some(Finding::NothingSent(1, OutputDrop::TooBig));
        assert_eq!(world.second(|reading| pass(reading, 10, Some(OutputDrop::TooBig))), found);
        assert_eq!(world.second(|_| {}), found, "a second without packets says nothing");
        assert_eq!(world.second(|reading| pass(reading, 1, None)), None);
    }

    #[test]
    fn packets_that_are_all_dropped_before_the_outputs() {
        let mut world = World::new();
        let malformed = |reading: &mut Reading| {
            reading.matched_packets += 5;
            reading.dropped[RuleDrop::Malformed as usize] += 5;
        };
        assert_eq!(world.second(malformed), Some(Finding::AllDropped(RuleDrop::Malformed)));
        let mut world = World::new();
        // What the rings lose is counted later.
        let lost = |reading: &mut Reading| reading.matched_packets += 5;
        assert_eq!(world.second(lost), None);
        assert_eq!(world.second(lost), Some(Finding::AllDropped(RuleDrop::RxRing)));
        assert_eq!(world.second(|reading| pass(reading, 1, None)), None);
    }

    #[test]
    fn other_counters_begin_anew() {
        let mut world = World::new();
        world.second(|reading| pass(reading, 10, Some(OutputDrop::LinkDown)));
        world.reading = Reading { outputs: vec![OutputReading::default(); 1], ..Reading::default() };
        world.traffic.forget();
        assert_eq!(world.second(|_| {}), None);
        assert_eq!(world.second(|reading| pass(reading, 10, None)), None);
    }
}
