//! Copies of packets for those who capture them: taken by a worker, and read by the daemon from a ring.
//!
//! Nothing here locks, allocates or calls the kernel for a packet. A copy that finds no room in its ring is lost, and counted where its
//! rule's other losses are.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use mcr_common::{
    counter::{OutputDrop, RuleDrop},
    flow::Datagram,
    steered::Kind,
    wire::ipv4,
};
use rtrb::{Consumer, Producer, RingBuffer};

use super::{counters::Counter, outputs::Outputs, validate::be16};

/// Where a packet is captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// As it came in.
    In,
    /// As output number `0` of its rule sent it.
    Out(u16),
    /// Not offered to any output.
    Dropped(RuleDrop),
    /// Offered to output number `0` of its rule, and not sent.
    NotSent(u16, OutputDrop),
}

/// What stands before a copy in the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Nanoseconds after 1970.
    pub time: u64,
    /// Number of the rule in its capture.
    pub rule: u32,
    /// Where.
    pub seen: Seen,
    /// Bytes of the packet.
    pub original: u32,
    /// Those of them that follow.
    pub length: u32,
}

impl Head {
    /// Bytes that it takes.
    pub const LEN: usize = 24;

    fn to_bytes(self) -> [u8; Self::LEN] {
        let (point, output, reason) = match self.seen {
            Seen::In => (0, 0, 0),
            Seen::Out(output) => (1, output, 0),
            Seen::Dropped(reason) => (2, 0, reason as u8),
            Seen::NotSent(output, reason) => (3, output, reason as u8),
        };
        let mut bytes = [0; Self::LEN];
        bytes[..8].copy_from_slice(&self.time.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.rule.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.original.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.length.to_le_bytes());
        bytes[20..22].copy_from_slice(&u16::to_le_bytes(output));
        bytes[22] = point;
        bytes[23] = reason;
        bytes
    }

    fn of_bytes(bytes: &[u8; Self::LEN]) -> Self {
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let output = u16::from_le_bytes([bytes[20], bytes[21]]);
        let reason = usize::from(bytes[23]);
        let seen = match bytes[22] {
            0 => Seen::In,
            1 => Seen::Out(output),
            2 => Seen::Dropped(RuleDrop::ALL[reason]),
            _ => Seen::NotSent(output, OutputDrop::ALL[reason]),
        };
        let time = u64::from(word(4)) << 32 | u64::from(word(0));
        Self { time, rule: word(8), seen, original: word(12), length: word(16) }
    }
}

/// Which packets of a rule are captured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Points {
    /// Those that came in.
    pub received: bool,
    /// Those that were sent.
    pub sent: bool,
    /// Those that were dropped.
    pub dropped: bool,
}

/// One rule of a capture at one worker: what is wanted of it, and what the capture has lost.
#[derive(Debug)]
pub struct Followed {
    /// Number of the rule in its capture.
    pub rule: u32,
    /// What is wanted.
    pub points: Points,
    /// Lost copies of packets that came in.
    pub lost_in: Counter,
    /// Lost copies of packets that no output was offered.
    pub lost_dropped: Counter,
    /// Lost copies of what each output sent, and of what it did not.
    pub lost_outputs: Outputs<(Counter, Counter)>,
}

impl Followed {
    /// A rule of so many outputs, at least one.
    pub fn new(rule: u32, points: Points, outputs: usize) -> Self {
        let lost_outputs = Outputs::new((0..outputs).map(|_| Default::default())).expect("a rule has an output");
        Self { rule, points, lost_in: Counter::default(), lost_dropped: Counter::default(), lost_outputs }
    }

    fn wants(&self, seen: Seen) -> bool {
        match seen {
            Seen::In => self.points.received,
            Seen::Out(_) => self.points.sent,
            Seen::Dropped(_) | Seen::NotSent(..) => self.points.dropped,
        }
    }

    fn lost(&self, seen: Seen) -> Option<&Counter> {
        let output = |number: u16| self.lost_outputs.get(number.into());
        match seen {
            Seen::In => Some(&self.lost_in),
            Seen::Dropped(_) => Some(&self.lost_dropped),
            Seen::Out(number) => Some(&output(number)?.0),
            Seen::NotSent(number, _) => Some(&output(number)?.1),
        }
    }
}

/// One capture at one worker.
#[derive(Debug)]
pub struct Tap {
    /// Number of the capture.
    pub capture: u64,
    snaplen: usize,
    ring: Producer<u8>,
    /// Its rules, by slot.
    followed: Vec<Option<Arc<Followed>>>,
}

impl Tap {
    /// A tap that copies at most `snaplen` bytes of each packet into a ring of `room` bytes, and the end from which that is read.
    pub fn new(capture: u64, snaplen: usize, room: usize) -> (Self, Copies) {
        let (mut ring, copies) = RingBuffer::new(room);
        // It is written to now, so that no page of it is first touched by the worker. The ring stays empty.
        drop(ring.write_chunk(room));
        (Self { capture, snaplen, ring, followed: Vec::new() }, Copies { ring: copies })
    }

    fn note(&mut self, time: u64, slot: u32, seen: Seen, packet: &[u8], original: usize) {
        let Some(Some(followed)) = self.followed.get(slot as usize) else { return };
        if !followed.wants(seen) {
            return;
        }
        let copied = &packet[..packet.len().min(self.snaplen)];
        let head = Head { time, rule: followed.rule, seen, original: original as u32, length: copied.len() as u32 };
        let has_room = self.ring.write_chunk_uninit(Head::LEN + copied.len()).is_ok();
        let kept = has_room
            && self.ring.push_entire_slice(&head.to_bytes()).is_ok()
            && self.ring.push_entire_slice(copied).is_ok();
        if !kept && let Some(lost) = followed.lost(seen) {
            lost.add(1);
        }
    }
}

/// All captures at one worker, at least one.
#[derive(Debug, Default)]
pub struct Taps {
    taps: Vec<Tap>,
    /// Nanoseconds after 1970, as of the batch in hand.
    now: u64,
}

impl Taps {
    /// One more capture begins.
    pub fn add(&mut self, tap: Tap) {
        self.taps.push(tap);
    }

    /// A capture ends; whether others go on.
    pub fn end(&mut self, capture: u64) -> bool {
        self.taps.retain(|tap| tap.capture != capture);
        !self.taps.is_empty()
    }

    /// A capture has the rule of this slot from now on.
    pub fn follow(&mut self, capture: u64, slot: u32, followed: Arc<Followed>) {
        for tap in self.taps.iter_mut().filter(|tap| tap.capture == capture) {
            if tap.followed.len() <= slot as usize {
                tap.followed.resize_with(slot as usize + 1, || None);
            }
            tap.followed[slot as usize] = Some(followed.clone());
        }
    }

    /// The slot is another rule's from now on.
    pub fn forget(&mut self, slot: u32) {
        for place in self.taps.iter_mut().filter_map(|tap| tap.followed.get_mut(slot as usize)) {
            *place = None;
        }
    }

    /// What is seen from now on is seen now. The clock is read once for a batch.
    #[cold]
    pub fn tick(&mut self) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.now = since.as_nanos() as u64;
    }

    /// A packet of the rule in `slot`, of `original` bytes of which `packet` is there, is counted.
    #[cold]
    #[inline(never)]
    pub fn note(&mut self, slot: u32, seen: Seen, packet: &[u8], original: usize) {
        for tap in &mut self.taps {
            tap.note(self.now, slot, seen, packet, original);
        }
    }
}

/// Bytes that a packet had before the program cut it to its headers: what its IP header says.
pub fn whole_length(kind: Kind, datagram: Option<&Datagram>, packet: &[u8]) -> usize {
    let Some(datagram) = datagram.filter(|_| kind == Kind::Cut) else { return packet.len() };
    let ip = usize::from(datagram.ip_offset);
    let total = be16(packet, ip + ipv4::TOTAL_LENGTH).unwrap_or_default();
    packet.len().max(ip + usize::from(total))
}

/// The daemon's end of a tap's ring.
#[derive(Debug)]
pub struct Copies {
    ring: Consumer<u8>,
}

impl Copies {
    /// The oldest copy's head, which stays.
    pub fn peek(&mut self) -> Option<Head> {
        let chunk = self.ring.read_chunk(Head::LEN).ok()?;
        let (first, second) = chunk.as_slices();
        let mut bytes = [0; Head::LEN];
        bytes[..first.len()].copy_from_slice(first);
        bytes[first.len()..].copy_from_slice(second);
        let head = Head::of_bytes(&bytes);
        // Its packet may still be on its way.
        (self.ring.slots() >= Head::LEN + head.length as usize).then_some(head)
    }

    /// Shows the packet of the copy whose head was [peeked](Self::peek) at, in two parts, and removes it.
    pub fn take(&mut self, head: &Head, show: impl FnOnce([&[u8]; 2])) {
        let Ok(chunk) = self.ring.read_chunk(Head::LEN + head.length as usize) else { return };
        let (first, second) = chunk.as_slices();
        match first.split_at_checked(Head::LEN) {
            Some((_, packet)) => show([packet, second]),
            None => show([&second[Head::LEN - first.len()..], &[]]),
        }
        chunk.commit_all();
    }
}

#[cfg(test)]
mod tests;
