//! What rules need on one interface, and what is held there.

use std::collections::{BTreeMap, BTreeSet};

use super::shown;
use crate::{
    control::protocol::MembershipView,
    kernel::membership::{Holders, Membership},
};

/// Groups joined one by one on an interface at most; beyond them it takes every group.
const MOST_GROUPS: usize = 4096;

/// An interface with memberships.
#[derive(Debug, Default)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// How many rules need each.
    pub needed: BTreeMap<Membership, u32>,
    /// Why each of these is not held.
    pub failed: BTreeMap<Membership, String>,
    held: BTreeSet<Membership>,
    /// Of those that are held, what nothing needs any more.
    lingering: BTreeSet<Membership>,
    /// Those beyond [`MOST_GROUPS`], for which every group is taken.
    beyond: BTreeSet<Membership>,
}

impl Interface {
    /// Whether every group is to be taken.
    pub fn wants_all(&self) -> bool {
        self.needed.contains_key(&Membership::All) || !self.beyond.is_empty()
    }

    /// What is needed, and its state.
    pub fn view(&self) -> Vec<MembershipView> {
        let one = |membership: &Membership, state: &str| {
            let (group, source) = match membership {
                Membership::Group(group) => (Some(*group), None),
                Membership::Source { group, source } => (Some(*group), Some(*source)),
                Membership::All => (None, None),
            };
            MembershipView { interface: self.name.clone(), group, source, state: state.to_owned() }
        };
        let held = self.held.difference(&self.lingering).map(|membership| match membership {
            Membership::All => one(membership, "allmulticast"),
            _ => one(membership, "joined"),
        });
        let beyond = self.beyond.iter().map(|membership| one(membership, "allmulticast"));
        let failed = self.failed.iter().map(|(membership, why)| one(membership, &format!("failed: {why}")));
        held.chain(beyond).chain(failed).collect()
    }

    /// Holds one more, by itself while there is room.
    pub fn take(&mut self, ifindex: u32, membership: Membership, holders: &mut Holders) {
        if self.held.contains(&membership) {
            self.lingering.remove(&membership);
            return;
        }
        if membership != Membership::All && !self.has_room(ifindex, holders) {
            self.beyond.insert(membership);
            return self.take_all_or_not(ifindex, holders);
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

    /// Whether there is room for one more group; one that lingers makes room.
    fn has_room(&mut self, ifindex: u32, holders: &mut Holders) -> bool {
        let groups = self.held.len() - usize::from(self.held.contains(&Membership::All));
        if groups < MOST_GROUPS {
            return true;
        }
        let old = self.lingering.iter().find(|membership| **membership != Membership::All).copied();
        if let Some(old) = old {
            self.lingering.remove(&old);
            self.held.remove(&old);
            holders.leave(ifindex, old);
        }
        old.is_some()
    }

    /// Needs one less; one of those beyond takes its place.
    pub fn let_linger(&mut self, ifindex: u32, membership: Membership, holders: &mut Holders) {
        self.failed.remove(&membership);
        self.beyond.remove(&membership);
        if membership != Membership::All && self.held.contains(&membership) {
            self.lingering.insert(membership);
            if let Some(next) = self.beyond.pop_first() {
                self.take(ifindex, next, holders);
            }
        }
        self.take_all_or_not(ifindex, holders);
    }

    fn take_all_or_not(&mut self, ifindex: u32, holders: &mut Holders) {
        if self.wants_all() {
            self.take(ifindex, Membership::All, holders);
        } else if self.held.contains(&Membership::All) {
            self.lingering.insert(Membership::All);
        }
    }

    /// Tries once more what failed.
    pub fn retry(&mut self, ifindex: u32, holders: &mut Holders) {
        for (membership, _) in std::mem::take(&mut self.failed) {
            self.take(ifindex, membership, holders);
        }
    }

    /// Holds no more of what nothing needs: what is to be left.
    pub fn let_go(&mut self) -> BTreeSet<Membership> {
        let going = std::mem::take(&mut self.lingering);
        self.held.retain(|membership| !going.contains(membership));
        going
    }
}
