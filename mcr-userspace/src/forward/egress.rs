//! The sending side of an interface at one worker.

use mcr_common::counter::OutputDrop;

use super::{desk::Desk, plan::EgressFacts, table::Entry};
use crate::xsk::{
    frame::Frame,
    port::{Link, Port},
};

/// Frames lined up before they are sent, however large the batch that came in.
const BATCH: usize = 256;

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
    /// Whether there was no room when it was last looked for: it is looked for again with the next flush.
    is_full: bool,
}

impl Egress {
    /// An idle egress over the worker's socket number `port`.
    pub fn new(facts: EgressFacts, port: usize) -> Self {
        Self { facts, port, link: Link::Up, pending: Vec::new(), is_full: false }
    }

    /// Has these facts from now on. What it knows of [`sources`](EgressFacts::sources) comes by itself, and stays.
    pub fn learn(&mut self, facts: EgressFacts) {
        let sources = std::mem::take(&mut self.facts.sources);
        self.facts = EgressFacts { sources, ..facts };
    }

    /// Whether one more frame may set out; asked before it is copied. Frames lined up count too, so that an egress that
    /// stalls never has more than its quota, and takes nothing from the others.
    #[inline]
    pub fn has_room(&mut self, port: &mut Port, desk: &mut Desk<'_>) -> bool {
        if port.has_room(self.pending.len()) {
            return true;
        }
        if !self.is_full {
            self.flush(port, desk);
            self.is_full = !port.has_room(self.pending.len());
        }
        !self.is_full
    }

    /// Lines a rewritten frame up for an output of the rule in `slot`; there is room for it.
    #[inline]
    pub fn push(&mut self, port: &mut Port, desk: &mut Desk<'_>, frame: Frame, slot: u32, entry: &Entry, output: u16) {
        desk.depart(&frame, port.number(), slot, entry, output);
        self.pending.push(frame);
        if self.pending.len() >= BATCH {
            self.flush(port, desk);
        }
    }

    /// Sends what is lined up and what is left in the TX ring, and takes in what is done.
    #[inline]
    pub fn flush(&mut self, port: &mut Port, desk: &mut Desk<'_>) {
        self.is_full = false;
        if self.link == Link::Up && (!self.pending.is_empty() || port.sending() > 0) {
            port.submit(&mut self.pending);
            self.kick(port, desk);
        }
        if self.link == Link::Down {
            for frame in self.pending.drain(..) {
                desk.drop(frame, OutputDrop::LinkDown);
            }
        }
        if port.sending() > 0 {
            self.reap(port, desk);
        }
    }

    /// The interface is gone: what it was done with is told from what is lost.
    pub fn close(&mut self, port: &mut Port, desk: &mut Desk<'_>) {
        self.link = Link::Down;
        for frame in self.pending.drain(..) {
            desk.drop(frame, OutputDrop::LinkDown);
        }
        self.reap(port, desk);
    }

    /// At the end: what is still lined up is not sent.
    pub fn abandon(&mut self, desk: &mut Desk<'_>) {
        for frame in self.pending.drain(..) {
            desk.drop(frame, OutputDrop::TxRingFull);
        }
    }

    /// Makes the kernel send, and takes back what it will not.
    #[inline]
    fn kick(&mut self, port: &mut Port, desk: &mut Desk<'_>) {
        let memory = port.memory();
        self.link = port.kick(|frame| desk.refuse(memory, frame));
        if self.link == Link::Down {
            // What was sent before the link went down is told from what was not.
            self.reap(port, desk);
            let mut unsent = Vec::new();
            let mut kept = Vec::new();
            port.take_back(|frame| unsent.push(frame), |frame| kept.push(frame));
            for frame in unsent {
                desk.drop(frame, OutputDrop::LinkDown);
            }
            for frame in kept {
                desk.give_up(memory, frame, OutputDrop::LinkDown);
            }
        }
    }

    /// Takes in what the kernel is done with.
    #[inline]
    fn reap(&mut self, port: &mut Port, desk: &mut Desk<'_>) {
        desk.tick();
        let n = port.completed(|frame| desk.complete(frame));
        desk.counters.tx_packets.add(n as u64);
    }
}
