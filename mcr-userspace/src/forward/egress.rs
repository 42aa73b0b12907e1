//! The sending side of an interface at one worker.

use mcr_common::counter::OutputDrop;

use super::{counters::OutputCounters, counters::WorkerCounters, plan::EgressFacts, table::Table};
use crate::xsk::{
    frame::{Frame, Pool},
    port::{Link, Port},
    umem::Memory,
};

/// What a frame in a TX ring is: whose it is, and how it fared.
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
    pub table: &'a mut Table,
    /// The worker's counters.
    pub counters: &'a WorkerCounters,
}

/// The sending side of an interface.
#[derive(Debug)]
pub struct Egress {
    /// What plans need to know.
    pub facts: EgressFacts,
    /// Index of the socket among the worker's.
    pub port: usize,
    /// Whether the kernel last said that the interface takes no packets.
    pub link: Link,
    pending: Vec<Frame>,
}

impl Desk<'_> {
    /// The counters of the output that a frame is for.
    fn output(&self, flight: Flight) -> Option<&OutputCounters> {
        self.table.get(flight.slot)?.counters.outputs.get(usize::from(flight.output))
    }

    /// A frame ends its way unsent.
    fn drop(&mut self, frame: Frame, reason: OutputDrop) {
        let flight = std::mem::take(&mut self.flights[frame.index(self.memory) as usize]);
        if let Some(output) = self.output(flight) {
            output.dropped[reason as usize].add(1);
        }
        self.table.returned(flight.slot);
        self.pool.put(frame);
    }

    /// The kernel is done with a frame.
    #[inline]
    fn complete(&mut self, frame: Frame) {
        let flight = self.flights[frame.index(self.memory) as usize];
        if !flight.under_way {
            return self.pool.put(frame);
        }
        if flight.refused {
            return self.drop(frame, OutputDrop::TxRefused);
        }
        if let Some(output) = self.output(flight) {
            output.sent.add(1);
            output.sent_bytes.add(u64::from(flight.bytes));
        }
        self.flights[frame.index(self.memory) as usize].under_way = false;
        self.table.returned(flight.slot);
        self.pool.put(frame);
    }

    /// Counts a frame as lost that stays with the kernel; should it complete, it only comes back to the pool.
    fn give_up(&mut self, frame: usize) {
        let flight = std::mem::take(&mut self.flights[frame]);
        if flight.under_way {
            if let Some(output) = self.output(flight) {
                output.dropped[OutputDrop::LinkDown as usize].add(1);
            }
            self.table.returned(flight.slot);
        }
    }

    /// At the end: what is under way now never completes.
    pub fn abandon(&mut self) {
        for frame in 0..self.flights.len() {
            self.give_up(frame);
        }
    }
}

impl Egress {
    /// An idle egress over the worker's socket number `port`.
    pub fn new(facts: EgressFacts, port: usize) -> Self {
        Self { facts, port, link: Link::Up, pending: Vec::new() }
    }

    /// Frames that wait to be submitted.
    #[inline]
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Lines a rewritten frame up for an output of the rule in `slot`.
    #[inline]
    pub fn push(&mut self, desk: &mut Desk<'_>, frame: Frame, slot: u32, output: u16) {
        let bytes = frame.len() as u16;
        desk.flights[frame.index(desk.memory) as usize] =
            Flight { slot, output, bytes, refused: false, under_way: true };
        desk.table.departed(slot);
        self.pending.push(frame);
    }

    /// Sends what is lined up; what the TX ring has no room for is dropped.
    #[inline]
    pub fn flush(&mut self, port: &mut Port, desk: &mut Desk<'_>) {
        if self.link == Link::Down {
            for frame in self.pending.drain(..) {
                desk.drop(frame, OutputDrop::LinkDown);
            }
            return;
        }
        port.submit(&mut self.pending);
        self.kick(port, desk);
        if !self.pending.is_empty() {
            // The ring was full: what has completed meanwhile makes room once more.
            self.reap(port, desk);
            port.submit(&mut self.pending);
            self.kick(port, desk);
            let reason = if self.link == Link::Down { OutputDrop::LinkDown } else { OutputDrop::TxRingFull };
            for frame in self.pending.drain(..) {
                desk.drop(frame, reason);
            }
        }
    }

    /// Makes the kernel send, and takes back what it will not.
    #[inline]
    pub fn kick(&mut self, port: &mut Port, desk: &mut Desk<'_>) {
        let flights = &mut desk.flights;
        self.link = port.kick(desk.memory, |frame| flights[frame as usize].refused = true);
        if self.link == Link::Down {
            // What was sent before the link went down is told from what was not.
            self.reap(port, desk);
            let mut unsent = Vec::new();
            let mut kept = Vec::new();
            port.take_back(desk.memory, |frame| unsent.push(frame), |frame| kept.push(frame));
            for frame in unsent {
                desk.drop(frame, OutputDrop::LinkDown);
            }
            for frame in kept {
                desk.give_up(frame as usize);
            }
        }
    }

    /// Takes in what the kernel is done with.
    #[inline]
    pub fn reap(&mut self, port: &mut Port, desk: &mut Desk<'_>) -> usize {
        let n = port.completed(|frame| desk.complete(frame));
        desk.counters.tx_packets.add(n as u64);
        n
    }
}
