//! What is known of a rule, its interfaces and its packets when it is judged.

use std::{net::Ipv4Addr, time::Duration};

use mcr_common::counter::Verdict;

use super::{
    super::{active::Reading, links::Link, passed::Rates, traffic},
    near::Arrived,
    obstacle::Obstacle,
};
use crate::{
    control::protocol::{MembershipView, OwnHostView, RuleState},
    rules::rule::Rule,
};

/// Everything that is judged.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The rule.
    pub rule: Rule,
    /// What it is doing.
    pub state: RuleState,
    /// Why it waits, while it does.
    pub waiting: Option<String>,
    /// Since its last packet; `None` where none has come of what it matches now.
    pub silence: Option<Duration>,
    /// For each interface, packets a second that no rule matched, before the last packet and since; where that is known.
    pub passed: Vec<(String, Rates)>,
    /// Packets a second, in the last seconds that had packets.
    pub pace: u64,
    /// Its ingress.
    pub ingress: InterfaceFacts,
    /// Its outputs, in its order.
    pub outputs: Vec<OutputFacts>,
    /// What the host is a member of for it.
    pub memberships: Vec<MembershipView>,
    /// Why the host has not joined what it needs.
    pub unjoined: Option<String>,
    /// Why the host answers no IGMP query for it.
    pub deaf: Option<String>,
    /// All counters.
    pub reading: Reading,
    /// What the last seconds that had packets have shown.
    pub findings: Vec<traffic::Finding>,
    /// Since the last of those seconds began.
    pub age: Duration,
    /// Senders and receivers on this host that the rule does not serve.
    pub own_host: Vec<OwnHostView>,
    /// Rules that take packets which this one would take.
    pub stronger: Vec<Stronger>,
}

impl Facts {
    /// Whether the ingress takes every group, and asks for none by name.
    pub fn takes_all(&self) -> bool {
        self.memberships.iter().any(|view| view.group.is_none())
    }
}

/// An interface of the rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InterfaceFacts {
    /// Its name.
    pub name: String,
    /// Why mcrd has none of that name.
    pub absent: Option<String>,
    /// The name that it has now, where it was renamed.
    pub renamed: Option<String>,
    /// Its link.
    pub link: Link,
    /// Since that changed.
    pub linked: Option<Duration>,
    /// Since workers learned of another address, MAC or MTU.
    pub learned: Option<Duration>,
    /// Its MTU.
    pub mtu: u32,
    /// Bytes of the largest IP packet, by its MTU and by the frames of its sockets.
    pub limit: u32,
    /// `driver` or `skb`.
    pub xdp: String,
    /// `zerocopy`, `copy` or `none`.
    pub xsk: String,
    /// What is wrong with its zero-copy mode.
    pub fault: Option<String>,
    /// What helps against packets that are longer than its frames.
    pub oversize: String,
}

/// An output of the rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputFacts {
    /// `output 2 (eth1)`.
    pub label: String,
    /// Its interface.
    pub interface: InterfaceFacts,
    /// Why it cannot send.
    pub lack: Option<String>,
    /// The address that its interface had and has lost, as `ip address add` takes it.
    pub lost_address: Option<String>,
    /// Bytes of the longest IP packet that was too big for it; 0 where none was.
    pub longest: u32,
}

/// A rule whose packets this one would take without it: it is more specific, or its ingress is a port of this one's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stronger {
    /// Its name.
    pub name: String,
    /// The port that it takes them from.
    pub port: Option<String>,
    /// Packets that it has matched.
    pub matched: u64,
}

/// A flow that no rule takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// The interface's name.
    pub interface: String,
    /// VLAN ID of its tag, or of the outer tag.
    pub vlan: Option<u16>,
    /// Source address.
    pub source: Ipv4Addr,
    /// Group.
    pub group: Ipv4Addr,
    /// UDP destination port; `None` of fragments.
    pub port: Option<u16>,
    /// Why the program passed it on.
    pub verdict: Verdict,
    /// Why no rule matches it as it comes.
    pub obstacle: Option<Obstacle>,
    /// Whether its frames are for one Ethernet address.
    pub is_unicast: bool,
    /// How many came.
    pub packets: u64,
}

impl Flow {
    /// As rules see it.
    pub fn arrived(&self) -> Arrived<'_> {
        let Self { interface, vlan, source, group, port, .. } = self;
        Arrived { interface, vlan: *vlan, source: *source, group: *group, port: *port }
    }

    /// 400 untagged packets of 239.1.1.1:5001 from 10.0.0.5, which come in on eth0.
    #[cfg(test)]
    pub fn example() -> Self {
        Self {
            interface: "eth0".into(),
            vlan: None,
            source: [10, 0, 0, 5].into(),
            group: [239, 1, 1, 1].into(),
            port: Some(5001),
            verdict: Verdict::PassNoRule,
            obstacle: None,
            is_unicast: false,
            packets: 400,
        }
    }
}

/// What was seen while packets were watched.
#[derive(Clone, Debug, Default)]
pub struct Watched {
    /// For how long.
    pub seconds: f64,
    /// What the rule's counters added.
    pub added: Reading,
    /// Flows that no rule takes.
    pub flows: Vec<Flow>,
    /// Stronger rules that have matched packets meanwhile.
    pub stronger: Vec<Stronger>,
}
