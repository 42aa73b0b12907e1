//! Which groups the host is a member of, so that switches and NICs let them in: what the rules that forward need, joined with the first
//! that needs it, left with the last.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use crate::{
    config,
    control::protocol::MembershipView,
    kernel::membership::{Holders, Membership},
    rules::rule::Match,
};

/// Groups joined one by one on an interface at most; beyond them it takes every group.
const MOST_GROUPS: usize = 4096;

/// The memberships of all interfaces.
#[derive(Debug, Default)]
pub struct Members {
    holders: Holders,
    /// By interface index.
    interfaces: BTreeMap<u32, Interface>,
}

/// What rules need on one interface, and what is held there.
#[derive(Debug, Default)]
struct Interface {
    name: String,
    /// How many rules need each.
    needed: BTreeMap<Membership, u32>,
    held: BTreeSet<Membership>,
    /// Those beyond [`MOST_GROUPS`], for which every group is taken.
    beyond: BTreeSet<Membership>,
    /// Why each of these is not held.
    failed: BTreeMap<Membership, String>,
}

impl Members {
    /// A rule that matches so forwards from now on.
    pub fn add(&mut self, ifindex: u32, matcher: &Match, how: config::Membership) {
        let Some(membership) = membership(matcher, how) else { return };
        let interface = self.interfaces.entry(ifindex).or_default();
        interface.name.clone_from(&matcher.interface);
        let count = interface.needed.entry(membership).or_default();
        *count += 1;
        if *count == 1 {
            interface.take(ifindex, membership, &mut self.holders);
        }
    }

    /// A rule that was added so forwards no more.
    pub fn remove(&mut self, ifindex: u32, matcher: &Match, how: config::Membership) {
        let Some(membership) = membership(matcher, how) else { return };
        let Some(interface) = self.interfaces.get_mut(&ifindex) else { return };
        let Some(count) = interface.needed.get_mut(&membership) else { return };
        *count -= 1;
        if *count == 0 {
            interface.needed.remove(&membership);
            interface.leave(ifindex, membership, &mut self.holders);
            if interface.needed.is_empty() {
                self.interfaces.remove(&ifindex);
            }
        }
    }

    /// Tries once more what failed.
    pub fn retry(&mut self) {
        for (ifindex, interface) in &mut self.interfaces {
            for (membership, _) in std::mem::take(&mut interface.failed) {
                interface.take(*ifindex, membership, &mut self.holders);
            }
        }
    }

    /// How many of the kernel's users of a group on an interface are of this daemon.
    pub fn users(&self, ifindex: u32, group: Ipv4Addr) -> usize {
        self.holders.users(ifindex, group)
    }

    /// Every membership and its state; of the rule that matches so, where one is given.
    pub fn view(&self, only: Option<&Match>) -> Vec<MembershipView> {
        let asked = |view: &MembershipView| {
            only.is_none_or(|matcher| {
                let group = view.group.is_none_or(|group| matcher.group.contains(group));
                view.interface == matcher.interface && group
            })
        };
        self.interfaces.values().flat_map(Interface::view).filter(asked).collect()
    }

    /// What users should know of memberships, a line each.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for interface in self.interfaces.values() {
            let name = &interface.name;
            if interface.held.contains(&Membership::All) {
                warnings.push(format!(
                    "{name} takes every group that reaches it, and asks for none of those that no rule names one by one: a switch that snoops IGMP needs a static multicast-router port to it"
                ));
            }
            for (membership, why) in &interface.failed {
                warnings.push(format!("{name}: {} is not joined: {why}", shown(membership)));
            }
        }
        warnings
    }
}

impl Interface {
    fn view(&self) -> Vec<MembershipView> {
        let one = |membership: &Membership, state: &str| {
            let (group, source) = match membership {
                Membership::Group(group) => (Some(*group), None),
                Membership::Source { group, source } => (Some(*group), Some(*source)),
                Membership::All => (None, None),
            };
            MembershipView { interface: self.name.clone(), group, source, state: state.to_owned() }
        };
        let held = self.held.iter().map(|membership| match membership {
            Membership::All => one(membership, "allmulticast"),
            _ => one(membership, "joined"),
        });
        let beyond = self.beyond.iter().map(|membership| one(membership, "allmulticast"));
        let failed = self.failed.iter().map(|(membership, why)| one(membership, &format!("failed: {why}")));
        held.chain(beyond).chain(failed).collect()
    }

    /// Holds one more, by itself while there is room.
    fn take(&mut self, ifindex: u32, membership: Membership, holders: &mut Holders) {
        if membership != Membership::All && self.held.len() >= MOST_GROUPS {
            self.beyond.insert(membership);
            return self.take_all_or_not(ifindex, holders);
        }
        if self.held.contains(&membership) {
            return;
        }
        match holders.join(ifindex, membership) {
            Ok(()) => {
                self.held.insert(membership);
            }
            Err(error) => {
                log::debug!("{}: joining {}: {error}", self.name, shown(&membership));
                self.failed.insert(membership, error.to_string());
            }
        }
    }

    /// Holds one less; one of those beyond takes its place.
    fn leave(&mut self, ifindex: u32, membership: Membership, holders: &mut Holders) {
        self.failed.remove(&membership);
        self.beyond.remove(&membership);
        if membership != Membership::All && self.held.remove(&membership) {
            holders.leave(ifindex, membership);
            if let Some(next) = self.beyond.pop_first() {
                self.take(ifindex, next, holders);
            }
        }
        self.take_all_or_not(ifindex, holders);
    }

    fn take_all_or_not(&mut self, ifindex: u32, holders: &mut Holders) {
        if self.needed.contains_key(&Membership::All) || !self.beyond.is_empty() {
            self.take(ifindex, Membership::All, holders);
        } else if self.held.remove(&Membership::All) {
            holders.leave(ifindex, Membership::All);
        }
    }
}

/// What a rule needs of the host.
fn membership(matcher: &Match, how: config::Membership) -> Option<Membership> {
    let group = matcher.group.address;
    match how {
        config::Membership::None => None,
        config::Membership::Allmulticast => Some(Membership::All),
        config::Membership::Join if matcher.group.length < 32 => Some(Membership::All),
        config::Membership::Join if matcher.source.length == 32 => {
            Some(Membership::Source { group, source: matcher.source.address })
        }
        config::Membership::Join => Some(Membership::Group(group)),
    }
}

fn shown(membership: &Membership) -> String {
    match membership {
        Membership::Group(group) => format!("group {group}"),
        Membership::Source { group, source } => format!("group {group} of source {source}"),
        Membership::All => "every group".to_owned(),
    }
}
