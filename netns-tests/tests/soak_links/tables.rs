//! The kernel's table of rules: an entry for each that forwards, and no other.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use mcr_common::flow::{FlowKey, PortKind, Shape, Vlan};

use crate::{
    kernel::Link,
    maps::Maps,
    model::{Rule, name},
    wrong::Wrong,
};

/// Slots in use are below it: those of rules that are gone are used again, and few are on their way to that at a time.
const SLOTS: u32 = 512;

/// Notes what differs from what these rules, which forward, make of it.
pub fn tables(
    wrong: &mut Wrong,
    maps: &Maps,
    links: &BTreeMap<String, Link>,
    active: &[(&String, &Rule)],
) -> Result<()> {
    let table = maps.table()?;
    let mut slots = BTreeSet::new();
    let mut bases: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
    let mut entries = 0;
    let mut groups = Vec::new();
    let [mut shapes, mut group_shapes] = [BTreeSet::new(), BTreeSet::new()];
    for (rule_name, rule) in active {
        let Some(link) = links.get(&name(rule.ingress)) else { continue };
        let keys = keys(link.ifindex, rule);
        let values: Vec<_> = keys.iter().map(|key| table.get(key)).collect();
        let first = values[0];
        wrong.unless(first.is_some() && values.iter().all(|value| *value == first), || {
            format!("{rule_name}: the kernel's entries are {values:?}")
        });
        if let Some(value) = first {
            wrong.unless(slots.insert(value.slot), || format!("{rule_name}: slot {} is another's too", value.slot));
            wrong.unless(value.slot < SLOTS, || format!("{rule_name}: slot {}: they are not used again", value.slot));
            bases.entry(value.xsk_base).or_default().insert(link.ifindex);
        }
        entries += keys.len();
        shapes.extend(keys.iter().map(|key| key.shape));
        for key in group_keys(link.ifindex, rule) {
            group_shapes.insert(key.shape);
            if !groups.contains(&key) {
                groups.push(key);
            }
        }
    }
    wrong.unless_same("entries in the kernel's table", &table.entries(), &entries);
    wrong.unless(bases.values().all(|interfaces| interfaces.len() == 1), || format!("sockets by interface: {bases:?}"));
    let in_kernel = maps.groups()?;
    let same = in_kernel.len() == groups.len() && in_kernel.iter().all(|key| groups.contains(key));
    wrong.unless(same, || format!("groups in the kernel {in_kernel:?}\nare to be {groups:?}"));
    let wanted = [shapes, group_shapes].map(|shapes| shapes.into_iter().collect::<Vec<_>>());
    wrong.unless_same("shapes in the kernel", &maps.shapes()?, &wanted);
    Ok(())
}

/// The keys under which the program finds a rule.
fn keys(ifindex: u32, rule: &Rule) -> Vec<FlowKey> {
    let matcher = &rule.matcher;
    let key = |kind: PortKind, port: u16, port_len: u8| FlowKey {
        ifindex,
        source: matcher.source.map_or(0, |source| source.to_bits()),
        group: matcher.group.to_bits(),
        port,
        vlan: Vlan::UNTAGGED,
        shape: Shape {
            source_len: if matcher.source.is_some() { 32 } else { 0 },
            group_len: matcher.length,
            port_len,
            kind: kind as u8,
        },
    };
    match matcher.ports {
        None => vec![key(PortKind::Any, 0, 0)],
        Some((first, last)) if first == last => vec![key(PortKind::Exact, first, 16)],
        Some((first, last)) => {
            let mut keys = Vec::new();
            let mut at = u32::from(first);
            while at <= u32::from(last) {
                let fits = |bits: &u32| at % (1 << bits) == 0 && at + (1 << bits) - 1 <= u32::from(last);
                let bits = [12, 8, 4, 0].into_iter().find(fits).unwrap_or(0);
                keys.push(key(PortKind::Range, at as u16, 16 - bits as u8));
                at += 1 << bits;
            }
            keys
        }
    }
}

/// The keys by which the program knows that there is a rule for the group.
fn group_keys(ifindex: u32, rule: &Rule) -> [FlowKey; 2] {
    let shape = Shape { source_len: 0, group_len: rule.matcher.length, port_len: 0, kind: PortKind::Group as u8 };
    let group = rule.matcher.group.to_bits();
    [Vlan::UNTAGGED, Vlan::ANY].map(|vlan| FlowKey { ifindex, source: 0, group, port: 0, vlan, shape })
}
