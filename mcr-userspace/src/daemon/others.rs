//! Senders and receivers on mcrd's own host that rules do not serve. What a rule takes from the wire the host's sockets miss; what mcrd
//! sends goes to the wire past the host's own sockets; and what the host itself sends does not come in.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use super::state::State;
use crate::{
    control::protocol::{OwnHostKind, OwnHostView},
    kernel::igmp::{self, Joined},
    rules::{
        reach::{last_address, sent_groups, sent_vlan},
        rule::{Prefix, Rule},
        value::LINK_LOCAL,
    },
};

/// Groups that others on this host have joined, as they were a moment ago: the kernel lists all to whoever asks for one.
#[derive(Debug, Default)]
pub struct Others {
    joined: BTreeMap<u32, Joined>,
    /// Those of them that others than mcrd have joined, by interface index, as far as they were asked for.
    groups: BTreeMap<u32, BTreeSet<Ipv4Addr>>,
    looked: Option<Instant>,
}

/// How long that moment is: rules that come one after the other ask once.
const MOMENT: Duration = Duration::from_millis(20);
/// Lines that `status` has of these.
const TOLD: usize = 20;

impl Others {
    /// Asks the kernel, unless that was a moment ago.
    fn look(&mut self) {
        if self.looked.is_some_and(|looked| looked.elapsed() < MOMENT) {
            return;
        }
        let joined = igmp::members().unwrap_or_else(|error| {
            log::warn!(
                "whether this host's own sockets have joined what rules take is not known: /proc/net/igmp: {error}"
            );
            BTreeMap::new()
        });
        *self = Self { joined, groups: BTreeMap::new(), looked: Some(Instant::now()) };
    }

    /// One within `groups` that others have joined on an interface; `own` tells how many of a group's sockets are mcrd's.
    fn find(&mut self, ifindex: u32, groups: Prefix, own: impl Fn() -> HashMap<Ipv4Addr, usize>) -> Option<Ipv4Addr> {
        let others = self.groups.entry(ifindex).or_insert_with(|| {
            let joined = self.joined.get(&ifindex).map(|joined| joined.groups.as_slice()).unwrap_or_default();
            let own = own();
            let is_others = |(group, users): &&(Ipv4Addr, usize)| *users > own.get(group).copied().unwrap_or_default();
            joined.iter().filter(is_others).map(|(group, _)| *group).collect()
        });
        // Every host joins groups of the link itself (224.0.0.1), which are never forwarded.
        let mut within = others.range(groups.address..=last_address(groups));
        within.find(|group| !LINK_LOCAL.contains(**group)).copied()
    }
}

impl State {
    /// Those that `rule`, which forwards, does not serve.
    pub fn not_served(&mut self, rule: &Rule) -> Vec<OwnHostView> {
        self.others.look();
        self.not_served_now(rule)
    }

    /// The same by what is known of others.
    fn not_served_now(&mut self, rule: &Rule) -> Vec<OwnHostView> {
        let matcher = &rule.matcher;
        let mut all = Vec::new();
        let mut note = |kind, interface: &str, group: Ipv4Addr, port: Option<u16>, text: String| {
            all.push(OwnHostView { rule: rule.name.clone(), kind, interface: interface.to_owned(), group, port, text });
        };
        let Self { others, members, interfaces, .. } = self;
        if let Some((_, ingress)) = interfaces.find(&matcher.interface)
            && let Some((on, name)) = members.place(ingress.nic.ifindex, matcher)
        {
            if let Some(group) = others.find(on, matcher.group, || members.users(on)) {
                let text = format!(
                    "a receiver on this host has joined {group} on {name}: matched packets are taken from the host, so it no longer sees them"
                );
                note(OwnHostKind::ReceiverOfMatch, &matcher.interface, group, None, text);
            }
            let (first, last) = matcher.ports.bounds();
            let is_matched = |sent: &&igmp::Sent| {
                matcher.group.contains(sent.group)
                    && (first..=last).contains(&sent.port)
                    && matcher.source.contains(sent.source)
            };
            if let Some(sent) = members.sent_by_host(on).find(is_matched) {
                let text = format!(
                    "a program on this host sends to {} port {} by {name}: that leaves by {name} and does not come in, so the rule does not get it; run the sender in a network namespace behind a veth pair, and match on the host's end",
                    sent.group, sent.port
                );
                note(OwnHostKind::Sender, &matcher.interface, sent.group, Some(sent.port), text);
            }
        }
        let mut met = BTreeSet::new();
        for output in &rule.outputs {
            let Some((_, egress)) = interfaces.find(&output.interface) else { continue };
            let Some((on, name)) = members.place_of(egress.nic.ifindex, &output.interface, sent_vlan(matcher, output))
            else {
                continue;
            };
            let found = others.find(on, sent_groups(matcher, output), || members.users(on));
            if let Some(group) = found.filter(|group| met.insert((on, *group))) {
                let text = format!(
                    "a receiver on this host has joined {group} on {name}: what an output sends there leaves by {name} past the host, so it does not get that; run the receiver in a network namespace behind a veth pair, and add an output to the host's end"
                );
                note(OwnHostKind::ReceiverOfOutput, &output.interface, group, None, text);
            }
        }
        all
    }

    /// Those that a rule does not serve.
    pub fn own_host_of(&mut self, rule: &Rule) -> Vec<OwnHostView> {
        self.others.look();
        self.not_served_now(rule)
    }

    /// Those that rules which forward do not serve.
    pub fn own_host(&mut self) -> Vec<OwnHostView> {
        self.others.look();
        let active: Vec<_> = self.live.values().filter_map(|live| live.active.clone()).collect();
        active.iter().flat_map(|active| self.not_served_now(&active.rule)).collect()
    }
}

/// The first of them as warnings, a line each.
pub fn warnings(all: &[OwnHostView]) -> impl Iterator<Item = String> {
    let more = all.len().checked_sub(TOLD).filter(|more| *more > 0);
    let more = more.map(|more| format!("and {more} more senders and receivers on this host that rules do not serve"));
    all.iter().take(TOLD).map(|own| format!("rule {}: {}", own.rule, own.text)).chain(more)
}
