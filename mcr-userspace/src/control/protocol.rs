//! What travels over the control socket: one JSON object a line, a request and then its response.

mod capture;
mod error;
mod event;
mod explain;
mod host;
mod level;
mod operation;
mod reload;
mod state;
mod top;

pub use capture::{CaptureSpec, Capturing, MAX_SNAPLEN, Point};
pub use error::ErrorCode;
pub use event::{Event, EventKind, Events};
pub use explain::{
    CheckResult, ExplainedOutput, NearView, PacketExplained, PacketSpec, RuleExplained, RuleFinding, Unmatched,
    UnmatchedFlow, default_seconds, default_size, default_ttl,
};
pub use host::{OwnHostKind, OwnHostView, QueriesView};
pub use level::{LogLevel, LogLevelView};
pub use operation::{Operation, Origin};
pub use reload::{ChangeKind, ChangeView, FieldChange, Reload, Reloaded, SettingChange};
pub use state::RuleState;
pub use top::{Top, TopRule};

use std::{collections::BTreeMap, net::Ipv4Addr};

use serde::{Deserialize, Serialize};

use crate::rules::{
    rule::Rule,
    spec::{MatchSpec, OutputSpec, RuleSpec, Scalar},
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
    /// Changes what is named of a rule, and keeps the rest. Answer: [`Response::RuleSet`].
    RuleSet {
        /// Its name.
        name: String,
        /// What is named; a group of outputs takes the place of all.
        change: Box<RuleSpec>,
        /// Accept interfaces that do not exist yet.
        #[serde(default)]
        wait: bool,
        /// Change it in the daemon's file too.
        #[serde(default)]
        persist: bool,
    },
    /// Deletes rules, all or none. Answer: [`Response::RuleDeleted`].
    RuleDel {
        /// The name of one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// Names and globs.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        names: Vec<String>,
        /// Delete them from the daemon's file too.
        #[serde(default)]
        persist: bool,
    },
    /// Switches rules on or off, all or none. Answer: [`Response::RulesSwitched`].
    RuleSwitch {
        /// Names and globs.
        names: Vec<String>,
        /// Whether they are to forward.
        enabled: bool,
        /// Write it into the daemon's file too.
        #[serde(default)]
        persist: bool,
    },
    /// A part of a batch, which the connection keeps until a [`Request::Batch`]. Answer: [`Response::BatchPart`].
    BatchPart {
        /// In the order in which they are applied.
        operations: Vec<Operation>,
    },
    /// Applies the parts that were sent on this connection, and then these operations: all or none. Answer: [`Response::Batched`].
    Batch {
        /// In the order in which they are applied.
        #[serde(default)]
        operations: Vec<Operation>,
        /// Only say what would change.
        #[serde(default)]
        dry_run: bool,
    },
    /// What runs, as a configuration file. Answer: [`Response::Exported`].
    Export {},
    /// Answer: [`Response::Rules`].
    RuleList {},
    /// Answer: [`Response::Rule`].
    RuleShow {
        /// The rule's name.
        name: String,
    },
    /// Reads the daemon's file again. Answer: [`Response::Reloaded`].
    Reload(Reload),
    /// Keeps what a reload with `confirm` has applied. Answer: [`Response::Confirmed`].
    Confirm {},
    /// Answer: [`Response::Stats`].
    Stats {
        /// Only this rule.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rule: Option<String>,
        /// Only rules with these names, or names that match these globs; empty: all rules.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        rules: Vec<String>,
    },
    /// The few counters of each rule that `mcrctl top` shows. Answer: [`Response::Top`].
    Top {},
    /// Answer: [`Response::Status`].
    Status {},
    /// Captures packets of rules. Answer: [`Response::Capturing`], and then the capture as a pcapng stream until it ends, which the client
    /// asks for by closing its side of the connection.
    Capture(CaptureSpec),
    /// What mcrd logs. Answer: [`Response::LogLevel`].
    LogLevel {
        /// Log this much from now on; left out: only say what is logged.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        level: Option<LogLevel>,
    },
    /// Why a rule delivers, or not. Answer: [`Response::RuleExplained`].
    ExplainRule {
        /// The rule's name.
        name: String,
        /// For how long packets are watched where counters alone do not tell.
        #[serde(default = "default_seconds")]
        seconds: u32,
    },
    /// Which rule takes a packet like this, and what would leave where. Answer: [`Response::PacketExplained`].
    ExplainPacket {
        /// The packet.
        packet: PacketSpec,
    },
    /// The multicast that arrives and no rule takes. Answer: [`Response::Unmatched`].
    Unmatched {
        /// Only what comes in on these.
        #[serde(default)]
        interfaces: Vec<String>,
        /// For how long.
        #[serde(default = "default_seconds")]
        seconds: u32,
    },
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
        /// Whether anything changed; it did not where the rule was there already, exactly alike.
        changed: bool,
        /// Each one line.
        warnings: Vec<String>,
    },
    /// To [`Request::RuleSet`].
    RuleSet {
        /// The rule's name.
        name: String,
        /// Whether anything changed in what runs.
        changed: bool,
        /// Each one line.
        warnings: Vec<String>,
    },
    /// To [`Request::RuleDel`].
    RuleDeleted {
        /// The rule's name, where it is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// All names, in their order.
        #[serde(default)]
        names: Vec<String>,
        /// Each one line.
        #[serde(default)]
        warnings: Vec<String>,
    },
    /// To [`Request::RuleSwitch`].
    RulesSwitched {
        /// Those that were chosen, in the order of their names.
        names: Vec<String>,
        /// Those of them that were not so before.
        changed: Vec<String>,
        /// Each one line.
        warnings: Vec<String>,
    },
    /// To [`Request::BatchPart`].
    BatchPart {
        /// Operations that the connection keeps by now.
        operations: u64,
    },
    /// To [`Request::Batch`].
    Batched {
        /// Nothing was applied.
        dry_run: bool,
        /// What changed, or would.
        changes: Vec<ChangeView>,
        /// Each one line.
        warnings: Vec<String>,
    },
    /// To [`Request::Export`].
    Exported {
        /// The text of the file.
        config: String,
    },
    /// To [`Request::RuleList`]: in the order of their names.
    Rules(Vec<RuleView>),
    /// To [`Request::RuleShow`].
    Rule(RuleView),
    /// To [`Request::Reload`].
    Reloaded(Reloaded),
    /// To [`Request::Confirm`].
    Confirmed {
        /// Rules that the reload had changed.
        changes: u64,
    },
    /// To [`Request::Stats`].
    Stats(Stats),
    /// To [`Request::Top`].
    Top(Top),
    /// To [`Request::Status`].
    Status(Status),
    /// To [`Request::LogLevel`].
    LogLevel(LogLevelView),
    /// To [`Request::ExplainRule`].
    RuleExplained(RuleExplained),
    /// To [`Request::ExplainPacket`].
    PacketExplained(PacketExplained),
    /// To [`Request::Unmatched`].
    Unmatched(Unmatched),
    /// To [`Request::Events`].
    Events(Events),
    /// To [`Request::Capture`].
    Capturing(Capturing),
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
    /// Whether the daemon's file has a rule of this name.
    #[serde(default)]
    pub origin: Origin,
    /// Whether the file's rule of this name is another, which the next reload brings back; left out where it is not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub changed_at_run_time: bool,
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
        let (name, origin, changed_at_run_time) = (rule.name.clone(), Origin::default(), false);
        Self {
            name,
            state,
            state_reason,
            origin,
            changed_at_run_time,
            description,
            enabled,
            stall_after,
            matcher,
            output,
        }
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
