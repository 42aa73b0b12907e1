//! What `mcrctl top` asks for each second: of each rule only what a line shows.

use serde::{Deserialize, Serialize};

use super::RuleState;

/// The answer to [`Request::Top`](super::Request::Top).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Top {
    /// The daemon's version.
    pub version: String,
    /// The daemon's process.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime_seconds: f64,
    /// Each rule, in the order of their names.
    pub rules: Vec<TopRule>,
}

/// One rule's sums.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TopRule {
    /// The rule's name.
    pub name: String,
    /// What it is doing.
    pub state: RuleState,
    /// Why it is not `active`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_reason: Option<String>,
    /// Packets that the XDP program redirected for it.
    pub matched_packets: u64,
    /// Their bytes: Ethernet header to the end of the frame, no FCS.
    pub matched_bytes: u64,
    /// Packets that its outputs sent, all together.
    pub sent_packets: u64,
    /// Packets that were dropped before its outputs or at one of them, for any reason.
    pub lost_packets: u64,
    /// Seconds since its last packet, to about half a second; absent where none has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silent_seconds: Option<f64>,
}
