//! What the daemon answers.

use serde::{Deserialize, Serialize};

use super::{
    capture::Capturing,
    error::ErrorCode,
    event::Events,
    explain::{PacketExplained, RuleExplained, Unmatched},
    level::LogLevelView,
    reload::{ChangeView, Reloaded},
    rule::RuleView,
    stats::Stats,
    status::Status,
    top::Top,
};

/// What the daemon answers: `{"rule_added":{"name":"feed-a",...}}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// To [`Request::RuleAdd`](super::Request::RuleAdd).
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
    /// To [`Request::RuleSet`](super::Request::RuleSet).
    RuleSet {
        /// The rule's name.
        name: String,
        /// Whether anything changed in what runs.
        changed: bool,
        /// Each one line.
        warnings: Vec<String>,
    },
    /// To [`Request::RuleDel`](super::Request::RuleDel).
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
    /// To [`Request::RuleSwitch`](super::Request::RuleSwitch).
    RulesSwitched {
        /// Those that were chosen, in the order of their names.
        names: Vec<String>,
        /// Those of them that were not so before.
        changed: Vec<String>,
        /// Each one line.
        warnings: Vec<String>,
    },
    /// To [`Request::BatchPart`](super::Request::BatchPart).
    BatchPart {
        /// Operations that the connection keeps by now.
        operations: u64,
    },
    /// To [`Request::Batch`](super::Request::Batch).
    Batched {
        /// Nothing was applied.
        dry_run: bool,
        /// What changed, or would.
        changes: Vec<ChangeView>,
        /// Each one line.
        warnings: Vec<String>,
    },
    /// To [`Request::Export`](super::Request::Export).
    Exported {
        /// The text of the file.
        config: String,
    },
    /// To [`Request::RuleList`](super::Request::RuleList): in the order of their names.
    Rules(Vec<RuleView>),
    /// To [`Request::RuleShow`](super::Request::RuleShow).
    Rule(RuleView),
    /// To [`Request::Reload`](super::Request::Reload).
    Reloaded(Reloaded),
    /// To [`Request::Confirm`](super::Request::Confirm).
    Confirmed {
        /// Rules that the reload had changed.
        changes: u64,
    },
    /// To [`Request::Stats`](super::Request::Stats).
    Stats(Stats),
    /// To [`Request::Top`](super::Request::Top).
    Top(Top),
    /// To [`Request::Status`](super::Request::Status).
    Status(Status),
    /// To [`Request::LogLevel`](super::Request::LogLevel).
    LogLevel(LogLevelView),
    /// To [`Request::ExplainRule`](super::Request::ExplainRule).
    RuleExplained(RuleExplained),
    /// To [`Request::ExplainPacket`](super::Request::ExplainPacket).
    PacketExplained(PacketExplained),
    /// To [`Request::Unmatched`](super::Request::Unmatched).
    Unmatched(Unmatched),
    /// To [`Request::Events`](super::Request::Events).
    Events(Events),
    /// To [`Request::Capture`](super::Request::Capture).
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
