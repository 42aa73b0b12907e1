//! What travels over the control socket: one JSON object a line, a request and then its response.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Version of the object that [`Stats`] is.
pub const STATS_VERSION: u32 = 1;

/// Packets dropped, by the reason's name (`mcr_common::counter`); reasons never met are left out.
pub type Dropped = BTreeMap<String, u64>;

/// `mcrctl --json stats`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// [`STATS_VERSION`].
    pub version: u32,
    /// Seconds since the daemon started.
    pub uptime_seconds: f64,
    /// Over all rules, deleted ones included.
    pub totals: Totals,
    /// Each rule, in the order of their names.
    pub rules: Vec<RuleStats>,
    /// Each interface that has sockets.
    pub interfaces: Vec<InterfaceStats>,
    /// Each worker.
    pub workers: Vec<WorkerStats>,
}

/// Sums over all rules since the daemon started.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    /// Packets that the XDP program steered.
    pub matched_packets: u64,
    /// Their bytes, Ethernet header to the end of the frame, no FCS.
    pub matched_bytes: u64,
    /// Matched packets that no output was offered.
    pub dropped: Dropped,
    /// Packets that outputs sent.
    pub sent_packets: u64,
    /// Their bytes, Ethernet header included.
    pub sent_bytes: u64,
    /// Packets offered to outputs and not sent.
    pub output_dropped: Dropped,
}

/// One rule's counters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RuleStats {
    /// The rule's name.
    pub name: String,
    /// Packets that the XDP program steered for it.
    pub matched_packets: u64,
    /// Their bytes.
    pub matched_bytes: u64,
    /// Matched packets that its outputs were not offered.
    pub dropped: Dropped,
    /// `active`, or `waiting: ` and for what.
    pub state: String,
    /// Each output, in the rule's order.
    pub outputs: Vec<OutputStats>,
}

/// One output's counters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OutputStats {
    /// Egress interface.
    pub interface: String,
    /// New group, or the match's where it is kept.
    pub group: String,
    /// New port; absent where the packet's is kept and the match takes several.
    pub port: Option<u16>,
    /// Packets that reached this output.
    pub offered_packets: u64,
    /// Packets completed and not refused.
    pub sent_packets: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Packets offered and not sent.
    pub dropped: Dropped,
}

/// One interface.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InterfaceStats {
    /// Its name.
    pub name: String,
    /// Its driver's name, as ethtool says it.
    pub driver: String,
    /// Its receive queues.
    pub queues: u32,
    /// How the program is attached: `driver` or `skb`.
    pub xdp: String,
    /// What its sockets were granted: `zerocopy` or `copy`.
    pub xsk: String,
    /// Why it is less than was asked for; empty where it is not.
    pub xsk_reason: String,
    /// Packets by the program's verdict, every name present.
    pub verdicts: BTreeMap<String, u64>,
}

/// One worker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WorkerStats {
    /// From 0.
    pub id: u32,
    /// The CPU it is bound to; absent where the scheduler chooses.
    pub cpu: Option<u32>,
    /// Ingress queues it serves, over all interfaces, each number once.
    pub rx_queues: Vec<u32>,
    /// Packets taken from RX rings.
    pub rx_packets: u64,
    /// Packets completed by TX rings.
    pub tx_packets: u64,
    /// Frames of its UMEM.
    pub frames_total: u64,
    /// Frames in its pool: in no ring and in nobody's hands.
    pub frames_free: u64,
}

/// `mcrctl --json status`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The daemon's version.
    pub version: String,
    /// The daemon's process.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime_seconds: f64,
    /// `efficient` or `low-latency`.
    pub profile: String,
    /// The configuration file, where one was given.
    pub config: Option<String>,
    /// Each interface that has sockets.
    pub interfaces: Vec<InterfaceStats>,
    /// Each worker.
    pub workers: Vec<WorkerStats>,
    /// Rules that are held, waiting ones included.
    pub rules: u64,
    /// What the user should know, each in one line.
    pub warnings: Vec<String>,
}
