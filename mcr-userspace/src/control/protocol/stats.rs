//! Counters: of rules, interfaces and workers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{membership::MembershipView, state::RuleState};
use crate::rules::spec::Scalar;

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
    /// Over all rules, deleted ones included; where only some were asked for, over these.
    pub totals: Totals,
    /// Each rule, in the order of their names.
    pub rules: Vec<RuleStats>,
    /// Each interface that has sockets, and those that had and that rules or flags still name; where only some rules were asked for,
    /// those that they name.
    pub interfaces: Vec<InterfaceStats>,
    /// Each worker.
    pub workers: Vec<WorkerStats>,
    /// What the host is a member of, for these rules' sake.
    pub memberships: Vec<MembershipView>,
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
    /// What it is doing.
    pub state: RuleState,
    /// Why it is not `active`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_reason: Option<String>,
    /// Each output, in the rule's order.
    pub outputs: Vec<OutputStats>,
}

/// One output's counters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OutputStats {
    /// Its name, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Egress interface.
    pub interface: String,
    /// The VLAN of what it sends: its ID, or `keep`; absent for untagged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<Scalar>,
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
    /// What it waits for, while the rule forwards to others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<String>,
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
    /// Whether it is set up (`ip link set dev IF up`).
    #[serde(default)]
    pub up: bool,
    /// Whether it is up and has a carrier.
    #[serde(default)]
    pub carrier: bool,
    /// Bytes of the largest IP packet; 0 while there is no such interface.
    #[serde(default)]
    pub mtu: u32,
    /// How the program is attached: `driver` or `skb`; `none` while there is no such interface.
    pub xdp: String,
    /// What its sockets were granted: `zerocopy` or `copy`; `none` while it has none.
    pub xsk: String,
    /// Why it is less than was asked for; empty where it is not.
    pub xsk_reason: String,
    /// Frames that its sockets keep, over all workers.
    #[serde(default)]
    pub frames: InterfaceFrames,
    /// Packets by the program's verdict, every name present.
    pub verdicts: BTreeMap<String, u64>,
}

/// Frames of an interface's sockets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceFrames {
    /// For packets that come in.
    pub rx: u64,
    /// For packets on their way out, at most.
    pub tx: u64,
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
    /// Frames of its UMEMs.
    pub frames_total: u64,
    /// The most that they may have, as `[limits] frames` says; a frame of 4,096 bytes counts as two.
    #[serde(default)]
    pub frames_limit: u64,
    /// Frames in its pools: in no ring and in nobody's hands.
    pub frames_free: u64,
    /// Packets whose rule it looked up itself, since no XDP metadata told. For Prometheus alone.
    #[serde(skip)]
    pub own_lookups: u64,
}
