//! The daemon, and what it does for each rule.

use serde::{Deserialize, Serialize};

use super::{
    host::{OwnHostView, QueriesView},
    membership::MembershipView,
    state::RuleState,
    stats::{InterfaceStats, WorkerStats},
};

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
