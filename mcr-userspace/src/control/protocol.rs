//! What travels over the control socket: one JSON object a line, a request and then its response.

mod capture;
mod error;
mod event;
mod explain;
mod host;
mod level;
mod membership;
mod operation;
mod reload;
mod request;
mod response;
mod rule;
mod state;
mod stats;
mod status;
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
pub use membership::MembershipView;
pub use operation::{Operation, Origin};
pub use reload::{ChangeKind, ChangeView, FieldChange, Reload, Reloaded, SettingChange};
pub use request::{MAX_REQUEST, Request};
pub use response::Response;
pub use rule::RuleView;
pub use state::RuleState;
pub use stats::{
    Dropped, InterfaceFrames, InterfaceStats, OutputStats, RuleStats, STATS_VERSION, Stats, Totals, WorkerStats,
};
pub use status::{Scheduling, Status, StreamView};
pub use top::{Top, TopRule};
