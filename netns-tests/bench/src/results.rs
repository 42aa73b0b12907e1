//! Everything that a run found: figures, each with what it is of, and what goes with them.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    judge::{goal::Goal, spread::Runs},
    load::delays::Delays,
    machine::about::Machine,
    relay::Contender,
};

/// What a figure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Zero-loss throughput, one output.
    Throughput,
    /// Median delay at 0.9 of that rate.
    ThroughputDelay,
    /// The same over several outputs: packets delivered, over all of them.
    Outputs,
    /// Median delay.
    LatencyP50,
    /// Delay that 99 % do not exceed.
    LatencyP99,
    /// Delay that 99.9 % do not exceed.
    LatencyP999,
    /// Of the packets whose delay was taken, those that did not come.
    LatencyLost,
    /// CPU over the bare wire.
    Cpu,
    /// Of the packets for which CPU was taken, those that did not come.
    CpuLost,
    /// Zero-loss throughput with that many rules, scattered over them.
    Rules,
    /// Run time of the XDP program with that many rules.
    RulesXdp,
    /// `mcrctl rule add`.
    Add,
    /// `mcrctl reload` from no rule to all.
    Reload,
    /// CPU at rest.
    Idle,
    /// Resident memory.
    Resident,
    /// Memory that is shared with the kernel and pinned: UMEM.
    Pinned,
    /// Packets delivered at twice the lossless rate, as a part of the lossless rate.
    OverloadGoodput,
    /// Median delay then.
    OverloadDelay,
    /// Lost packets that no counter has: offered minus delivered, minus mcr's drops and the sender's `tx_dropped`.
    OverloadUntold,
    /// The dual bridge: delivered.
    BridgeDelivered,
    /// The dual bridge: lost.
    BridgeLost,
    /// The dual bridge: processes that forward.
    BridgeProcesses,
    /// The dual bridge: their CPU.
    BridgeCpu,
    /// The dual bridge: their resident memory.
    BridgeMemory,
    /// The dual bridge: commands that set it up.
    BridgeSteps,
    /// One stream through the chain, long: delivered.
    ChainDelivered,
    /// One stream through the chain, long: lost.
    ChainLost,
}

impl What {
    /// Its unit.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Throughput | Self::Outputs | Self::Rules => "packets/s",
            Self::ThroughputDelay | Self::LatencyP50 | Self::LatencyP99 | Self::LatencyP999 | Self::OverloadDelay => {
                "us"
            }
            Self::Cpu => "us/packet",
            Self::RulesXdp => "ns/packet",
            Self::Add | Self::Reload => "ms",
            Self::Idle | Self::BridgeCpu => "% of a core",
            Self::Resident | Self::Pinned | Self::BridgeMemory => "MiB",
            Self::OverloadGoodput => "of lossless",
            Self::BridgeProcesses | Self::BridgeSteps => "",
            Self::LatencyLost
            | Self::CpuLost
            | Self::OverloadUntold
            | Self::BridgeDelivered
            | Self::BridgeLost
            | Self::ChainDelivered
            | Self::ChainLost => "packets",
        }
    }
}

/// What a figure is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// What it is.
    pub what: What,
    /// Whose.
    pub contender: Contender,
    /// Streams, and rules.
    pub streams: u32,
    /// Outputs of each.
    pub outputs: u32,
    /// Bytes of a frame, without FCS.
    pub size: u32,
    /// Packets offered a second; 0 where that is what is found.
    pub rate: u32,
}

impl Key {
    /// Of one stream with one output, 1,024 B.
    pub const fn of(what: What, contender: Contender) -> Self {
        Self { what, contender, streams: 1, outputs: 1, size: 1024, rate: 0 }
    }

    /// With as many streams.
    #[must_use]
    pub const fn streams(self, streams: u32) -> Self {
        Self { streams, ..self }
    }

    /// With as many outputs.
    #[must_use]
    pub const fn outputs(self, outputs: u32) -> Self {
        Self { outputs, ..self }
    }

    /// In frames of that size.
    #[must_use]
    pub const fn size(self, size: u32) -> Self {
        Self { size, ..self }
    }

    /// At that rate.
    #[must_use]
    pub const fn rate(self, rate: u32) -> Self {
        Self { rate, ..self }
    }
}

/// A figure.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figure {
    /// Its runs.
    pub runs: Runs,
    /// Runs in which the sender, and not the contender, was the limit.
    pub sender_limited: u32,
}

/// A contender, and why it is not in the results.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// What it is and how it is started.
    pub described: String,
    /// Why it was left out.
    pub left_out: Option<String>,
}

/// Everything.
#[derive(Clone, Debug)]
pub struct Results {
    /// `full` or `quick`.
    pub extent: &'static str,
    /// The machine.
    pub machine: Machine,
    /// The contenders, those left out too.
    pub entries: Vec<Entry>,
    /// The figures.
    pub figures: BTreeMap<Key, Figure>,
    /// Delays of all runs, by contender and rate.
    pub delays: BTreeMap<(Contender, u32), Delays>,
    /// What went wrong, and was left out for it.
    pub failures: Vec<String>,
    /// Goals and what became of them.
    pub goals: Vec<Goal>,
    /// Seconds of the whole run.
    pub seconds: f64,
}

impl Results {
    /// Of a machine, with nothing found yet.
    pub fn new(extent: &'static str, machine: Machine, entries: Vec<Entry>) -> Self {
        Self {
            extent,
            machine,
            entries,
            figures: BTreeMap::new(),
            delays: BTreeMap::new(),
            failures: Vec::new(),
            goals: Vec::new(),
            seconds: 0.0,
        }
    }

    /// Adds a run's value.
    pub fn add(&mut self, key: Key, value: f64) {
        self.figures.entry(key).or_default().runs.0.push(value);
    }

    /// Adds a run's rate, which was the sender's limit or not.
    pub fn add_rate(&mut self, key: Key, value: f64, is_limited: bool) {
        self.add(key, value);
        self.figures.entry(key).or_default().sender_limited += u32::from(is_limited);
    }

    /// A figure's runs.
    pub fn runs(&self, key: Key) -> Option<&Runs> {
        self.figures.get(&key).map(|figure| &figure.runs)
    }

    /// A figure's median.
    pub fn median(&self, key: Key) -> Option<f64> {
        self.runs(key)?.median()
    }

    /// Figures of one kind, in their order.
    pub fn of(&self, what: What) -> impl Iterator<Item = (&Key, &Figure)> {
        self.figures.iter().filter(move |(key, _)| key.what == what)
    }
}
