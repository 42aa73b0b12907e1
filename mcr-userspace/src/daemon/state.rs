//! What the daemon holds, behind one lock: the set of rules is the truth, all else follows it.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use mcr_common::counter::RuleDrop;

use super::{
    active::{Active, OutputReading, Reading, add},
    capture::Captures,
    confirm::Unconfirmed,
    doubts::Doubts,
    fleet::Fleet,
    hearing::Hearing,
    interfaces::Interfaces,
    journal::Journal,
    members::Members,
    offloads::Offloads,
    options::Options,
    origin::Origins,
    others::Others,
    retire::Leaving,
    retry::Retry,
    slots::Slots,
    sources::Told,
    traffic::Traffic,
    waiting::Watch,
};
use crate::{
    control::protocol::RuleState,
    kernel::{flows::Flows, nic::Nic, program::Program},
    rules::{
        rule::{Match, Output},
        set::RuleSet,
    },
};

/// What the daemon holds.
pub struct State {
    /// What it was told.
    pub options: Options,
    /// When it started.
    pub started: Instant,
    /// Workers, fixed at start.
    pub workers: u32,
    /// The most frames that each of them may have: `[limits] frames`, or what `auto` comes to here.
    pub frames_limit: u32,
    /// The program and its counters.
    pub program: Program,
    /// The kernel's table of rules.
    pub flows: Flows,
    /// The workers, once there is an interface.
    pub fleet: Option<Fleet>,
    /// Interfaces with sockets.
    pub interfaces: Interfaces,
    /// Those about which the kernel could not be asked.
    pub doubts: Doubts,
    /// What was changed on those that rules match on.
    pub offloads: Offloads,
    /// What the host is a member of on them.
    pub members: Members,
    /// What others on this host are.
    pub others: Others,
    /// What workers know of addresses to send from.
    pub told: Told,
    /// The truth.
    pub set: RuleSet,
    /// Which rules the file has.
    pub origins: Origins,
    /// A reload that waits for its confirmation.
    pub unconfirmed: Option<Unconfirmed>,
    /// What each rule of the set is doing.
    pub live: BTreeMap<String, Live>,
    /// Rules out of the kernel's map, whose packets may still wait in a ring.
    pub retiring: Vec<Arc<Active>>,
    /// Those of them that are being waited for.
    pub leaving: Vec<Leaving>,
    /// Interfaces that rules wait for, as they were when they were last looked at.
    pub watch: Watch,
    /// Whether a rule found no free slot.
    pub slots_are_short: bool,
    /// Free slots.
    pub slots: Slots,
    /// What rules that are gone have counted.
    pub gone: Totals,
    /// Lineages given out.
    pub lineages: u64,
    /// Who captures packets.
    pub captures: Captures,
    /// What has happened lately.
    pub journal: Arc<Journal>,
}

/// What a rule is doing.
#[derive(Debug, Default)]
pub struct Live {
    /// See [`Active::lineage`].
    pub lineage: u64,
    /// Forwarding, with this slot; `None` while it waits.
    pub active: Option<Arc<Active>>,
    /// Why it waits.
    pub waiting: String,
    /// The interfaces as they were when it could not be started: there is no use in trying again with the same.
    pub tried: Vec<Nic>,
    /// When to try again all the same, where the cause may pass without any change of them.
    pub retry: Option<Retry>,
    /// Whether it waits for an address, which another interface than those that it names may get.
    pub needs_address: bool,
    /// Whether it has begun to wait since waiting rules were last looked at.
    pub is_new_waiter: bool,
    /// Whether its packets come.
    pub hearing: Hearing,
    /// What it matched when its last packet came.
    pub heard_as: Option<Match>,
    /// What becomes of them.
    pub traffic: Traffic,
    /// The state that was last told of.
    pub told: Option<RuleState>,
    /// Whether its expired TTLs have been spoken of.
    pub said_expired: bool,
    /// Whether its packets that are too long have been spoken of.
    pub said_oversize: bool,
    /// What the rule of this name counted before it was replaced, and that one's outputs.
    pub carried: Reading,
    /// The outputs that `carried` counts.
    pub carried_outputs: Vec<Output>,
}

/// Sums over rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Packets steered.
    pub matched_packets: u64,
    /// Their bytes.
    pub matched_bytes: u64,
    /// Packets that no output was offered.
    pub dropped: [u64; RuleDrop::COUNT],
    /// All outputs.
    pub outputs: OutputReading,
}

impl Totals {
    /// Adds a rule.
    pub fn add(&mut self, reading: &Reading) {
        self.matched_packets += reading.matched_packets;
        self.matched_bytes += reading.matched_bytes;
        add(&mut self.dropped, &reading.dropped);
        for output in &reading.outputs {
            self.outputs += *output;
        }
    }

    /// Packets that the outputs did not send.
    pub fn output_dropped(&self) -> u64 {
        self.outputs.dropped.iter().sum()
    }
}

impl State {
    /// Everything counted so far. What a replaced rule counted is in `gone` and in `retiring`, and `carried` repeats it.
    pub fn totals(&self) -> Totals {
        let mut totals = self.gone.clone();
        for active in self.actives() {
            totals.add(&active.read(|| self.program.count(active.value.slot)));
        }
        if let Some(fleet) = &self.fleet {
            totals.dropped[RuleDrop::RuleGone as usize] +=
                fleet.handles.iter().map(|handle| handle.counters.orphans.get()).sum::<u64>();
        }
        totals
    }

    /// Every rule that has a slot.
    pub fn actives(&self) -> impl Iterator<Item = &Arc<Active>> {
        self.live.values().filter_map(|live| live.active.as_ref()).chain(self.departing())
    }

    /// Rules that are out of the kernel's map, and still have a slot.
    pub fn departing(&self) -> impl Iterator<Item = &Arc<Active>> {
        self.retiring.iter().chain(self.leaving.iter().map(|leaving| &leaving.active))
    }

    /// Asks the kernel what it has steered for every rule that has a slot: the packets of each.
    pub fn note_steered(&self) -> Vec<(Arc<Active>, u64)> {
        self.actives().map(|active| (active.clone(), self.steered(active))).collect()
    }

    /// Asks the kernel what it has steered for a rule.
    pub fn steered(&self, active: &Active) -> u64 {
        let count = self.program.count(active.value.slot);
        active.note_steered(count);
        count.packets
    }
}
