//! The frames that a worker has under way, and whose they are.

use mcr_common::counter::OutputDrop;

use super::{
    capture::{Seen, Taps},
    counters::{OutputCounters, WorkerCounters},
    store::Stores,
    table::{Entry, Table},
};
use crate::xsk::frame::Frame;

/// What a frame on its way out is: whose it is, and how it fared.
#[derive(Clone, Copy, Debug, Default)]
pub struct Flight {
    slot: u32,
    output: u16,
    /// Bytes of its packet, and where that begins in the frame.
    bytes: u16,
    offset: u16,
    refused: bool,
    /// Whether the frame is lined up or in a TX ring at all.
    under_way: bool,
}

/// The parts of a worker that sending touches.
pub struct Desk<'a> {
    /// Where frames are from and come back to, and whose they are.
    pub stores: &'a mut Stores,
    /// The rules.
    pub table: &'a Table,
    /// The worker's counters.
    pub counters: &'a WorkerCounters,
    /// Who captures; mostly nobody.
    pub taps: Option<&'a mut Taps>,
}

impl<'a> Desk<'a> {
    /// A frame sets out, over socket `port`, for an output of the rule in `slot`.
    #[inline]
    pub fn depart(&mut self, frame: &Frame, port: u16, slot: u32, entry: &Entry, output: u16) {
        let memory = self.stores.memory(frame);
        let (index, offset) = (frame.index(memory), frame.offset(memory) as u16);
        let store = self.stores.of(frame.memory());
        store.pool.note(frame, port);
        store.flights[index as usize] =
            Flight { slot, output, bytes: frame.len() as u16, offset, refused: false, under_way: true };
        entry.departed();
    }

    /// The kernel has taken a frame of this UMEM and will not send it; it completes all the same.
    #[inline]
    pub fn refuse(&mut self, memory: u8, frame: u32) {
        self.stores.of(memory).flights[frame as usize].refused = true;
    }

    /// The kernel is done with a frame.
    #[inline]
    pub fn complete(&mut self, frame: Frame) {
        let (memory, index) = (frame.memory(), frame.index(self.stores.memory(&frame)));
        if let Some((output, flight)) = self.land(memory, index) {
            if flight.refused {
                output.dropped[OutputDrop::TxRefused as usize].add(1);
                self.note(memory, index, &flight, Seen::NotSent(flight.output, OutputDrop::TxRefused));
            } else {
                output.sent.add(1);
                output.sent_bytes.add(u64::from(flight.bytes));
                self.note(memory, index, &flight, Seen::Out(flight.output));
            }
        }
        self.stores.put(frame);
    }

    /// A frame ends its way unsent.
    pub fn drop(&mut self, frame: Frame, reason: OutputDrop) {
        self.give_up(frame.memory(), frame.index(self.stores.memory(&frame)), reason);
        self.stores.put(frame);
    }

    /// Counts a frame of this UMEM as lost that stays with the kernel; should it complete, it only comes back to the pool.
    pub fn give_up(&mut self, memory: u8, frame: u32, reason: OutputDrop) {
        if let Some((output, flight)) = self.land(memory, frame) {
            output.dropped[reason as usize].add(1);
            self.note(memory, frame, &flight, Seen::NotSent(flight.output, reason));
        }
    }

    /// Takes back what is in the rings of a socket of this UMEM and number that is closed. What was to be sent is lost.
    pub fn reclaim(&mut self, memory: u8, number: u16) {
        for frame in self.stores.of(memory).pool.reclaim(number) {
            self.drop(frame, OutputDrop::LinkDown);
        }
    }

    /// At the end: what is under way now never completes.
    pub fn abandon(&mut self) {
        let memories: Vec<(u8, u32)> =
            self.stores.iter().map(|store| (store.memory.number(), store.memory.frames())).collect();
        for (memory, frames) in memories {
            (0..frames).for_each(|frame| self.give_up(memory, frame, OutputDrop::LinkDown));
        }
    }

    /// Ends a flight: the counters of the output that it was for, where the frame was under way.
    #[inline]
    fn land(&mut self, memory: u8, frame: u32) -> Option<(&'a OutputCounters, Flight)> {
        let table = self.table;
        let place = &mut self.stores.of(memory).flights[frame as usize];
        let flight = *place;
        place.under_way = false;
        let entry = table.get(flight.slot).filter(|_| flight.under_way)?;
        entry.returned();
        Some((entry.counters.outputs.get(usize::from(flight.output))?, flight))
    }

    /// Shows a frame of this UMEM, whose flight has just ended, to those who capture.
    #[inline]
    fn note(&mut self, memory: u8, frame: u32, flight: &Flight, seen: Seen) {
        if let Some(taps) = &mut self.taps {
            let (offset, length) = (usize::from(flight.offset), usize::from(flight.bytes));
            // SAFETY: it has been lined up with these and has stayed so, or in the rings, until now. It comes back to the pool later.
            let packet = unsafe { self.stores.numbered(memory).sent(frame, offset, length) };
            taps.note(flight.slot, seen, packet, packet.len());
        }
    }

    /// What those who capture see from now on is seen now.
    #[inline]
    pub fn tick(&mut self) {
        if let Some(taps) = &mut self.taps {
            taps.tick();
        }
    }
}
