//! Groups that share an Ethernet address.
//!
//! An Ethernet address has room for the low 23 bits of a group (RFC 1112 section 6.4), so 32 groups share each.
//! Network cards and snooping switches that go by the address cannot tell these apart.

use std::collections::{BTreeMap, HashMap};

use super::{Kind, Warning};
use crate::rules::{
    reach::{last_address, segment, sent_groups, sent_vlan},
    rule::{Prefix, Rule},
    value::MULTICAST,
};

/// The bits of a group that its Ethernet address holds.
const HELD: u32 = (1 << 23) - 1;
/// A shorter prefix has several groups for each address by itself.
const SHORTEST: u8 = 9;

/// The groups that rules take from, and send to, each interface and VLAN.
#[derive(Clone, Debug, Default)]
pub struct Addresses {
    links: HashMap<Link, Groups>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Way {
    In,
    Out,
}

/// Direction, interface and VLAN.
type Link = (Way, String, Option<u16>);

impl Addresses {
    /// Adds the groups of a rule, and tells which share an address with another that is in.
    pub fn insert(&mut self, rule: &Rule) -> Vec<Warning> {
        let mut warnings = Vec::new();
        for (i, (link, group)) in uses(rule).enumerate() {
            let (place, groups) = (segment(&link.1, link.2), self.links.entry(link).or_default());
            if let Some(other) = groups.clash(group) {
                let key = match i.checked_sub(1) {
                    None => "match.group".to_owned(),
                    Some(output) => format!("output[{output}].group"),
                };
                warnings.push(clash(key, group, other, &place));
            }
            groups.insert(group);
        }
        warnings
    }

    /// Takes out the groups of a rule that is in.
    pub fn remove(&mut self, rule: &Rule) {
        for (link, group) in uses(rule) {
            if let Some(groups) = self.links.get_mut(&link) {
                groups.remove(group);
                if groups.counts.is_empty() {
                    self.links.remove(&link);
                }
            }
        }
    }
}

/// What a rule takes, then what each output sends.
fn uses(rule: &Rule) -> impl Iterator<Item = (Link, Prefix)> {
    let matcher = &rule.matcher;
    let taken = ((Way::In, matcher.interface.clone(), matcher.vlan), matcher.group);
    let sent = rule
        .outputs
        .iter()
        .map(|output| ((Way::Out, output.interface.clone(), sent_vlan(matcher, output)), sent_groups(matcher, output)));
    [taken].into_iter().chain(sent)
}

fn clash(key: String, group: Prefix, other: Prefix, place: &str) -> Warning {
    let narrower = if group.length >= other.length { group } else { other };
    let [_, a, b, c] = (u32::from(narrower.address) & HELD).to_be_bytes();
    let first = if narrower.length < 32 { "Ethernet addresses from" } else { "the Ethernet address" };
    Kind::SharedAddress.at(
        key,
        format!(
            "{group} and {other} share {first} 01:00:5e:{a:02x}:{b:02x}:{c:02x} on {place}: network cards and switches \
             may not tell them apart, and deliver both to who asks for one; choose a group with other low 23 bits"
        ),
    )
}

/// Which of the 32 blocks of groups.
fn block(group: Prefix) -> usize {
    ((u32::from(group.address) & !MULTICAST.mask()) >> HELD.count_ones()) as usize
}

/// Groups of one link.
#[derive(Clone, Debug)]
struct Groups {
    /// How often each is used.
    counts: BTreeMap<Prefix, u32>,
    /// How many distinct ones have each length: only lengths in use are looked for.
    lengths: [u32; 33],
    /// The same for each block: what is above [`HELD`].
    blocks: [u32; 32],
}

impl Default for Groups {
    fn default() -> Self {
        Self { counts: BTreeMap::new(), lengths: [0; 33], blocks: [0; 32] }
    }
}

impl Groups {
    /// A group that shares an address with `group` and no packet.
    ///
    /// Groups that share addresses differ in the bits above [`HELD`], by which they fall into 32 blocks: in each block
    /// in use but its own, it is what overlaps the place of `group` there.
    fn clash(&self, group: Prefix) -> Option<Prefix> {
        if group.length < SHORTEST {
            return None;
        }
        let low = u32::from(group.address) & HELD;
        let mut others = (0..32).filter(|i| *i != block(group) && self.blocks[*i] > 0);
        others.find_map(|i| {
            let address = u32::from(MULTICAST.address) | (i as u32) << HELD.count_ones() | low;
            self.overlapping(Prefix { address: address.into(), length: group.length })
        })
    }

    /// One that contains `prefix`, or lies within it.
    fn overlapping(&self, prefix: Prefix) -> Option<Prefix> {
        let mut wider =
            (SHORTEST..prefix.length).filter(|length| self.lengths[usize::from(*length)] > 0).map(|length| {
                let wide = Prefix { address: prefix.address, length };
                Prefix { address: (u32::from(wide.address) & wide.mask()).into(), length }
            });
        let last = Prefix { address: last_address(prefix), length: 32 };
        let within = || self.counts.range(prefix..=last).next().map(|(found, _)| *found);
        wider.find(|wide| self.counts.contains_key(wide)).or_else(within)
    }

    fn insert(&mut self, group: Prefix) {
        if group.length < SHORTEST {
            return;
        }
        let count = self.counts.entry(group).or_default();
        if *count == 0 {
            self.lengths[usize::from(group.length)] += 1;
            self.blocks[block(group)] += 1;
        }
        *count += 1;
    }

    fn remove(&mut self, group: Prefix) {
        if let Some(count) = self.counts.get_mut(&group) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&group);
                self.lengths[usize::from(group.length)] -= 1;
                self.blocks[block(group)] -= 1;
            }
        }
    }
}
