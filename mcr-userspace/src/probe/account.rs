//! Judges received packets: whose they are, what their stream lacks, how long they took.

use std::collections::HashMap;

use hdrhistogram::Histogram;

use super::{
    payload::{Header, OVERHEAD},
    track::{Seen, Tracker},
};

/// Ages above this are not delays: the sender's clock is not this machine's.
const MAX_LATENCY_NS: u64 = 60_000_000_000;
/// Memory for the bitmaps of all streams together.
const BITMAP_BYTES: usize = 1 << 30;

/// Everything that a receiver knows about what came.
///
/// The first packet of a socket binds it to that packet's sender run, stream number and length; anything else
/// that comes there is foreign. Over all sockets, a run's stream numbers must keep one distance from the
/// sockets' positions. So one sender of 50 streams may be received by one process or by 50, and 50 senders of
/// one stream by one, and a packet led to a wrong group is foreign in each case.
pub struct Account {
    streams: Vec<Stream>,
    /// Stream number minus socket position, for each run seen.
    distances: HashMap<u32, i32>,
    unique: u64,
    accepted: u64,
    foreign: u64,
    latency: Histogram<u64>,
    clocks_agree: bool,
    arrivals: Option<(u64, u64)>,
    gaps: Option<(u64, u64)>,
    bytes: u64,
}

struct Stream {
    binding: Option<Binding>,
    tracker: Tracker,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Binding {
    run: u32,
    stream: u16,
    len: usize,
}

/// What is missing, by stream and in all.
#[derive(Debug, PartialEq, Eq)]
pub struct Lost {
    /// For each stream.
    pub streams: Vec<u64>,
    /// In all; more than the streams' sum when it cannot be known in which stream the rest is missing.
    pub total: u64,
}

impl Account {
    /// Of that many streams, none of which has received anything.
    pub fn new(streams: usize) -> Self {
        let bitmaps = (BITMAP_BYTES / Tracker::CHUNK_BYTES / streams).max(64);
        Self {
            streams: (0..streams).map(|_| Stream { binding: None, tracker: Tracker::new(bitmaps) }).collect(),
            distances: HashMap::new(),
            unique: 0,
            accepted: 0,
            foreign: 0,
            latency: Histogram::new_with_bounds(1, MAX_LATENCY_NS, 3).expect("constant bounds are valid"),
            clocks_agree: true,
            arrivals: None,
            gaps: None,
            bytes: 0,
        }
    }

    /// Takes one packet that came to the socket at `position` at `now_ns` (CLOCK_REALTIME); `None` for one that
    /// was too large to be read.
    pub fn take(&mut self, position: usize, payload: Option<&[u8]>, now_ns: u64) {
        let Some((len, header)) = payload.and_then(|p| Some((p.len(), Header::decode(p)?))) else {
            self.foreign += 1;
            return;
        };
        let binding = Binding { run: header.run, stream: header.stream, len };
        if !self.belongs(position, binding) {
            self.foreign += 1;
            return;
        }
        let tracker = &mut self.streams[position].tracker;
        let is_gap = header.seq > tracker.end();
        match tracker.observe(header.seq) {
            Seen::Refused => {
                self.foreign += 1;
                return;
            }
            Seen::Again => {}
            Seen::New | Seen::Late => {
                self.unique += 1;
                let age = header.age_ns(now_ns);
                self.clocks_agree &= age <= MAX_LATENCY_NS;
                self.latency.saturating_record(age);
            }
        }
        self.accepted += 1;
        self.bytes += (len + OVERHEAD) as u64;
        if is_gap {
            self.gaps = Some(widened(self.gaps, now_ns));
        }
        // sockets are read in turn, so the last one read is not always the last that came
        self.arrivals = Some(widened(self.arrivals, now_ns));
    }

    fn belongs(&mut self, position: usize, packet: Binding) -> bool {
        let stream = &mut self.streams[position];
        if let Some(binding) = stream.binding {
            return binding == packet;
        }
        let distance = i32::from(packet.stream) - position as i32;
        if *self.distances.entry(packet.run).or_insert(distance) != distance {
            return false;
        }
        stream.binding = Some(packet);
        true
    }

    /// Different packets received, in all streams.
    pub fn unique(&self) -> u64 {
        self.unique
    }

    /// Packets of ours, duplicates too.
    pub fn accepted(&self) -> u64 {
        self.accepted
    }

    /// Packets that are none of ours: not a probe's, damaged, of another run, or led to a wrong group.
    pub fn foreign(&self) -> u64 {
        self.foreign
    }

    /// When the first and the last packet of ours came (CLOCK_REALTIME, nanoseconds).
    pub fn arrivals(&self) -> Option<(u64, u64)> {
        self.arrivals
    }

    /// When the first and the last gap was found: a packet came whose number is not the next (CLOCK_REALTIME, nanoseconds). Packets that
    /// come later may have filled some of them.
    pub fn gaps(&self) -> Option<(u64, u64)> {
        self.gaps
    }

    /// Bytes of the Ethernet frames without FCS of all packets of ours, duplicates too.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Delays from sender to here in nanoseconds; `None` when nothing came or the clocks are not one.
    pub fn latency(&self) -> Option<&Histogram<u64>> {
        (self.clocks_agree && !self.latency.is_empty()).then_some(&self.latency)
    }

    /// The counts of each stream.
    pub fn trackers(&self) -> impl Iterator<Item = &Tracker> {
        self.streams.iter().map(|stream| &stream.tracker)
    }

    /// What is missing, if `expected` packets were sent over all streams. Without it only what is missing below
    /// the highest number of a stream can be known.
    ///
    /// A missing tail is given to streams when an even share of `expected` (as one `send` makes it) explains it.
    pub fn lost(&self, expected: Option<u64>) -> Lost {
        let mut streams: Vec<u64> = self.trackers().map(Tracker::holes).collect();
        let holes: u64 = streams.iter().sum();
        let missing = expected.unwrap_or(0).saturating_sub(self.unique);
        let Some(tail) = missing.checked_sub(holes) else { return Lost { streams, total: holes } };
        let n = streams.len() as u64;
        let share = |i: u64| expected.unwrap_or(0) / n + u64::from(i < expected.unwrap_or(0) % n);
        let tails: Vec<u64> = (0..).zip(self.trackers()).map(|(i, t)| share(i).saturating_sub(t.end())).collect();
        if tails.iter().sum::<u64>() == tail {
            streams.iter_mut().zip(tails).for_each(|(stream, tail)| *stream += tail);
        }
        Lost { streams, total: missing.max(holes) }
    }
}

/// The span with this moment in it.
fn widened(span: Option<(u64, u64)>, now: u64) -> (u64, u64) {
    let (first, last) = span.unwrap_or((now, now));
    (first.min(now), last.max(now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::{payload, track::MAX_JUMP};

    fn packet(run: u32, stream: u16, seq: u64) -> Vec<u8> {
        let mut bytes = vec![0; 60];
        payload::fill(&mut bytes);
        Header { stream, run, seq, sent_ns: 1_000 }.encode(&mut bytes);
        bytes
    }

    fn take(account: &mut Account, position: usize, bytes: &[u8]) {
        account.take(position, Some(bytes), 5_000);
    }

    #[test]
    fn what_is_not_ours_is_foreign_and_nothing_else() {
        let mut a = Account::new(2);
        take(&mut a, 0, &packet(7, 0, 0));
        take(&mut a, 0, b"not a probe packet");
        a.take(0, None, 5_000);
        take(&mut a, 0, &packet(8, 0, 1)); // another sender
        take(&mut a, 0, &packet(7, 1, 1)); // led to a wrong group
        take(&mut a, 0, &packet(7, 0, 1)[..59]); // cut
        take(&mut a, 0, &packet(7, 0, MAX_JUMP + 5)); // impossible number
        assert_eq!((a.unique(), a.foreign()), (1, 6));
        assert_eq!(a.lost(None), Lost { streams: vec![0, 0], total: 0 });
    }

    #[test]
    fn swapped_streams_of_one_run_are_foreign() {
        let mut a = Account::new(4);
        take(&mut a, 0, &packet(7, 0, 0));
        take(&mut a, 2, &packet(7, 3, 0));
        take(&mut a, 3, &packet(7, 2, 0));
        assert_eq!((a.unique(), a.foreign()), (1, 2));
    }

    #[test]
    fn many_senders_of_one_stream_and_one_stream_of_many_are_ours() {
        let mut a = Account::new(3);
        for i in 0..3 {
            take(&mut a, i as usize, &packet(100 + i, 0, 0));
        }
        assert_eq!((a.unique(), a.foreign()), (3, 0));
        let mut a = Account::new(1);
        take(&mut a, 0, &packet(1, 41, 0));
        assert_eq!((a.unique(), a.foreign()), (1, 0));
    }

    #[test]
    fn a_known_count_shows_the_missing_tail_in_its_stream() {
        let mut a = Account::new(3);
        // 8 packets round robin: 3, 3, 2. Lost: 1 of stream 0, the last of stream 1, all of stream 2.
        for (stream, seq) in [(0, 0), (0, 2), (1, 0), (1, 1)] {
            take(&mut a, stream, &packet(1, stream as u16, seq));
        }
        assert_eq!(a.lost(Some(8)), Lost { streams: vec![1, 1, 2], total: 4 });
        assert_eq!(a.lost(None), Lost { streams: vec![1, 0, 0], total: 1 });
    }

    #[test]
    fn an_uneven_sum_is_judged_in_all_and_more_than_expected_is_no_loss() {
        let mut a = Account::new(2);
        for seq in 0..9 {
            take(&mut a, 0, &packet(1, 0, seq));
        }
        take(&mut a, 1, &packet(2, 0, 0));
        assert_eq!(a.lost(Some(10)), Lost { streams: vec![0, 0], total: 0 });
        assert_eq!(a.lost(Some(11)), Lost { streams: vec![0, 0], total: 1 });
        assert_eq!(a.lost(Some(5)), Lost { streams: vec![0, 0], total: 0 });
    }

    #[test]
    fn latency_is_measured_or_withheld() {
        let mut a = Account::new(1);
        assert!(a.latency().is_none());
        take(&mut a, 0, &packet(1, 0, 0));
        assert_eq!(a.latency().unwrap().max() / 100, 40);
        a.take(0, Some(&packet(1, 0, 1)), 999); // sent after it came
        assert!(a.latency().is_none());
    }

    #[test]
    fn it_is_known_when_packets_were_missed() {
        let mut a = Account::new(1);
        for (seq, now) in [(0, 10), (1, 20), (3, 30), (4, 40), (7, 50), (8, 60)] {
            a.take(0, Some(&packet(1, 0, seq)), now);
        }
        assert_eq!((a.gaps(), a.arrivals()), (Some((30, 50)), Some((10, 60))));
        assert_eq!(a.bytes(), 6 * 102);
    }

    #[test]
    fn duplicates_do_not_count_as_received() {
        let mut a = Account::new(1);
        for seq in [0, 1, 1, 0] {
            take(&mut a, 0, &packet(1, 0, seq));
        }
        assert_eq!((a.unique(), a.trackers().next().unwrap().duplicated()), (2, 2));
    }
}
