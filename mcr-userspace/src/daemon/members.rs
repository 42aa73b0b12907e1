//! Which groups the host is a member of, so that switches and NICs let them in: what the rules that forward need, joined with the first
//! that needs it, left a moment after the last. Many are left at once more cheaply than one by one, with no request waiting for it, and
//! a rule that comes back at once finds its membership held.

mod ears;
mod interface;
pub mod vlans;
mod rejoin;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use ears::{Ears, Listening};
use interface::{Host, Interface, Need, News};
use rejoin::Rejoin;

use crate::{
    config,
    control::protocol::{MembershipView, QueriesView},
    kernel::{igmp::Sent, membership::Membership},
    rules::rule::{Match, Prefix},
};

/// The memberships of all interfaces.
#[derive(Debug, Default)]
pub struct Members {
    host: Host,
    /// By interface index.
    interfaces: BTreeMap<u32, Interface>,
    /// How often reports are repeated on interfaces of these names.
    every: BTreeMap<String, Duration>,
    /// The interfaces on which they are, by index.
    rejoins: BTreeMap<u32, Rejoin>,
    ears: Ears,
    /// What has happened since it was last asked for.
    news: Vec<News>,
    /// Warnings that the log has told, as long as they hold.
    said: BTreeSet<String>,
}

impl Members {
    /// None yet; on interfaces that the file says so of, their reports will be repeated.
    pub fn new(interfaces: &[config::InterfaceConfig]) -> Self {
        let every = interfaces.iter().filter_map(|interface| Some((interface.name.clone(), interface.rejoin?)));
        Self { every: every.collect(), ..Self::default() }
    }

    /// A rule that matches so forwards from now on.
    pub fn add(&mut self, ifindex: u32, matcher: &Match, how: config::Membership) {
        let Some(need) = need(matcher, how) else { return };
        let interface = self.interfaces.entry(ifindex).or_insert_with(|| Interface::new(ifindex));
        interface.name.clone_from(&matcher.interface);
        let count = interface.needed.entry(need).or_default();
        *count += 1;
        if *count == 1 {
            interface.take(need, &mut self.host);
        }
    }

    /// A rule that was added so forwards no more.
    pub fn remove(&mut self, ifindex: u32, matcher: &Match, how: config::Membership) {
        let Some(need) = need(matcher, how) else { return };
        let Some(interface) = self.interfaces.get_mut(&ifindex) else { return };
        let Some(count) = interface.needed.get_mut(&need) else { return };
        *count -= 1;
        if *count == 0 {
            interface.needed.remove(&need);
            interface.let_linger(need, &mut self.host);
        }
    }

    /// Follows VLANs, tries once more what failed, and leaves what no rule has come back for.
    pub fn tick(&mut self) {
        if self.interfaces.values().any(Interface::has_vlans) {
            self.host.vlans.look();
        }
        self.settle();
        let now = Instant::now();
        self.rejoin(now);
        self.listen(now);
        let vlans = &self.host.vlans;
        let mut warnings: BTreeSet<String> = self.interfaces.values().flat_map(|of| of.warnings(vlans)).collect();
        warnings.extend(self.interfaces.values().filter_map(Interface::unasked));
        warnings.extend(self.unrepeated());
        warnings.extend(self.unheard());
        for warning in warnings.difference(&self.said) {
            log::warn!("{warning}");
        }
        self.said = warnings;
    }

    fn settle(&mut self) {
        let mut going = BTreeSet::new();
        for interface in self.interfaces.values_mut() {
            interface.retry(&mut self.host);
            going.extend(interface.let_go());
        }
        self.host.holders.leave_all(&going);
        self.news.extend(self.interfaces.values_mut().flat_map(Interface::news));
        self.interfaces.retain(|_, interface| !interface.needed.is_empty());
    }

    /// What was joined and left since this was last called.
    pub fn news(&mut self) -> Vec<News> {
        std::mem::take(&mut self.news)
    }

    /// Repeats the reports that are due.
    fn rejoin(&mut self, now: Instant) {
        for (ifindex, interface) in &self.interfaces {
            if let Some(every) = self.every.get(&interface.name) {
                let rejoin = self.rejoins.entry(*ifindex).or_insert_with(|| Rejoin::new(*every, now));
                rejoin.tick(now, || interface.joined());
            }
        }
        let interfaces = &self.interfaces;
        self.rejoins.retain(|ifindex, _| {
            interfaces.get(ifindex).is_some_and(|interface| self.every.contains_key(&interface.name))
        });
    }

    /// Listens where groups are joined.
    fn listen(&mut self, now: Instant) {
        let mut on = BTreeMap::new();
        for (ifindex, interface) in &self.interfaces {
            on.insert(*ifindex, (interface.name.clone(), interface.name.clone()));
            for (ifindex, name) in interface.vlans(&self.host.vlans) {
                on.insert(ifindex, (name, interface.name.clone()));
            }
        }
        self.ears.tick(now, &on);
    }

    /// What is heard on each interface on which groups are joined.
    fn asked(&self) -> impl Iterator<Item = &Listening> {
        let joined = |ifindex: &u32| self.interfaces.values().any(|interface| interface.has_joined_on(*ifindex));
        self.ears.iter().filter(move |(ifindex, _)| joined(ifindex)).map(|(_, ear)| ear)
    }

    /// Of each interface on which the host does not hear who asks.
    fn unheard(&self) -> impl Iterator<Item = String> {
        self.asked().filter_map(Listening::warning)
    }

    /// Who asks, on each interface on which groups are joined.
    pub fn queries(&self) -> Vec<QueriesView> {
        let now = Instant::now();
        let seconds = |since: Instant| now.duration_since(since).as_secs_f64();
        let view = |ear: &Listening| QueriesView {
            interface: ear.interface.clone(),
            on: ear.name.clone(),
            listening_seconds: seconds(ear.since),
            from: ear.seen.map(|(_, from)| from),
            seen_seconds: ear.seen.map(|(seen, _)| seconds(seen)),
            answered: !ear.is_deaf,
            rejoin_seconds: self.every.get(&ear.interface).map(Duration::as_secs_f64),
        };
        self.asked().map(view).collect()
    }

    /// What this host sends by an interface on which it listens, some of it.
    pub fn sent_by_host(&self, ifindex: u32) -> impl Iterator<Item = &Sent> {
        self.ears.on(ifindex).into_iter().flat_map(Listening::sent)
    }

    /// Of each interface whose reports could not be repeated, why.
    fn unrepeated(&self) -> impl Iterator<Item = String> {
        self.rejoins.iter().filter_map(|(ifindex, rejoin)| rejoin.warning(&self.interfaces.get(ifindex)?.name))
    }

    /// Where the host asks for what a rule needs: index and name of the interface, or of the one in the rule's VLAN on it.
    pub fn place(&mut self, ifindex: u32, matcher: &Match) -> Option<(u32, String)> {
        self.place_of(ifindex, &matcher.interface, matcher.vlan)
    }

    /// Index and name of the host's interface in a VLAN on this one, or of itself.
    pub fn place_of(&mut self, ifindex: u32, name: &str, vlan: Option<u16>) -> Option<(u32, String)> {
        match vlan {
            Some(vlan) => self.host.vlans.find(ifindex, vlan).map(|vlan| (vlan.ifindex, vlan.name.clone())),
            None => Some((ifindex, name.to_owned())),
        }
    }

    /// How many of the kernel's users of a group on an interface are of this daemon.
    pub fn users(&self, ifindex: u32) -> HashMap<Ipv4Addr, usize> {
        self.host.holders.users(ifindex)
    }

    /// Every membership and its state.
    pub fn view(&self) -> Vec<MembershipView> {
        self.interfaces.values().flat_map(|interface| interface.view(&self.host.vlans)).collect()
    }

    /// The memberships of the rules that match so. One look at each serves thousands of rules.
    pub fn view_of<'a>(&self, matchers: impl IntoIterator<Item = &'a Match>) -> Vec<MembershipView> {
        let (mut interfaces, mut groups, mut prefixes) = (HashSet::new(), HashSet::new(), Vec::new());
        for matcher in matchers {
            let interface = matcher.interface.as_str();
            interfaces.insert(interface);
            match matcher.group.length {
                32 => drop(groups.insert((interface, matcher.vlan, matcher.group.address))),
                _ => prefixes.push((interface, matcher.vlan, matcher.group)),
            }
        }
        let mut views = self.view();
        views.retain(|view| {
            let (interface, vlan) = (view.interface.as_str(), view.vlan);
            let Some(group) = view.group else { return interfaces.contains(interface) };
            let holds = |(on, of, prefix): &(&str, Option<u16>, Prefix)| {
                *on == interface && *of == vlan && prefix.contains(group)
            };
            groups.contains(&(interface, vlan, group)) || prefixes.iter().any(holds)
        });
        views
    }

    /// The memberships that serve a rule: those of other sources of its group do not.
    pub fn needed_by(&self, matcher: &Match) -> Vec<MembershipView> {
        let source = (matcher.source.length == 32).then_some(matcher.source.address);
        let mut views = self.view_of([matcher]);
        views.retain(|view| view.group.is_none() || view.source == source);
        views
    }

    /// What users should know of what a rule needs.
    pub fn warning(&self, matcher: &Match, how: config::Membership) -> Option<String> {
        self.unjoined(matcher, how).or_else(|| self.deaf(matcher, how))
    }

    /// Why the host has not joined what a rule needs.
    pub fn unjoined(&self, matcher: &Match, how: config::Membership) -> Option<String> {
        let (interface, need) = self.needed(matcher, how)?;
        match need.membership {
            Membership::All => interface.unasked(),
            _ => interface.warning(&need, &self.host.vlans),
        }
    }

    /// Why the host answers no IGMP query for what a rule needs.
    pub fn deaf(&self, matcher: &Match, how: config::Membership) -> Option<String> {
        let (interface, need) = self.needed(matcher, how)?;
        self.ears.on(interface.joined_on(&need)?)?.warning()
    }

    fn needed(&self, matcher: &Match, how: config::Membership) -> Option<(&Interface, Need)> {
        let interface = self.interfaces.values().find(|interface| interface.name == matcher.interface)?;
        Some((interface, need(matcher, how)?))
    }

    /// What users should know of memberships, a line each.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for interface in self.interfaces.values() {
            warnings.extend(interface.unasked());
            warnings.extend(interface.warnings(&self.host.vlans));
        }
        warnings.extend(self.unrepeated());
        warnings.extend(self.unheard());
        warnings
    }
}

/// What a rule needs of the host.
fn need(matcher: &Match, how: config::Membership) -> Option<Need> {
    let group = matcher.group.address;
    let membership = match how {
        config::Membership::None => return None,
        config::Membership::Allmulticast => Membership::All,
        config::Membership::Join if matcher.group.length < 32 => Membership::All,
        config::Membership::Join if matcher.source.length == 32 => {
            Membership::Source { group, source: matcher.source.address }
        }
        config::Membership::Join => Membership::Group(group),
    };
    let vlan = matcher.vlan.filter(|_| membership != Membership::All);
    Some(Need { vlan, membership })
}

#[cfg(test)]
mod tests;
