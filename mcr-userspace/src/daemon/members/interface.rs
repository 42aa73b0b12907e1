//! What rules need on one interface, and what is held there.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::Ipv4Addr,
};

use super::vlans::{Vlans, remedy};
use crate::{
    control::protocol::MembershipView,
    kernel::membership::{Holders, Membership},
};

/// Groups joined one by one on an interface at most, its VLANs included; beyond them it takes every group.
const MOST_GROUPS: usize = 4096;

/// A membership that rules need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Need {
    /// In this VLAN, or untagged. Never of [`Membership::All`]: no report is sent for that, and the interface takes it in.
    pub vlan: Option<u16>,
    /// What.
    pub membership: Membership,
}

/// Every group.
const ALL: Need = Need { vlan: None, membership: Membership::All };

/// What memberships are held by.
#[derive(Debug, Default)]
pub struct Host {
    /// The sockets.
    pub holders: Holders,
    /// The interfaces in VLANs.
    pub vlans: Vlans,
}

/// An interface with memberships.
#[derive(Debug)]
pub struct Interface {
    ifindex: u32,
    /// Its name.
    pub name: String,
    /// How many rules need each.
    pub needed: BTreeMap<Need, u32>,
    /// What is held, and on which interface: this one, or one in a VLAN of it.
    held: BTreeMap<Need, u32>,
    /// Of those that are held, what nothing needs any more.
    lingering: BTreeSet<Need>,
    /// Those beyond [`MOST_GROUPS`], for which every group is taken.
    beyond: BTreeSet<Need>,
    /// Why each of these is not held.
    failed: BTreeMap<Need, Why>,
    /// Those of which it has been told that they are not held.
    told_failed: BTreeSet<Need>,
    /// What has happened since it was last asked for.
    news: Vec<News>,
}

/// A change of a membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// The rules' interface.
    pub interface: String,
    /// `joined`, `left` or `failed`.
    pub new: &'static str,
    /// The group, its source and VLAN; and why it failed.
    pub what: String,
}

/// Why a membership is not held.
#[derive(Debug)]
enum Why {
    /// The host has no interface in its VLAN. Untagged the report would ask for another one.
    NoVlan(u16),
    Refused(String),
}

impl Interface {
    /// One without any.
    pub fn new(ifindex: u32) -> Self {
        let (needed, held, failed) = Default::default();
        let (lingering, beyond, told_failed, news) = Default::default();
        Self { ifindex, name: String::new(), needed, held, lingering, beyond, failed, told_failed, news }
    }

    /// Whether every group is to be taken.
    pub fn wants_all(&self) -> bool {
        self.needed.contains_key(&ALL) || !self.beyond.is_empty()
    }

    /// Whether something is needed in a VLAN.
    pub fn has_vlans(&self) -> bool {
        // These come last.
        self.needed.last_key_value().is_some_and(|(need, _)| need.vlan.is_some())
    }

    /// What is needed, and its state.
    pub fn view(&self, vlans: &Vlans) -> Vec<MembershipView> {
        let one = |need: &Need, state: String| {
            let (group, source) = match need.membership {
                Membership::Group(group) => (Some(group), None),
                Membership::Source { group, source } => (Some(group), Some(source)),
                Membership::All => (None, None),
            };
            let via = need.vlan.and_then(|vlan| vlans.known(self.ifindex, vlan)).map(|vlan| vlan.name.clone());
            MembershipView { interface: self.name.clone(), vlan: need.vlan, via, group, source, state }
        };
        let held = self.held.keys().filter(|need| !self.lingering.contains(need)).map(|need| match need.membership {
            Membership::All => one(need, "allmulticast".into()),
            _ => one(need, "joined".into()),
        });
        let beyond = self.beyond.iter().map(|need| one(need, "allmulticast".into()));
        let failed = self.failed.iter().map(|(need, why)| match why {
            Why::NoVlan(vlan) => one(need, format!("failed: no interface in VLAN {vlan}")),
            Why::Refused(error) => one(need, format!("failed: {error}")),
        });
        held.chain(beyond).chain(failed).collect()
    }

    /// What is joined and needed: the interface on which it is, the group, and whether all of its sources are wanted.
    pub fn joined(&self) -> Vec<(u32, Ipv4Addr, bool)> {
        let mut joined: BTreeMap<(u32, Ipv4Addr), bool> = BTreeMap::new();
        for (need, on) in self.held.iter().filter(|(need, _)| !self.lingering.contains(need)) {
            match need.membership {
                Membership::Group(group) => *joined.entry((*on, group)).or_default() = true,
                Membership::Source { group, .. } => *joined.entry((*on, group)).or_default() |= false,
                Membership::All => {}
            }
        }
        joined.into_iter().map(|((on, group), whole)| (on, group, whole)).collect()
    }

    /// The interface on which a group is joined.
    pub fn joined_on(&self, need: &Need) -> Option<u32> {
        self.held.get(need).filter(|_| *need != ALL).copied()
    }

    /// Whether a group that is needed is joined on this one.
    pub fn has_joined_on(&self, ifindex: u32) -> bool {
        self.held.iter().any(|(need, on)| *on == ifindex && *need != ALL && !self.lingering.contains(need))
    }

    /// The interfaces in VLANs on which groups are joined, and their names.
    pub fn vlans(&self, vlans: &Vlans) -> BTreeMap<u32, String> {
        let vlan = |need: &Need| vlans.known(self.ifindex, need.vlan?);
        self.held.keys().filter_map(vlan).map(|vlan| (vlan.ifindex, vlan.name.clone())).collect()
    }

    /// What users should know where every group is taken in.
    pub fn unasked(&self) -> Option<String> {
        let name = &self.name;
        let what = match (self.needed.contains_key(&ALL), self.beyond.is_empty()) {
            (true, _) => "a group prefix".to_owned(),
            (false, false) => format!("groups beyond the first {MOST_GROUPS}"),
            (false, true) => return None,
        };
        Some(format!(
            "{name} takes every group that reaches it, and sends no IGMP report for {what}: a switch that snoops IGMP needs a static multicast-router port to {name}"
        ))
    }

    /// What users should know of what is needed, each line once.
    pub fn warnings(&self, vlans: &Vlans) -> BTreeSet<String> {
        let needed = (self.has_vlans() || !self.failed.is_empty()).then(|| self.needed.keys());
        needed.into_iter().flatten().filter_map(|need| self.warning(need, vlans)).collect()
    }

    /// What users should know of one that is needed.
    pub fn warning(&self, need: &Need, vlans: &Vlans) -> Option<String> {
        let name = &self.name;
        match (self.failed.get(need), need.vlan.and_then(|vlan| vlans.known(self.ifindex, vlan))) {
            (Some(Why::NoVlan(vlan)), _) => Some(format!(
                "{name}: groups in VLAN {vlan} are not joined: the host has no interface there to ask by; `{}`, or, where the switch sends them anyway (a static multicast-router port), membership = \"allmulticast\" or \"none\" for {name} in the file",
                remedy(name, *vlan)
            )),
            (Some(Why::Refused(error)), _) => {
                Some(format!("{name}: {} is not joined: {error}", shown(&need.membership)))
            }
            (None, Some(vlan)) if !vlan.is_up && self.held.contains_key(need) => Some(format!(
                "{name}: groups in VLAN {} are joined on {other}, which is down and asks for nothing; `ip link set {other} up`",
                need.vlan.unwrap_or_default(),
                other = vlan.name
            )),
            (None, _) => None,
        }
    }

    /// Holds one more, by itself while there is room.
    pub fn take(&mut self, need: Need, host: &mut Host) {
        if self.held.contains_key(&need) {
            self.lingering.remove(&need);
            return;
        }
        if need != ALL && !self.has_room(host) {
            self.beyond.insert(need);
            return self.take_all_or_not(host);
        }
        match self.join(need, host) {
            Ok(on) => {
                self.held.insert(need, on);
                self.told_failed.remove(&need);
                self.note("joined", &need, String::new());
            }
            Err(why) => {
                if self.told_failed.insert(need) {
                    let why = match &why {
                        Why::NoVlan(vlan) => format!(": no interface in VLAN {vlan}"),
                        Why::Refused(error) => format!(": {error}"),
                    };
                    self.note("failed", &need, why);
                }
                self.failed.insert(need, why);
            }
        }
    }

    fn note(&mut self, new: &'static str, need: &Need, why: String) {
        let vlan = need.vlan.map(|vlan| format!(" in VLAN {vlan}")).unwrap_or_default();
        let what = format!("{}{vlan}{why}", shown(&need.membership));
        self.news.push(News { interface: self.name.clone(), new, what });
    }

    /// What has happened since this was last called.
    pub fn news(&mut self) -> Vec<News> {
        std::mem::take(&mut self.news)
    }

    /// The interface on which it is joined then.
    fn join(&self, need: Need, host: &mut Host) -> Result<u32, Why> {
        let on = match need.vlan {
            Some(vlan) => host.vlans.find(self.ifindex, vlan).ok_or(Why::NoVlan(vlan))?.ifindex,
            None => self.ifindex,
        };
        host.holders.join(on, need.membership).map_err(|error| Why::Refused(refused(&error, &need.membership)))?;
        Ok(on)
    }

    /// Whether there is room for one more group; one that lingers makes room.
    fn has_room(&mut self, host: &mut Host) -> bool {
        let groups = self.held.len() - usize::from(self.held.contains_key(&ALL));
        if groups < MOST_GROUPS {
            return true;
        }
        let Some(old) = self.lingering.iter().find(|need| **need != ALL).copied() else { return false };
        self.lingering.remove(&old);
        self.leave(old, host);
        true
    }

    fn leave(&mut self, need: Need, host: &mut Host) {
        if let Some(on) = self.held.remove(&need) {
            host.holders.leave(on, need.membership);
        }
    }

    /// Needs one less; one of those beyond takes its place.
    pub fn let_linger(&mut self, need: Need, host: &mut Host) {
        self.failed.remove(&need);
        self.told_failed.remove(&need);
        self.beyond.remove(&need);
        if need != ALL && self.held.contains_key(&need) {
            self.lingering.insert(need);
            if let Some(next) = self.beyond.pop_first() {
                self.take(next, host);
            }
        }
        self.take_all_or_not(host);
    }

    fn take_all_or_not(&mut self, host: &mut Host) {
        if self.wants_all() {
            self.take(ALL, host);
        } else if self.held.contains_key(&ALL) {
            self.lingering.insert(ALL);
        }
    }

    /// Follows VLANs whose interface is another one now, or gone, and tries once more what failed.
    pub fn retry(&mut self, host: &mut Host) {
        let is_there = |need: &Need, on: u32| {
            let vlan = need.vlan.map(|vlan| host.vlans.known(self.ifindex, vlan));
            vlan.is_none_or(|vlan| vlan.is_some_and(|vlan| vlan.ifindex == on))
        };
        let gone: Vec<Need> =
            self.held.iter().filter(|(need, on)| !is_there(need, **on)).map(|(need, _)| *need).collect();
        for need in gone {
            self.leave(need, host);
            if !self.lingering.remove(&need) {
                self.take(need, host);
            }
        }
        for (need, _) in std::mem::take(&mut self.failed) {
            self.take(need, host);
        }
    }

    /// Holds no more of what nothing needs: what is to be left, by interface.
    pub fn let_go(&mut self) -> Vec<(u32, Membership)> {
        let going = std::mem::take(&mut self.lingering);
        for need in &going {
            self.note("left", need, String::new());
        }
        going.iter().filter_map(|need| Some((self.held.remove(need)?, need.membership))).collect()
    }
}

/// Why the kernel does not join it. Its limits of one socket are known from the start: they were lowered since, or are 0.
fn refused(error: &io::Error, membership: &Membership) -> String {
    let limits = match membership {
        Membership::Source { .. } => "net.ipv4.igmp_max_memberships=20 net.ipv4.igmp_max_msf=10",
        Membership::Group(_) | Membership::All => "net.ipv4.igmp_max_memberships=20",
    };
    match error.raw_os_error() {
        Some(libc::ENOBUFS) => format!("the kernel lets a socket join no more groups; `sysctl -w {limits}`"),
        _ => error.to_string(),
    }
}

fn shown(membership: &Membership) -> String {
    match membership {
        Membership::Group(group) => format!("group {group}"),
        Membership::Source { group, source } => format!("group {group} of source {source}"),
        Membership::All => "every group".to_owned(),
    }
}
