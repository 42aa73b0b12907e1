//! Which groups the host is a member of, so that switches and NICs let them in: what the rules that forward need, joined with the first
//! that needs it, left a moment after the last. Many are left at once more cheaply than one by one, with no request waiting for it, and
//! a rule that comes back at once finds its membership held.

mod interface;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use interface::Interface;

use crate::{
    config,
    control::protocol::MembershipView,
    kernel::membership::{Holders, Membership},
    rules::rule::Match,
};

/// The memberships of all interfaces.
#[derive(Debug, Default)]
pub struct Members {
    holders: Holders,
    /// By interface index.
    interfaces: BTreeMap<u32, Interface>,
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
            interface.let_linger(ifindex, membership, &mut self.holders);
        }
    }

    /// Tries once more what failed, and leaves what no rule has come back for.
    pub fn tick(&mut self) {
        let mut going = BTreeSet::new();
        for (ifindex, interface) in &mut self.interfaces {
            interface.retry(*ifindex, &mut self.holders);
            going.extend(interface.let_go().into_iter().map(|membership| (*ifindex, membership)));
        }
        self.holders.leave_all(&going);
        self.interfaces.retain(|_, interface| !interface.needed.is_empty());
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
            if interface.wants_all() {
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

#[cfg(test)]
mod tests;
