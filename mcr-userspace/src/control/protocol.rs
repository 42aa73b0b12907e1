//! What travels over the control socket: one JSON object a line, a request and then its response.

mod error;
mod event;
mod host;
mod state;

pub use error::ErrorCode;
pub use event::{Event, EventKind, Events};
pub use host::{OwnHostKind, OwnHostView, QueriesView};
pub use state::RuleState;

use std::{collections::BTreeMap, net::Ipv4Addr};

use serde::{Deserialize, Serialize};

use crate::rules::{
    rule::Rule,
    set::Change,
    spec::{MatchSpec, OutputSpec, RuleSpec},
};

/// Longest request line, in bytes, its newline included.
pub const MAX_REQUEST: usize = 1 << 20;

/// What a client asks: `{"command":"rule_add","rule":{...}}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Adds one rule. Answer: [`Response::RuleAdded`].
    RuleAdd {
        /// The rule as typed.
        rule: Box<RuleSpec>,
        /// Accept interfaces that do not exist yet.
        #[serde(default)]
        wait: bool,
        /// Take the place of the rule of that name, if there is one.
        #[serde(default)]
        replace: bool,
        /// Write it into the daemon's file too.
        #[serde(default)]
        persist: bool,
    },
    /// Deletes a rule. Answer: [`Response::RuleDeleted`].
    RuleDel {
        /// Its name.
        name: String,
    },
    /// Answer: [`Response::Rules`].
    RuleList {},
    /// Answer: [`Response::Rule`].
    RuleShow {
        /// The rule's name.
        name: String,
    },
    /// Reads the daemon's file again. Answer: [`Response::Reloaded`].
    Reload {
        /// Only say what would change.
        #[serde(default)]
        dry_run: bool,
    },
    /// Answer: [`Response::Stats`].
    Stats {
        /// Only this rule, in [`Stats::rules`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rule: Option<String>,
    },
    /// Answer: [`Response::Status`].
    Status {},
    /// What has happened. Answer: [`Response::Events`].
    Events {
        /// Only what came after this number, which the last answer gave as `next`; left out: all that is kept.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<u64>,
        /// Wait for an event, some seconds at most, where there is none yet.
        #[serde(default)]
        wait: bool,
    },
}

/// What the daemon answers: `{"rule_added":{"name":"feed-a",...}}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// To [`Request::RuleAdd`].
    RuleAdded {
        /// The rule's name.
        name: String,
        /// Whether it took the place of another.
        replaced: bool,
        /// Each one line.
        warnings: Vec<String>,
    },
    /// To [`Request::RuleDel`].
    RuleDeleted {
        /// The rule's name.
        name: String,
    },
    /// To [`Request::RuleList`]: in the order of their names.
    Rules(Vec<RuleView>),
    /// To [`Request::RuleShow`].
    Rule(RuleView),
    /// To [`Request::Reload`].
    Reloaded {
        /// Nothing was applied.
        dry_run: bool,
        /// What changed, or would.
        changes: Vec<ChangeView>,
        /// Each one line.
        warnings: Vec<String>,
    },
    /// To [`Request::Stats`].
    Stats(Stats),
    /// To [`Request::Status`].
    Status(Status),
    /// To [`Request::Events`].
    Events(Events),
    /// To any request: nothing changed.
    Error {
        /// Which kind of refusal.
        code: ErrorCode,
        /// What is wrong and what to do, a line for each problem.
        message: String,
        /// Whether the request itself is at fault, whatever the daemon holds: exactly for [`ErrorCode::Invalid`].
        usage: bool,
    },
}

/// A rule as `rule list` and `rule show` tell it: [`RuleSpec`] with all defaults written out, and its state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleView {
    /// Its name.
    pub name: String,
    /// What it is doing.
    pub state: RuleState,
    /// Why it is not `active`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_reason: Option<String>,
    /// As in the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// `false` where it is switched off; left out otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// As in the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stall_after: Option<String>,
    /// As in the file.
    #[serde(rename = "match")]
    pub matcher: MatchSpec,
    /// As in the file.
    pub output: Vec<OutputSpec>,
}

impl RuleView {
    /// The view of `rule` in `state`.
    pub fn new(rule: &Rule, state: RuleState, state_reason: Option<String>) -> Self {
        let RuleSpec { name: _, description, enabled, stall_after, matcher, output } = RuleSpec::from(rule);
        Self { name: rule.name.clone(), state, state_reason, description, enabled, stall_after, matcher, output }
    }
}

/// One difference that a reload found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeView {
    /// What happens.
    pub change: ChangeKind,
    /// The rule's name.
    pub name: String,
    /// The rule as it becomes; absent for a removal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleSpec>,
}

/// What a reload does with a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// `+`
    Add,
    /// `-`
    Remove,
    /// `~`
    Replace,
}

impl From<&Change> for ChangeView {
    fn from(change: &Change) -> Self {
        let (change, name, rule) = match change {
            Change::Add(rule) => (ChangeKind::Add, &rule.name, Some(rule)),
            Change::Remove(name) => (ChangeKind::Remove, name, None),
            Change::Replace { new, .. } => (ChangeKind::Replace, &new.name, Some(new)),
        };
        Self { change, name: name.clone(), rule: rule.map(RuleSpec::from) }
    }
}

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
    /// Each interface that has sockets, and those that had and that rules or flags still name.
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

/// What the host is a member of, for rules' sake.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MembershipView {
    /// The rules' interface.
    pub interface: String,
    /// The rules' VLAN; `null` where that is none, and where it is every group.
    pub vlan: Option<u16>,
    /// The host's interface in that VLAN, on which it is joined; `null` where there is none.
    pub via: Option<String>,
    /// The group; `null` where it is every one.
    pub group: Option<Ipv4Addr>,
    /// The source; `null` where it is any.
    pub source: Option<Ipv4Addr>,
    /// `joined`, until no rule needs it; `allmulticast`, which takes in every group and asks for none; or `failed: ` and why.
    pub state: String,
}

/// Whether a rule's packets come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StreamView {
    /// The rule's name.
    pub rule: String,
    /// What it is doing.
    pub state: RuleState,
    /// Why it is not `active`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_reason: Option<String>,
    /// Seconds since its last packet, to about half a second; `null` where none has come.
    pub silent_seconds: Option<f64>,
}

/// How workers share their CPUs with others.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scheduling {
    /// Percent of each worker's CPU that is left to others that want it.
    pub cpu_reserve_percent: u8,
    /// Workers that spin, each on a CPU of its own; all others sleep in between.
    pub spinning: u32,
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
    /// How workers share their CPUs; `null` until there are some.
    pub scheduling: Option<Scheduling>,
    /// The configuration file, where one was given.
    pub config: Option<String>,
    /// Each interface that has sockets.
    pub interfaces: Vec<InterfaceStats>,
    /// Each worker.
    pub workers: Vec<WorkerStats>,
    /// What the host is a member of.
    pub memberships: Vec<MembershipView>,
    /// Who asks for that.
    #[serde(default)]
    pub queries: Vec<QueriesView>,
    /// Who on this host is not served.
    #[serde(default)]
    pub own_host: Vec<OwnHostView>,
    /// Rules that are held, waiting ones included.
    pub rules: u64,
    /// Each of them.
    pub streams: Vec<StreamView>,
    /// What the user should know, each in one line.
    pub warnings: Vec<String>,
}
