//! What a client asks.

use serde::{Deserialize, Serialize};

use super::{
    capture::CaptureSpec,
    explain::{PacketSpec, default_seconds},
    level::LogLevel,
    operation::Operation,
    reload::Reload,
};
use crate::rules::spec::RuleSpec;

/// Longest request line, in bytes, its newline included.
pub const MAX_REQUEST: usize = 1 << 20;

/// What a client asks: `{"command":"rule_add","rule":{...}}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Adds one rule. Answer: [`Response::RuleAdded`](super::Response::RuleAdded).
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
    /// Changes what is named of a rule, and keeps the rest. Answer: [`Response::RuleSet`](super::Response::RuleSet).
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
    /// Deletes rules, all or none. Answer: [`Response::RuleDeleted`](super::Response::RuleDeleted).
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
    /// Switches rules on or off, all or none. Answer: [`Response::RulesSwitched`](super::Response::RulesSwitched).
    RuleSwitch {
        /// Names and globs.
        names: Vec<String>,
        /// Whether they are to forward.
        enabled: bool,
        /// Write it into the daemon's file too.
        #[serde(default)]
        persist: bool,
    },
    /// A part of a batch, which the connection keeps until a [`Request::Batch`]. Answer:
    /// [`Response::BatchPart`](super::Response::BatchPart).
    BatchPart {
        /// In the order in which they are applied.
        operations: Vec<Operation>,
    },
    /// Applies the parts that were sent on this connection, and then these operations: all or none. Answer:
    /// [`Response::Batched`](super::Response::Batched).
    Batch {
        /// In the order in which they are applied.
        #[serde(default)]
        operations: Vec<Operation>,
        /// Only say what would change.
        #[serde(default)]
        dry_run: bool,
    },
    /// What runs, as a configuration file. Answer: [`Response::Exported`](super::Response::Exported).
    Export {},
    /// Answer: [`Response::Rules`](super::Response::Rules).
    RuleList {},
    /// Answer: [`Response::Rule`](super::Response::Rule).
    RuleShow {
        /// The rule's name.
        name: String,
    },
    /// Reads the daemon's file again. Answer: [`Response::Reloaded`](super::Response::Reloaded).
    Reload(Reload),
    /// Keeps what a reload with `confirm` has applied. Answer: [`Response::Confirmed`](super::Response::Confirmed).
    Confirm {},
    /// Answer: [`Response::Stats`](super::Response::Stats).
    Stats {
        /// Only this rule.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rule: Option<String>,
        /// Only rules with these names, or names that match these globs; empty: all rules.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        rules: Vec<String>,
    },
    /// The few counters of each rule that `mcrctl top` shows. Answer: [`Response::Top`](super::Response::Top).
    Top {},
    /// Answer: [`Response::Status`](super::Response::Status).
    Status {},
    /// Captures packets of rules. Answer: [`Response::Capturing`](super::Response::Capturing), and then the capture as a pcapng stream
    /// until it ends, which the client asks for by closing its side of the connection.
    Capture(CaptureSpec),
    /// What mcrd logs. Answer: [`Response::LogLevel`](super::Response::LogLevel).
    LogLevel {
        /// Log this much from now on; left out: only say what is logged.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        level: Option<LogLevel>,
    },
    /// Why a rule delivers, or not. Answer: [`Response::RuleExplained`](super::Response::RuleExplained).
    ExplainRule {
        /// The rule's name.
        name: String,
        /// For how long packets are watched where counters alone do not tell.
        #[serde(default = "default_seconds")]
        seconds: u32,
    },
    /// Which rule matches a packet like this, and what would leave where. Answer:
    /// [`Response::PacketExplained`](super::Response::PacketExplained).
    ExplainPacket {
        /// The packet.
        packet: PacketSpec,
    },
    /// The multicast that arrives and no rule takes. Answer: [`Response::Unmatched`](super::Response::Unmatched).
    Unmatched {
        /// Only what comes in on these.
        #[serde(default)]
        interfaces: Vec<String>,
        /// For how long.
        #[serde(default = "default_seconds")]
        seconds: u32,
    },
    /// What has happened. Answer: [`Response::Events`](super::Response::Events).
    Events {
        /// Only what came after this number, which the last answer gave as `next`; left out: all that is kept.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<u64>,
        /// Wait for an event, some seconds at most, where there is none yet.
        #[serde(default)]
        wait: bool,
    },
}
