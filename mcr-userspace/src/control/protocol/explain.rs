//! What `explain` and `unmatched` answer.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::RuleState;

/// A packet that nobody needs to send: `explain --in`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PacketSpec {
    /// The interface that it comes in on.
    #[serde(rename = "in")]
    pub interface: String,
    /// Source address.
    pub source: Ipv4Addr,
    /// Group.
    pub group: Ipv4Addr,
    /// UDP destination port.
    pub port: u16,
    /// VLAN ID of its tag, 1 to 4095; none, or 0, is untagged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u16>,
    /// Its TTL.
    #[serde(default = "default_ttl")]
    pub ttl: u8,
    /// Bytes of its frame, Ethernet header and tag included, without FCS.
    #[serde(default = "default_size")]
    pub size: u32,
}

/// TTL of a packet of which none is said.
pub const fn default_ttl() -> u8 {
    64
}

/// Bytes of a frame of which none is said: seven packets of an MPEG transport stream.
pub const fn default_size() -> u32 {
    14 + 20 + 8 + 7 * 188
}

/// Seconds that are watched where none is said.
pub const fn default_seconds() -> u32 {
    2
}

/// The answer to [`Request::ExplainPacket`](super::Request::ExplainPacket).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PacketExplained {
    /// The rule that takes it; `null` where none does.
    pub rule: Option<String>,
    /// Other rules that come close, the closest first.
    pub near: Vec<NearView>,
    /// What leaves where, in the rule's order.
    pub outputs: Vec<ExplainedOutput>,
    /// Why no rule matches such a packet, whatever its values: `ptp`, `link_local`; `null` where a rule could.
    #[serde(default)]
    pub why: Option<String>,
    /// The same in words.
    #[serde(default)]
    pub reason: Option<String>,
}

/// A rule that comes close to a packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NearView {
    /// Its name.
    pub rule: String,
    /// What is missing, with commas between: `interface`, `vlan`, `group`, `port`, `source`, `specificity`, `enabled`, `ready`.
    pub lacks: String,
    /// The same in a sentence.
    pub text: String,
}

/// What an output does with a packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ExplainedOutput {
    /// It sends this.
    Sent {
        /// Egress interface.
        interface: String,
        /// VLAN ID of the tag; `null` for none.
        vlan: Option<u16>,
        /// Source address.
        source: Ipv4Addr,
        /// Group.
        group: Ipv4Addr,
        /// UDP destination port.
        port: u16,
        /// Time to live.
        ttl: u8,
        /// Of the frame, Ethernet header included, without FCS.
        bytes: u64,
    },
    /// It sends nothing.
    Dropped {
        /// Egress interface.
        interface: String,
        /// Why: a reason of `docs/counters.md`.
        drop: String,
    },
}

/// The answer to [`Request::ExplainRule`](super::Request::ExplainRule).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleExplained {
    /// The rule's name.
    pub rule: String,
    /// What it is doing.
    pub state: RuleState,
    /// Problems first, the cause before what follows from it; then what is in order, from the wire to the outputs.
    pub findings: Vec<RuleFinding>,
    /// Whether nothing arrives that the rule could want: then the way to this host is asked about too. In JSON only where it is so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub silent: bool,
}

/// One check of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleFinding {
    /// Which check; these names stay.
    pub check: String,
    /// What it was made on: the rule, an interface, an output.
    #[serde(rename = "where")]
    pub place: String,
    /// How it came out.
    pub result: CheckResult,
    /// What is so, in one sentence.
    pub text: String,
    /// The command that fixes it, where there is one.
    pub fix: Option<String>,
}

/// Results of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckResult {
    /// In order.
    Ok,
    /// Not.
    Problem,
}

impl RuleFinding {
    /// Whether something is wrong.
    pub fn is_problem(&self) -> bool {
        self.result == CheckResult::Problem
    }
}

impl RuleExplained {
    /// Whether anything is wrong.
    pub fn has_problem(&self) -> bool {
        self.findings.iter().any(RuleFinding::is_problem)
    }

    /// Whether packets do not arrive, or are lost here: the rule's state follows that.
    pub fn has_losses(&self) -> bool {
        let is_loss = |finding: &RuleFinding| matches!(finding.check.as_str(), "arrival" | "output" | "worker");
        self.findings.iter().any(|finding| finding.is_problem() && is_loss(finding))
    }
}

/// The answer to [`Request::Unmatched`](super::Request::Unmatched).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unmatched {
    /// For how long packets were recorded.
    pub seconds: u32,
    /// What came, most packets first.
    pub flows: Vec<UnmatchedFlow>,
}

/// Multicast UDP that no rule takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnmatchedFlow {
    /// The interface that it comes in on.
    pub interface: String,
    /// VLAN ID of its tag, the outer one of several; `null` for none.
    pub vlan: Option<u16>,
    /// VLAN ID of the second of several tags; `null` otherwise.
    #[serde(default)]
    pub inner_vlan: Option<u16>,
    /// Source address.
    pub source: Ipv4Addr,
    /// Group.
    pub group: Ipv4Addr,
    /// UDP destination port; `null` of fragments, which carry none.
    pub port: Option<u16>,
    /// Packets in that time.
    pub packets: u64,
    /// What the nearest rule lacks; `null` where none is near.
    pub near: Option<String>,
    /// Why no rule matches it as it comes: `two_tags`, `tag_type`, `ptp`, `fragment`, `port_0`; `null` where a rule could.
    #[serde(default)]
    pub why: Option<String>,
    /// The same in words.
    #[serde(default)]
    pub reason: Option<String>,
}
