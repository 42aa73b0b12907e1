//! A received packet's way through a worker: whose it is, whether it is sound, and on to each output.

use std::sync::Arc;

use mcr_common::{
    counter::{OutputDrop, RuleDrop},
    flow::Datagram,
    parse::{Parsed, parse},
    steered::Kind,
    wire::is_martian_source,
};

use super::{
    capture::{Seen, whole_length},
    depth::Depth,
    desk::Desk,
    egress::Egress,
    fetch, merged,
    plan::{Rewrite, plan},
    rewrite::rewrite,
    rule::{Compiled, InterfaceId},
    store::Stores,
    table::Entry,
    validate::{complete_checksum, end_of_packet, ends_early, is_cut},
};
use crate::xsk::{
    frame::Frame,
    port::{Link, Port},
};

/// A socket and where it is.
#[derive(Debug)]
pub struct Bound {
    /// The socket.
    pub port: Port,
    /// Its interface.
    pub interface: InterfaceId,
    /// Its queue.
    pub queue: u32,
    /// Packets received over it, to tell when those of a moment have been.
    pub received: u64,
    /// How many may wait there.
    pub depth: Depth,
}

impl Bound {
    /// Gives the kernel frames to receive into: all of its quota, unless packets would only wait in them.
    #[inline]
    pub fn refill(&mut self, stores: &mut Stores) {
        let frames = self.depth.of(self.port.quota().fill);
        self.port.refill(&mut stores.of(self.port.memory()).pool, frames);
    }
}

/// Where a packet came in.
#[derive(Clone, Copy, Debug)]
pub struct Ingress {
    /// The interface's index.
    pub ifindex: u32,
    /// Whether its frames may carry partial checksums.
    pub partial_checksums: bool,
}

/// An interface of the worker's.
#[derive(Debug)]
pub struct Interface {
    /// What comes in.
    pub ingress: Ingress,
    /// What goes out, where the worker has a socket for it.
    pub egress: Option<Egress>,
}

/// All interfaces by number, and the sockets on which their egresses send.
pub struct Outlets<'a> {
    /// The interfaces.
    pub interfaces: &'a mut [Option<Interface>],
    /// The sockets.
    pub bound: &'a mut [Bound],
}

impl Outlets<'_> {
    /// The egress of an interface, and its socket.
    #[inline]
    fn of(&mut self, interface: InterfaceId) -> Option<(&mut Egress, &mut Port)> {
        let egress = self.interfaces.get_mut(interface)?.as_mut()?.egress.as_mut()?;
        let port = &mut self.bound.get_mut(egress.port)?.port;
        Some((egress, port))
    }
}

/// A packet for one output, planned and not sent yet.
struct Planned {
    output: u16,
    egress: InterfaceId,
    /// The UMEM that the egress sends from.
    memory: u8,
    new: Rewrite,
}

/// Fetches what handling these frames will ask for: each of them, its rule and that one's counters are where nobody has looked for a
/// while, and each is found by way of the one before, so the misses of several packets are better waited for together.
#[inline]
pub fn fetch(desk: &Desk<'_>, frames: &[Frame]) {
    for frame in frames {
        frame.fetch(desk.stores.memory(frame));
    }
    let slots = || frames.iter().filter_map(|frame| frame.slot(desk.stores.memory(frame)));
    for slot in slots() {
        desk.table.fetch(slot);
    }
    for entry in slots().filter_map(|slot| desk.table.get(slot)) {
        fetch::line(Arc::as_ptr(&entry.counters));
    }
}

/// Forwards one received packet to all outputs of its rule. `rest` is what was received after it: a merged packet may need more frames.
#[inline]
pub fn forward(
    desk: &mut Desk<'_>,
    outlets: &mut Outlets<'_>,
    ingress: Ingress,
    mut frame: Frame,
    rest: &mut impl Iterator<Item = Frame>,
) {
    let table = desk.table;
    let memory = desk.stores.memory(&frame);
    let hint = frame.take_steered(memory);
    let datagram = match parse(frame.bytes(memory)) {
        Parsed::Datagram(datagram) => Some(datagram),
        Parsed::Fragment(_) | Parsed::Other => None,
    };
    // The kernel's word where it came along; its lookup, repeated here, where the driver carries no metadata.
    let (kind, slot) = match hint {
        Some((kind, slot)) => (kind, Some(slot)),
        None => {
            desk.counters.own_lookups.add(1);
            // Its length alone tells that the program has cut it.
            let cut = datagram.as_ref().is_some_and(|datagram| is_cut(frame.bytes(memory), datagram));
            let kind = if cut { Kind::Cut } else { Kind::Whole };
            (kind, datagram.as_ref().and_then(|datagram| table.find(ingress.ifindex, datagram)))
        }
    };
    let entry = slot.and_then(|slot| Some((slot, table.get(slot)?)));
    if kind == Kind::Merged || frame.is_continued() {
        return merged::forward(desk, outlets, ingress, kind, entry, datagram, merged::Parts::gather(frame, rest));
    }
    let Some((slot, entry)) = entry else {
        desk.counters.orphans.add(1);
        return desk.stores.put(frame);
    };
    // What the kernel counted for this slot has arrived, whatever becomes of it here.
    entry.counters.received.add(1);
    if let Some(taps) = &mut desk.taps {
        let packet = &*frame.bytes(desk.stores.memory(&frame));
        taps.note(slot, Seen::In, packet, whole_length(kind, datagram.as_ref(), packet));
    }
    match accept(desk, entry, ingress, kind, datagram, &mut frame) {
        Ok(datagram) => fan_out(desk, outlets, slot, entry, &datagram, frame),
        Err(reason) => {
            entry.counters.dropped[reason as usize].add(1);
            if let Some(taps) = &mut desk.taps {
                let packet = &*frame.bytes(desk.stores.memory(&frame));
                taps.note(slot, Seen::Dropped(reason), packet, whole_length(kind, datagram.as_ref(), packet));
            }
            desk.stores.put(frame);
        }
    }
}

/// A datagram that the rule takes, and that may be forwarded by its source.
#[inline]
pub fn admit(rule: &Compiled, ifindex: u32, datagram: Option<Datagram>) -> Result<Datagram, RuleDrop> {
    let datagram = datagram.filter(|datagram| rule.covers(ifindex, datagram));
    let datagram = datagram.ok_or(RuleDrop::RuleGone)?;
    if is_martian_source(datagram.source) { Err(RuleDrop::MartianSource) } else { Ok(datagram) }
}

/// Makes the frame a sound packet of the rule, without padding and with a whole checksum; or says why it is none.
#[inline]
fn accept(
    desk: &Desk<'_>,
    entry: &Entry,
    ingress: Ingress,
    kind: Kind,
    datagram: Option<Datagram>,
    frame: &mut Frame,
) -> Result<Datagram, RuleDrop> {
    let datagram = admit(&entry.rule, ingress.ifindex, datagram)?;
    let memory = desk.stores.memory(frame);
    if kind == Kind::Cut {
        return Err(RuleDrop::Oversize);
    }
    let Some(end) = end_of_packet(frame.bytes(memory), &datagram) else {
        entry.counters.cut.add(ends_early(frame.bytes(memory), &datagram).into());
        return Err(RuleDrop::Malformed);
    };
    frame.set_len(memory, end);
    if ingress.partial_checksums {
        complete_checksum(frame.bytes(memory), &datagram);
    }
    Ok(datagram)
}

/// Sends the packet to each output: a copy for all but the last that takes it and sends from the same UMEM, which gets the frame itself.
#[inline]
pub(super) fn fan_out(
    desk: &mut Desk<'_>,
    outlets: &mut Outlets<'_>,
    slot: u32,
    entry: &Entry,
    datagram: &Datagram,
    mut frame: Frame,
) {
    let mut last: Option<Planned> = None;
    for (number, (target, counters)) in entry.rule.targets.iter().zip(entry.counters.outputs.iter()).enumerate() {
        counters.offered.add(1);
        let planned = match outlets.of(target.egress) {
            Some((egress, port)) if egress.link == Link::Up => {
                plan(frame.bytes(desk.stores.memory(&frame)), datagram, target, &egress.facts).and_then(|new| {
                    // Before anything is copied for it.
                    match egress.has_room(port, desk) {
                        true => {
                            Ok(Planned { output: number as u16, egress: target.egress, memory: port.memory(), new })
                        }
                        false => Err(OutputDrop::TxRingFull),
                    }
                })
            }
            _ => Err(OutputDrop::LinkDown),
        };
        let planned = match planned {
            Ok(planned) => planned,
            Err(reason) => {
                counters.dropped[reason as usize].add(1);
                if reason == OutputDrop::TooBig
                    && let Some((egress, _)) = outlets.of(target.egress)
                {
                    counters.longest.note(frame.len() - usize::from(datagram.ip_offset), egress.facts.mtu);
                }
                not_sent(desk, slot, number as u16, reason, &mut frame);
                continue;
            }
        };
        let copied = match planned.memory == frame.memory() {
            true => last.replace(planned),
            false => Some(planned),
        };
        let Some(planned) = copied else { continue };
        match desk.stores.copy(&mut frame, planned.memory) {
            Ok(copy) => send(desk, outlets, slot, entry, datagram, &planned, copy),
            Err(reason) => {
                if let Some(counters) = entry.counters.outputs.get(usize::from(planned.output)) {
                    counters.dropped[reason as usize].add(1);
                    if reason == OutputDrop::TooBig {
                        // The frame with its tags, which no MTU of the interface lets through.
                        counters.longest.note(frame.len(), desk.stores.numbered(planned.memory).capacity() as u32);
                    }
                }
                not_sent(desk, slot, planned.output, reason, &mut frame);
            }
        }
    }
    match last {
        Some(planned) => send(desk, outlets, slot, entry, datagram, &planned, frame),
        None => desk.stores.put(frame),
    }
}

/// Shows a packet that an output does not take to those who capture.
#[inline]
fn not_sent(desk: &mut Desk<'_>, slot: u32, output: u16, reason: OutputDrop, frame: &mut Frame) {
    if let Some(taps) = &mut desk.taps {
        let packet = &*frame.bytes(desk.stores.memory(frame));
        taps.note(slot, Seen::NotSent(output, reason), packet, packet.len());
    }
}

/// Rewrites a frame and lines it up.
#[inline]
fn send(
    desk: &mut Desk<'_>,
    outlets: &mut Outlets<'_>,
    slot: u32,
    entry: &Entry,
    datagram: &Datagram,
    planned: &Planned,
    mut frame: Frame,
) {
    let length = frame.len();
    let memory = desk.stores.memory(&frame);
    let length = rewrite(frame.buffer(memory), length, datagram, &planned.new);
    frame.set_len(memory, length);
    match outlets.of(planned.egress) {
        Some((egress, port)) => egress.push(port, desk, frame, slot, entry, planned.output),
        // It was there when the packet was planned, and nothing takes an egress away meanwhile.
        None => desk.stores.put(frame),
    }
}
