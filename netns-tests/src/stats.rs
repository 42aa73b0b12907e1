//! `mcrctl --json stats` as interface.md promises it: a field too many or too few is an error here.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Packets by the name of why they were dropped.
pub type Dropped = BTreeMap<String, u64>;

/// The whole object.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stats {
    /// Version of the object.
    pub version: u32,
    /// Seconds since the daemon started.
    pub uptime_seconds: f64,
    /// Over all rules, deleted ones included.
    pub totals: Totals,
    /// Each rule.
    pub rules: Vec<Rule>,
    /// Each interface that has sockets.
    pub interfaces: Vec<Interface>,
    /// Each worker.
    pub workers: Vec<Worker>,
    /// What the host is a member of, for rules' sake.
    pub memberships: Vec<Membership>,
}

/// A membership.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Membership {
    /// The rules' interface.
    pub interface: String,
    /// The rules' VLAN.
    pub vlan: Option<u16>,
    /// The host's interface in it.
    pub via: Option<String>,
    /// The group; `null` where it is every one.
    pub group: Option<String>,
    /// The source; `null` where it is any.
    pub source: Option<String>,
    /// `joined`, `allmulticast`, or `failed: ` and why.
    pub state: String,
}

/// Sums since the daemon started.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Totals {
    /// Packets that the XDP program steered.
    pub matched_packets: u64,
    /// Their bytes.
    pub matched_bytes: u64,
    /// Matched packets that no output was offered.
    pub dropped: Dropped,
    /// Packets that outputs sent.
    pub sent_packets: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Packets offered to outputs and not sent.
    pub output_dropped: Dropped,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Its name.
    pub name: String,
    /// Packets that the XDP program steered for it.
    pub matched_packets: u64,
    /// Their bytes.
    pub matched_bytes: u64,
    /// Matched packets that its outputs were not offered.
    pub dropped: Dropped,
    /// `disabled`, `waiting`, `degraded`, `stalled`, `idle` or `active`.
    pub state: String,
    /// Why it is not `active`.
    #[serde(default)]
    pub state_reason: Option<String>,
    /// Each output.
    pub outputs: Vec<Output>,
}

/// One output of a rule.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// Its name.
    #[serde(default)]
    pub name: Option<String>,
    /// The VLAN of what it sends: its ID or `keep`; absent for untagged.
    #[serde(default)]
    pub vlan: Option<serde_json::Value>,
    /// Egress interface.
    pub interface: String,
    /// New group.
    pub group: String,
    /// New port; `null` where the packet's own is kept.
    pub port: Option<u16>,
    /// Packets that reached it.
    pub offered_packets: u64,
    /// Packets completed and not refused.
    pub sent_packets: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Packets offered and not sent.
    pub dropped: Dropped,
    /// What it waits for while its rule forwards to others.
    #[serde(default)]
    pub waiting: Option<String>,
}

/// One interface.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its driver.
    pub driver: String,
    /// Its receive queues.
    pub queues: u32,
    /// Whether it is set up.
    pub up: bool,
    /// Whether it has a carrier, too.
    pub carrier: bool,
    /// Bytes of its largest IP packet.
    pub mtu: u32,
    /// `driver` or `skb`.
    pub xdp: String,
    /// `zerocopy` or `copy`.
    pub xsk: String,
    /// Why it is less than was asked for.
    pub xsk_reason: String,
    /// Frames of its sockets.
    pub frames: InterfaceFrames,
    /// Packets by the XDP program's verdict.
    pub verdicts: BTreeMap<String, u64>,
}

/// Frames of an interface's sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InterfaceFrames {
    /// For receiving.
    pub rx: u64,
    /// For sending.
    pub tx: u64,
}

/// One worker.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Worker {
    /// From 0.
    pub id: u32,
    /// The CPU it is bound to.
    pub cpu: Option<u32>,
    /// Ingress queues it serves.
    pub rx_queues: Vec<u32>,
    /// Packets taken from RX rings.
    pub rx_packets: u64,
    /// Packets completed by TX rings.
    pub tx_packets: u64,
    /// Frames of its UMEM.
    pub frames_total: u64,
    /// Frames that its UMEMs may have at most.
    pub frames_limit: u64,
    /// Frames in its pool.
    pub frames_free: u64,
}

impl Rule {
    /// `forwards`, however well; or its state with the reason, such as `waiting: no interface v2`.
    pub fn outcome(&self) -> String {
        match (self.state.as_str(), &self.state_reason) {
            (state @ ("waiting" | "disabled"), Some(reason)) => format!("{state}: {reason}"),
            (state @ ("waiting" | "disabled"), None) => state.to_owned(),
            _ => "forwards".to_owned(),
        }
    }
}

impl Stats {
    /// A rule by its name.
    ///
    /// # Panics
    /// When there is none of that name.
    pub fn rule(&self, name: &str) -> &Rule {
        self.rules.iter().find(|rule| rule.name == name).unwrap_or_else(|| panic!("stats have no rule {name:?}"))
    }

    /// An interface by its name.
    ///
    /// # Panics
    /// When there is none of that name.
    pub fn interface(&self, name: &str) -> &Interface {
        let found = self.interfaces.iter().find(|interface| interface.name == name);
        found.unwrap_or_else(|| panic!("stats have no interface {name:?}"))
    }
}

/// All packets of a map of drops.
pub fn sum(dropped: &Dropped) -> u64 {
    dropped.values().sum()
}
