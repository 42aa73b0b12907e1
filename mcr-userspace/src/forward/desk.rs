//! The frames that a worker has under way, and whose they are.

use mcr_common::counter::OutputDrop;

use super::{
    counters::{OutputCounters, WorkerCounters},
    table::{Entry, Table},
};
use crate::xsk::{
    frame::{Frame, Pool},
    umem::Memory,
};

/// What a frame on its way out is: whose it is, and how it fared.
#[derive(Clone, Copy, Debug, Default)]
pub struct Flight {
    slot: u32,
    output: u16,
    bytes: u16,
    refused: bool,
    /// Whether the frame is lined up or in a TX ring at all.
    under_way: bool,
}

/// Flights by frame number.
pub type Flights = Box<[Flight]>;

/// The parts of a worker that sending touches.
pub struct Desk<'a> {
    /// The UMEM.
    pub memory: &'a Memory,
    /// Where frames come back to.
    pub pool: &'a mut Pool,
    /// Whose frames they are.
    pub flights: &'a mut Flights,
    /// The rules.
    pub table: &'a Table,
    /// The worker's counters.
    pub counters: &'a WorkerCounters,
}

impl Desk<'_> {
    /// A frame sets out for an output of the rule in `slot`.
    #[inline]
    pub fn depart(&mut self, frame: &Frame, slot: u32, entry: &Entry, output: u16) {
        self.flights[frame.index(self.memory) as usize] =
            Flight { slot, output, bytes: frame.len() as u16, refused: false, under_way: true };
        entry.departed();
    }

    /// The kernel has taken a frame and will not send it; it completes all the same.
    #[inline]
    pub fn refuse(&mut self, frame: u32) {
        self.flights[frame as usize].refused = true;
    }

    /// The kernel is done with a frame.
    #[inline]
    pub fn complete(&mut self, frame: Frame) {
        let flight = self.land(frame.index(self.memory));
        if let Some((output, flight)) = flight {
            if flight.refused {
                output.dropped[OutputDrop::TxRefused as usize].add(1);
            } else {
                output.sent.add(1);
                output.sent_bytes.add(u64::from(flight.bytes));
            }
        }
        self.pool.put(frame);
    }

    /// A frame ends its way unsent.
    pub fn drop(&mut self, frame: Frame, reason: OutputDrop) {
        self.give_up(frame.index(self.memory), reason);
        self.pool.put(frame);
    }

    /// Counts a frame as lost that stays with the kernel; should it complete, it only comes back to the pool.
    pub fn give_up(&mut self, frame: u32, reason: OutputDrop) {
        if let Some((output, _)) = self.land(frame) {
            output.dropped[reason as usize].add(1);
        }
    }

    /// At the end: what is under way now never completes.
    pub fn abandon(&mut self) {
        for frame in 0..self.flights.len() {
            self.give_up(frame as u32, OutputDrop::LinkDown);
        }
    }

    /// Ends a flight: the counters of the output that it was for, where the frame was under way.
    #[inline]
    fn land(&mut self, frame: u32) -> Option<(&OutputCounters, Flight)> {
        let place = &mut self.flights[frame as usize];
        let flight = *place;
        place.under_way = false;
        let entry = self.table.get(flight.slot).filter(|_| flight.under_way)?;
        entry.returned();
        Some((entry.counters.outputs.get(usize::from(flight.output))?, flight))
    }
}
