//! Packets that are several datagrams, and packets that take several frames: rare, and off the fast path.
//!
//! A sender's or a receiver's kernel merges datagrams of one flow under one header (`UDP_SEGMENT` and GRO, udp(7)). Each of them is to
//! leave as it would have come alone, so the packet is split as `__udp_gso_segment()` (net/ipv4/udp_offload.c) splits it.

use mcr_common::{
    checksum::{Change, Sum, pseudo_header},
    counter::{OutputDrop, RuleDrop},
    flow::Datagram,
    steered::{Kind, Merged},
    wire::{UDP_LEN, ipv4, udp},
};

use super::{
    capture::Seen,
    desk::Desk,
    passage::{Ingress, Outlets, admit, fan_out},
    store::Stores,
    table::Entry,
    validate::be16,
};
use crate::xsk::frame::Frame;

/// Frames that the longest packet takes: 64 KiB in frames of 2 KiB, with headroom in each.
const MAX_PARTS: usize = 48;

/// The frames of one packet, in their order.
pub struct Parts {
    first: Frame,
    rest: [Option<Frame>; MAX_PARTS - 1],
}

impl Parts {
    /// Takes the frames from `from` that have more of the packet that begins in `first`.
    #[cold]
    pub fn gather(first: Frame, from: &mut impl Iterator<Item = Frame>) -> Self {
        let mut continued = first.is_continued();
        let mut rest = [const { None }; MAX_PARTS - 1];
        for place in &mut rest {
            if !continued {
                break;
            }
            *place = from.next();
            continued = place.as_ref().is_some_and(Frame::is_continued);
        }
        Self { first, rest }
    }

    /// Bytes of the packet.
    fn len(&self) -> usize {
        self.first.len() + self.rest.iter().flatten().map(Frame::len).sum::<usize>()
    }

    /// Frames of the packet.
    fn frames(&self) -> u64 {
        1 + self.rest.iter().flatten().count() as u64
    }

    /// Copies bytes of the packet from `from` on, as many as `to` has; fewer where the packet ends before.
    fn copy(&mut self, stores: &Stores, mut from: usize, to: &mut [u8]) {
        let mut at = 0;
        for frame in std::iter::once(&mut self.first).chain(self.rest.iter_mut().flatten()) {
            let length = frame.len();
            if from < length {
                let memory = stores.memory(frame);
                let bytes = &frame.bytes(memory)[from..];
                let take = bytes.len().min(to.len() - at);
                to[at..at + take].copy_from_slice(&bytes[..take]);
                at += take;
            }
            from = from.saturating_sub(length);
        }
    }

    /// Puts all frames back.
    fn put(self, stores: &mut Stores) {
        stores.put(self.first);
        self.rest.into_iter().flatten().for_each(|frame| stores.put(frame));
    }
}

/// Forwards the datagrams of one packet to all outputs of its rule, or counts them all as dropped.
#[cold]
pub fn forward(
    desk: &mut Desk<'_>,
    outlets: &mut Outlets<'_>,
    ingress: Ingress,
    kind: Kind,
    entry: Option<(u32, &Entry)>,
    datagram: Option<Datagram>,
    mut parts: Parts,
) {
    let merged = match kind {
        Kind::Merged => parts.first.merged(desk.stores.memory(&parts.first)),
        // The program lets no other packet through that takes several frames.
        Kind::Whole | Kind::Cut => Merged { size: 0, count: 1 },
    };
    let count = u64::from(merged.count);
    // Each frame has been counted as a packet; a merged packet takes no more frames than it has datagrams.
    desk.counters.rx_packets.add(count.saturating_sub(parts.frames()));
    match entry {
        Some((slot, entry)) => {
            entry.counters.received.add(count);
            let headers = admit(&entry.rule, ingress.ifindex, datagram)
                .and_then(|datagram| Headers::read(desk, datagram, merged, &mut parts));
            match headers {
                Ok(headers) => split(desk, outlets, (slot, entry), &headers, &mut parts),
                Err(reason) => {
                    entry.counters.dropped[reason as usize].add(count);
                    for _ in 0..count {
                        note(desk, slot, Seen::In, &mut parts);
                        note(desk, slot, Seen::Dropped(reason), &mut parts);
                    }
                }
            }
        }
        None => desk.counters.orphans.add(count),
    }
    parts.put(desk.stores);
}

/// Sends each datagram to each output.
fn split(
    desk: &mut Desk<'_>,
    outlets: &mut Outlets<'_>,
    (slot, entry): (u32, &Entry),
    headers: &Headers,
    parts: &mut Parts,
) {
    for number in 0..headers.merged.count {
        let Some(mut frame) = desk.stores.of(parts.first.memory()).pool.take() else {
            note(desk, slot, Seen::In, parts);
            for (number, output) in entry.counters.outputs.iter().enumerate() {
                output.offered.add(1);
                output.dropped[OutputDrop::NoFrame as usize].add(1);
                note(desk, slot, Seen::NotSent(number as u16, OutputDrop::NoFrame), parts);
            }
            continue;
        };
        let memory = desk.stores.memory(&frame);
        let length = headers.write(number, desk.stores, parts, frame.buffer(memory));
        frame.set_len(memory, length);
        if let Some(taps) = &mut desk.taps {
            let packet = &*frame.bytes(desk.stores.memory(&frame));
            taps.note(slot, Seen::In, packet, packet.len());
        }
        fan_out(desk, outlets, slot, entry, &headers.datagram, frame);
    }
}

/// Shows the first frame of a packet of which no datagram is made to those who capture, once for each datagram that is counted.
fn note(desk: &mut Desk<'_>, slot: u32, seen: Seen, parts: &mut Parts) {
    if let Some(taps) = &mut desk.taps {
        let original = parts.len();
        let packet = &*parts.first.bytes(desk.stores.memory(&parts.first));
        taps.note(slot, seen, packet, original);
    }
}

/// What the datagrams of a merged packet have in common, and how they are told apart.
struct Headers {
    datagram: Datagram,
    merged: Merged,
    /// Bytes of the packet's headers.
    length: usize,
    /// Bytes of all payload.
    payload: usize,
}

impl Headers {
    /// Checks that the packet is as long as its headers say, that it is as many datagrams as the program has counted, and that each of
    /// them fits a frame.
    fn read(desk: &Desk<'_>, datagram: Datagram, merged: Merged, parts: &mut Parts) -> Result<Self, RuleDrop> {
        let whole = parts.len();
        let memory = desk.stores.memory(&parts.first);
        let capacity = memory.capacity();
        let bytes = parts.first.bytes(memory);
        let (ip, udp_at) = (usize::from(datagram.ip_offset), usize::from(datagram.udp_offset));
        let length = udp_at + UDP_LEN;
        let word = |at| be16(bytes, at).map(usize::from).ok_or(RuleDrop::Malformed);
        let total = word(ip + ipv4::TOTAL_LENGTH)?;
        let payload = word(udp_at + udp::LENGTH)?.checked_sub(UDP_LEN).ok_or(RuleDrop::Malformed)?;
        let header = bytes.get(ip..udp_at).ok_or(RuleDrop::Malformed)?;
        if ip + total != whole || length + payload != whole || Sum::default().header(header).fold() != 0xffff {
            return Err(RuleDrop::Malformed);
        }
        if merged.size == 0 || length + merged.size as usize > capacity {
            return Err(RuleDrop::Oversize);
        }
        if Merged::of(payload as u32, merged.size) != merged {
            return Err(RuleDrop::Malformed);
        }
        Ok(Self { datagram, merged, length, payload })
    }

    /// Writes datagram `number`, from 0, into `to`; its length. Lengths, identification and checksums are its own.
    fn write(&self, number: u32, stores: &Stores, parts: &mut Parts, to: &mut [u8]) -> usize {
        let size = self.merged.size as usize;
        let before = number as usize * size;
        let payload = size.min(self.payload - before);
        let length = self.length + payload;
        parts.copy(stores, 0, &mut to[..self.length]);
        parts.copy(stores, self.length + before, &mut to[self.length..length]);

        let (ip, udp_at) = (usize::from(self.datagram.ip_offset), usize::from(self.datagram.udp_offset));
        let header = &mut to[ip..udp_at];
        let change = set(header, ipv4::TOTAL_LENGTH, (length - ip) as u16, Change::default());
        // As the kernel numbers them (`inet_gso_segment()`, net/ipv4/af_inet.c).
        let id = be16(header, ipv4::IDENTIFICATION).unwrap_or_default().wrapping_add(number as u16);
        let change = set(header, ipv4::IDENTIFICATION, id, change);
        let checksum = change.apply(be16(header, ipv4::CHECKSUM).unwrap_or_default());
        set(header, ipv4::CHECKSUM, checksum, Change::default());

        let covered = &mut to[udp_at..length];
        let udp_length = covered.len() as u16;
        set(covered, udp::LENGTH, udp_length, Change::default());
        // None stays none. Else the kernel has checked each before it merged them, or leaves it to whoever splits them.
        if be16(covered, udp::CHECKSUM) != Some(0) {
            set(covered, udp::CHECKSUM, 0, Change::default());
            let pseudo = pseudo_header(self.datagram.source, self.datagram.group, udp_length);
            let checksum = match pseudo.bytes(covered).finish() {
                0 => 0xffff,
                checksum => checksum,
            };
            set(covered, udp::CHECKSUM, checksum, Change::default());
        }
        length
    }
}

/// Writes a word, and notes what has changed.
fn set(bytes: &mut [u8], at: usize, new: u16, change: Change) -> Change {
    let old = be16(bytes, at).unwrap_or_default();
    bytes[at..at + 2].copy_from_slice(&new.to_be_bytes());
    change.word(old, new)
}
