//! What `status` tells of mcrd's own host.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

/// Whether somebody asks for the host's memberships on an interface (IGMP queries for every group).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct QueriesView {
    /// The rules' interface.
    pub interface: String,
    /// Where groups are joined: the same, or the host's interface in a VLAN on it.
    pub on: String,
    /// For how long mcrd has listened.
    pub listening_seconds: f64,
    /// Who sent the last query; `null` where none has come.
    pub from: Option<Ipv4Addr>,
    /// Seconds since then, to about half a second.
    pub seen_seconds: Option<f64>,
    /// Whether it reached the host, which then answers; `true` where none has come.
    pub answered: bool,
    /// How often reports are repeated without a query; `null` where they are not.
    pub rejoin_seconds: Option<f64>,
}

/// A sender or receiver on mcrd's own host that a rule does not serve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnHostView {
    /// The rule.
    pub rule: String,
    /// `receiver_of_match`: the rule takes its packets. `receiver_of_output`: what the rule sends does not come to it. `sender`: what it
    /// sends does not come to the rule.
    pub kind: OwnHostKind,
    /// The rule's interface.
    pub interface: String,
    /// The group.
    pub group: Ipv4Addr,
    /// The sender's destination port; `null` for a receiver, whose port is not known.
    pub port: Option<u16>,
    /// The same in a sentence.
    pub text: String,
}

/// Kinds of [`OwnHostView`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OwnHostKind {
    /// Has joined what a rule matches.
    ReceiverOfMatch,
    /// Has joined what an output sends.
    ReceiverOfOutput,
    /// Sends what a rule matches.
    Sender,
}
