//! The rules as entries of a [`FlowTable`]: in memory for workers, and mirrored into the kernel's maps.
//!
//! A rule becomes one entry for an exact port or any port, and a few for a range, which is cut into aligned blocks of 1, 16, 256 or
//! 4,096 ports. Ranges that nest may ask for the same block: the narrower rule has it, the wider gets it back when that one goes.

use std::collections::{BTreeMap, HashMap, hash_map::Entry};

use aya::maps::MapError;
use mcr_common::{
    flow::{Datagram, FlowKey, FlowValue, PortKind, Shape, Vlan},
    limits::{GROUP_SHAPES, TABLE_SHAPES},
    lookup::{self, FlowTable},
};

use super::{
    grace,
    places::{Crowded, Places},
    program::FlowMaps,
};
use crate::rules::rule::{Match, Ports};

/// Bits of a block's size in ports, widest first.
const BLOCK_BITS: [u8; 4] = [12, 8, 4, 0];

/// What one insertion or removal does to the entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The key has this value from now on.
    Set(FlowKey, FlowValue),
    /// The key is gone.
    Delete(FlowKey),
}

/// A rule that wants a key.
#[derive(Clone, Copy, Debug)]
struct Claim {
    /// Ports that the rule takes: fewer is more specific.
    ports: u32,
    value: FlowValue,
}

/// The table in memory.
#[derive(Debug, Default)]
pub struct FlowIndex {
    entries: HashMap<FlowKey, Vec<Claim>>,
    shapes: BTreeMap<Shape, usize>,
    groups: BTreeMap<Shape, usize>,
    /// The entries that have the keys, as they are found.
    places: Places,
    /// The keys of `shapes` and `groups`, in order.
    shape_list: Vec<Shape>,
    group_list: Vec<Shape>,
}

impl FlowIndex {
    /// Enters a rule whose ingress interface has this index. Of two equal rules the later one has the keys.
    pub fn insert(&mut self, ifindex: u32, matcher: &Match, value: FlowValue) -> Vec<Effect> {
        let claim = Claim { ports: width(matcher.ports), value };
        let mut effects = Vec::new();
        for key in keys(ifindex, matcher) {
            let claims = self.entries.entry(key).or_default();
            // Narrowest first; before its equals, so that a replacement wins.
            let at = claims.partition_point(|other| other.ports < claim.ports);
            claims.insert(at, claim);
            if at == 0 {
                effects.push(Effect::Set(key, value));
            }
            self.count_shape(key.shape, 1);
        }
        self.place(&effects);
        effects
    }

    /// Takes back what [`insert`](Self::insert) entered with the same arguments.
    pub fn remove(&mut self, ifindex: u32, matcher: &Match, value: FlowValue) -> Vec<Effect> {
        let mut effects = Vec::new();
        for key in keys(ifindex, matcher) {
            let Entry::Occupied(mut entry) = self.entries.entry(key) else { continue };
            let claims = entry.get_mut();
            let Some(at) = claims.iter().position(|claim| claim.value == value) else { continue };
            claims.remove(at);
            match claims.first() {
                None => {
                    entry.remove();
                    effects.push(Effect::Delete(key));
                }
                Some(next) if at == 0 => effects.push(Effect::Set(key, next.value)),
                Some(_) => {}
            }
            self.count_shape(key.shape, -1);
        }
        self.place(&effects);
        effects
    }

    /// Entries, group entries included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Each key that has a rule, with the entry of the most specific one.
    fn entries(&self) -> impl Iterator<Item = (&FlowKey, FlowValue)> + Clone {
        self.entries.iter().filter_map(|(key, claims)| Some((key, claims.first()?.value)))
    }

    fn place(&mut self, effects: &[Effect]) {
        let mut fits = true;
        for effect in effects {
            match effect {
                Effect::Set(key, value) => {
                    fits &= !self.places.is_small_for(1) && self.places.set(key, value).is_ok();
                }
                Effect::Delete(key) => self.places.delete(key),
            }
        }
        // Nobody else reads it.
        self.places.bury();
        if !fits || self.places.is_stale() {
            self.places = Places::of(self.entries.len() + 1, self.entries());
        }
    }

    fn count_shape(&mut self, shape: Shape, by: isize) {
        let (counts, list) = match shape.kind == PortKind::Group as u8 {
            true => (&mut self.groups, &mut self.group_list),
            false => (&mut self.shapes, &mut self.shape_list),
        };
        let count = counts.entry(shape).or_insert(0);
        let before = *count;
        *count = count.saturating_add_signed(by);
        if (before == 0) != (*count == 0) {
            counts.retain(|_, count| *count > 0);
            list.clear();
            list.extend(counts.keys());
        }
    }
}

impl FlowTable for FlowIndex {
    fn shape(&self, rank: u32) -> Option<Shape> {
        self.shape_list.get(rank as usize).copied()
    }

    fn group_shape(&self, rank: u32) -> Option<Shape> {
        self.group_list.get(rank as usize).copied()
    }

    fn get(&self, key: &FlowKey) -> Option<FlowValue> {
        self.places.get(key)
    }
}

/// The table in the kernel, and its likeness in memory. The one writer of the maps.
pub struct Flows {
    index: FlowIndex,
    maps: FlowMaps,
    bank: u32,
    /// Shapes that the kernel walks; those no rule uses any more stay until [`tidy`](Self::tidy).
    kernel_shapes: Vec<Shape>,
    kernel_groups: Vec<Shape>,
}

/// Why the kernel's table was not changed.
#[derive(Debug, thiserror::Error)]
pub enum FlowError {
    /// The kernel refused.
    #[error(transparent)]
    Map(#[from] MapError),
    /// It has no place for more entries.
    #[error(
        "the kernel's table is full with {0} entries (a port range is up to a hundred of them); raise `rules` in [limits] and restart mcrd"
    )]
    Full(usize),
}

impl Flows {
    /// An empty table over fresh maps.
    pub fn new(maps: FlowMaps) -> Self {
        Self { index: FlowIndex::default(), maps, bank: 0, kernel_shapes: Vec::new(), kernel_groups: Vec::new() }
    }

    /// Enters a rule; packets are steered for it when this returns. On error the table is as before.
    pub fn insert(&mut self, ifindex: u32, matcher: &Match, value: FlowValue) -> Result<(), FlowError> {
        let effects = self.index.insert(ifindex, matcher, value);
        // Entries first: an entry whose shape is not walked yet is not found, a shape without entries is harmless.
        let result = self.apply(&effects).and_then(|()| Ok(self.add_shapes(&[], &[])?));
        if result.is_err() {
            let back = self.index.remove(ifindex, matcher, value);
            // The kernel refused to grow; giving back does not make it grow, so this succeeds where entries exist.
            let _ = self.apply(&back);
        }
        result
    }

    /// Takes a rule out; a program that has found it already may still steer by it.
    pub fn remove(&mut self, ifindex: u32, matcher: &Match, value: FlowValue) -> Result<(), FlowError> {
        let effects = self.index.remove(ifindex, matcher, value);
        self.apply(&effects)
    }

    /// The entry of the rule that takes a packet which comes in on `ifindex`, as the program finds it.
    pub fn find(&self, ifindex: u32, datagram: &Datagram) -> Option<FlowValue> {
        lookup::find(&self.index, ifindex, datagram)
    }

    /// Lets the program pass everything on from now on.
    pub fn close(&mut self) -> Result<(), MapError> {
        self.switch(Vec::new(), Vec::new())
    }

    /// Lets the kernel forget shapes that no rule uses, and frees the places of entries that are gone.
    pub fn tidy(&mut self) -> Result<(), FlowError> {
        if self.maps.places.is_stale() {
            self.rebuild(0)?;
        } else if self.maps.places.has_graves() {
            grace::wait_for_programs();
            self.maps.places.bury();
        }
        if self.kernel_shapes != self.index.shape_list || self.kernel_groups != self.index.group_list {
            let (shapes, groups) = (self.index.shape_list.clone(), self.index.group_list.clone());
            self.switch(shapes, groups)?;
        }
        Ok(())
    }

    fn apply(&mut self, effects: &[Effect]) -> Result<(), FlowError> {
        for effect in effects {
            match effect {
                Effect::Set(key, value) if is_group(key) => self.maps.groups_in_use.insert(key, value, 0)?,
                Effect::Set(key, value) => {
                    let wants_more = self.maps.places.is_small_for(1) && self.maps.places.can_grow();
                    if wants_more || self.maps.places.set(key, value).is_err() {
                        // It is in the index already. Twice the room, so that the next time is as far away.
                        self.rebuild(self.index.entries.len())?;
                    }
                }
                Effect::Delete(key) if is_group(key) => match self.maps.groups_in_use.remove(key) {
                    Ok(()) | Err(MapError::KeyNotFound) => {}
                    Err(error) => return Err(error.into()),
                },
                Effect::Delete(key) => self.maps.places.delete(key),
            }
        }
        Ok(())
    }

    /// Writes the entries anew, with room for `more`.
    fn rebuild(&mut self, more: usize) -> Result<(), FlowError> {
        let entries = self.index.entries().filter(|(key, _)| !is_group(key));
        let count = entries.clone().count();
        // A program that started before the last time may still look at the bank that is written now.
        grace::wait_for_programs();
        self.maps.places.rebuild(count + more, entries).map_err(|Crowded| FlowError::Full(count))
    }

    /// Makes room for rules that are about to be inserted, all at once: each larger table and each longer list of shapes takes a grace
    /// period.
    pub fn announce<'a>(&mut self, matchers: impl Iterator<Item = &'a Match>) -> Result<(), FlowError> {
        let mut coming = FlowIndex::default();
        let mut entries = 0;
        for key in matchers.flat_map(|matcher| keys(0, matcher)) {
            coming.count_shape(key.shape, 1);
            entries += usize::from(!is_group(&key));
        }
        if self.maps.places.is_small_for(entries) && self.maps.places.can_grow() {
            self.rebuild(entries)?;
        }
        Ok(self.add_shapes(&coming.shape_list, &coming.group_list)?)
    }

    /// Makes the kernel walk every shape in use, and `more`.
    fn add_shapes(&mut self, more_shapes: &[Shape], more_groups: &[Shape]) -> Result<(), MapError> {
        let merged = |lists: &[&[Shape]]| {
            let mut all = lists.concat();
            all.sort();
            all.dedup();
            all
        };
        let (in_use, groups_in_use) = (&self.index.shape_list, &self.index.group_list);
        let mut shapes = merged(&[&self.kernel_shapes, in_use, more_shapes]);
        let mut groups = merged(&[&self.kernel_groups, groups_in_use, more_groups]);
        if shapes.len() >= TABLE_SHAPES as usize || groups.len() >= GROUP_SHAPES as usize {
            (shapes, groups) = (merged(&[in_use, more_shapes]), merged(&[groups_in_use, more_groups]));
        }
        match shapes == self.kernel_shapes && groups == self.kernel_groups {
            true => Ok(()),
            false => self.switch(shapes, groups),
        }
    }

    /// Writes the bank that is not in use and makes it the one in use.
    fn switch(&mut self, shapes: Vec<Shape>, groups: Vec<Shape>) -> Result<(), MapError> {
        // A program that started before the last switch may still walk the bank that is written now.
        grace::wait_for_programs();
        let bank = self.bank ^ 1;
        for (map, size, list) in
            [(&mut self.maps.shapes, TABLE_SHAPES, &shapes), (&mut self.maps.groups, GROUP_SHAPES, &groups)]
        {
            for (rank, shape) in list.iter().chain([&Shape::END]).enumerate().take(size as usize) {
                map.set(bank * size + rank as u32, *shape, 0)?;
            }
        }
        self.maps.bank.set(0, bank, 0)?;
        (self.bank, self.kernel_shapes, self.kernel_groups) = (bank, shapes, groups);
        Ok(())
    }
}

/// Whether an entry only says that rules for its group exist.
fn is_group(key: &FlowKey) -> bool {
    key.shape.kind == PortKind::Group as u8
}

/// Ports that a rule takes.
fn width(ports: Ports) -> u32 {
    match ports {
        Ports::Exact(_) => 1,
        Ports::Range(first, last) => u32::from(last) - u32::from(first) + 1,
        Ports::Any => 1 << 16,
    }
}

/// The keys under which packets that the match takes are found, and the group's own two.
fn keys(ifindex: u32, matcher: &Match) -> Vec<FlowKey> {
    let vlan = matcher.vlan.map_or(Vlan::UNTAGGED, Vlan::tagged);
    let key = |kind: PortKind, port: u16, port_len: u8| FlowKey {
        ifindex,
        source: matcher.source.address.into(),
        group: matcher.group.address.into(),
        port,
        vlan,
        shape: Shape { source_len: matcher.source.length, group_len: matcher.group.length, port_len, kind: kind as u8 },
    };
    let mut keys = match matcher.ports {
        Ports::Exact(port) => vec![key(PortKind::Exact, port, 16)],
        Ports::Any => vec![key(PortKind::Any, 0, 0)],
        Ports::Range(first, last) => {
            blocks(first, last).into_iter().map(|(port, bits)| key(PortKind::Range, port, 16 - bits)).collect()
        }
    };
    let group = FlowKey { source: 0, ..key(PortKind::Group, 0, 0) };
    let group = FlowKey { shape: Shape { source_len: 0, ..group.shape }, ..group };
    keys.push(group);
    keys.push(FlowKey { vlan: Vlan::ANY, ..group });
    keys
}

/// The aligned blocks, as (first port, bits), that together are `first..=last`.
fn blocks(first: u16, last: u16) -> Vec<(u16, u8)> {
    let mut blocks = Vec::new();
    let (mut at, end) = (u32::from(first), u32::from(last) + 1);
    while at < end {
        let fits = |bits: &&u8| at.is_multiple_of(1 << **bits) && at + (1 << **bits) <= end;
        let bits = BLOCK_BITS.iter().find(fits).copied().unwrap_or(0);
        blocks.push((at as u16, bits));
        at += 1 << bits;
    }
    blocks
}

#[cfg(test)]
mod tests;
