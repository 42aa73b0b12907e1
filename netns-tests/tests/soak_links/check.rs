//! Whether mcrd and the kernel have come to what the model says.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use mcr_common::flow::{FlowKey, PortKind, Shape, Vlan};
use netns_tests::{
    deadline::{SOON, until},
    ledger::{self, Deleted},
    stats::{Stats, sum},
};

use crate::{
    kernel::{self, Maps},
    model::{MOST_QUEUES, Model, Rule, State, name},
    world::{AWAY, World},
};

/// Slots in use are below it: those of rules that are gone are used again, and few are on their way to that at a time.
const SLOTS: u32 = 512;

/// Waits until everything is as `model` says.
///
/// # Errors
/// What is still not.
pub fn equal(world: &mut World, maps: &Maps, model: &Model) -> Result<()> {
    let mut wrong = Vec::new();
    let equal = until("mcrd and the kernel as the model says", SOON, || {
        wrong = differences(world, maps, model)?;
        Ok(wrong.is_empty().then_some(()))
    });
    equal.with_context(|| wrong.join("\n"))
}

/// Sends a packet for each rule; each is counted where it must be, and everything adds up.
pub fn traffic(world: &mut World, model: &Model) -> Result<()> {
    let before = world.stats()?;
    let active: BTreeSet<&str> =
        before.rules.iter().filter(|rule| rule.state == "active").map(|rule| rule.name.as_str()).collect();
    let mut wanted: BTreeMap<&str, Vec<(u64, u64)>> = BTreeMap::new();
    for (name, rule) in &model.rules {
        let is_sent = !world.send([rule], model)?.is_empty();
        let each = |sends: bool| if sends { (1, 0) } else { (0, 1) };
        let outcome = |output| if is_sent && active.contains(&**name) { each(model.sends(output)) } else { (0, 0) };
        wanted.insert(name, rule.outputs.iter().map(outcome).collect());
    }
    let mut told = Ok(());
    let settled = until("a packet of each rule to be counted", SOON, || {
        let after = world.stats()?;
        told = counted(&before, &after, &wanted).and_then(|()| ledger::check(&after, Deleted::Replaced));
        Ok(told.is_ok().then_some(()))
    });
    settled.with_context(|| format!("{:#}", told.err().unwrap_or_else(|| anyhow::anyhow!("it was in the end"))))
}

/// Of each rule's outputs, packets sent and dropped between two moments.
fn counted(before: &Stats, after: &Stats, wanted: &BTreeMap<&str, Vec<(u64, u64)>>) -> Result<()> {
    for (name, outcomes) in wanted {
        let (then, now) = (before.rule(name), after.rule(name));
        let matched = outcomes.iter().any(|outcome| *outcome != (0, 0));
        ensure!(now.matched_packets - then.matched_packets == u64::from(matched), "{then:?}\n{now:?}: {outcomes:?}");
        for ((then, now), outcome) in then.outputs.iter().zip(&now.outputs).zip(outcomes) {
            let came = (now.sent_packets - then.sent_packets, sum(&now.dropped) - sum(&then.dropped));
            ensure!(came == *outcome, "{name}: {then:?}\n{now:?}: {came:?}, not {outcome:?}");
        }
    }
    Ok(())
}

fn differences(world: &mut World, maps: &Maps, model: &Model) -> Result<Vec<String>> {
    let mut wrong = Wrong::default();
    let listed = world.rules()?;
    let stats = world.stats()?;
    let states: BTreeMap<String, String> = listed
        .iter()
        .map(|rule| {
            (rule["name"].as_str().unwrap_or_default().into(), rule["state"].as_str().unwrap_or_default().into())
        })
        .collect();
    wrong.unless_same("rules", &states.keys().collect::<Vec<_>>(), &model.rules.keys().collect::<Vec<_>>());
    for (rule, state) in &states {
        let Some(wanted) = model.rules.get(rule).map(|rule| model.state(rule)) else { continue };
        let is_right = match &wanted {
            State::Active => state == "active",
            State::Waits(why) => state.strip_prefix("waiting: ") == Some(why),
            State::Either => true,
        };
        wrong.unless(is_right, || format!("rule {rule} is {state:?}, not {wanted:?}"));
    }

    let active = |(rule, _): &(&String, &Rule)| states.get(*rule).is_some_and(|state| state == "active");
    let active: Vec<(&String, &Rule)> = model.rules.iter().filter(active).collect();
    for (name, rule) in &active {
        let Some(shown) = stats.rules.iter().find(|shown| shown.name == **name) else { continue };
        for (output, shown) in rule.outputs.iter().zip(&shown.outputs) {
            let lack = model.lack(output);
            wrong.unless_same(&format!("what {name} -> {} waits for", shown.interface), &shown.waiting, &lack);
        }
    }

    let links = kernel::links(world.network.relay())?;
    let there: BTreeSet<String> =
        model.devices.iter().filter_map(|device| Some(model.by_name(device.name)?.name)).map(name).collect();
    wrong.unless_same("interfaces", &links.keys().cloned().collect(), &there);
    for (name, link) in kernel::links(world.network.namespace(AWAY))? {
        wrong.unless(!link.has_program, || format!("{name} was moved away with the program"));
    }
    memberships(&mut wrong, &stats, &links, &active);
    attachments(&mut wrong, world, maps, &stats, &links, &active, model)?;
    tables(&mut wrong, maps, &links, &active)?;
    Ok(wrong.0)
}

fn memberships(wrong: &mut Wrong, stats: &Stats, links: &BTreeMap<String, kernel::Link>, active: &[(&String, &Rule)]) {
    let mut told: Vec<String> = stats
        .memberships
        .iter()
        .map(|held| format!("{} {:?} {:?} {}", held.interface, held.group, held.source, held.state))
        .collect();
    let mut wanted = BTreeSet::new();
    let mut groups: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut all_groups = BTreeSet::new();
    for (_, rule) in active {
        let (interface, matcher) = (name(rule.ingress), &rule.matcher);
        if matcher.length < 32 {
            wanted.insert(format!("{interface} None None allmulticast"));
            all_groups.insert(interface);
            continue;
        }
        let (group, source) = (matcher.group.to_string(), matcher.source.map(|source| source.to_string()));
        wanted.insert(format!("{interface} {:?} {source:?} joined", Some(&group)));
        groups.entry(interface).or_default().insert(group);
    }
    told.sort();
    wrong.unless_same("memberships", &told, &wanted.into_iter().collect::<Vec<_>>());
    for (interface, link) in links {
        let wanted = groups.remove(interface).unwrap_or_default();
        wrong.unless_same(&format!("{interface}: the kernel's memberships"), &link.groups, &wanted);
        wrong.unless_same(
            &format!("{interface}: whether it takes every group"),
            &link.takes_all_groups,
            &all_groups.contains(interface),
        );
    }
}

fn attachments(
    wrong: &mut Wrong,
    world: &World,
    maps: &Maps,
    stats: &Stats,
    links: &BTreeMap<String, kernel::Link>,
    active: &[(&String, &Rule)],
    model: &Model,
) -> Result<()> {
    let with_program: BTreeMap<&String, u32> =
        links.iter().filter(|(_, link)| link.has_program).map(|(name, link)| (name, link.ifindex)).collect();
    let told = stats.interfaces.iter().filter(|interface| interface.xdp != "none").map(|interface| &interface.name);
    wrong.unless_same(
        "interfaces with the program",
        &told.collect(),
        &with_program.keys().copied().collect::<BTreeSet<_>>(),
    );
    for lost in stats.interfaces.iter().filter(|interface| interface.xdp == "none") {
        let is_told = lost.xsk == "none" && lost.xsk_reason == format!("no interface {}", lost.name);
        wrong.unless(is_told || links.contains_key(&lost.name), || format!("{lost:?}"));
    }
    let needed = active.iter().flat_map(|(_, rule)| {
        let outputs = rule.outputs.iter().filter(|output| model.by_name(output.interface).is_some());
        outputs.map(|output| output.interface).chain([rule.ingress])
    });
    for interface in needed.map(name) {
        wrong.unless(with_program.contains_key(&interface), || format!("{interface} is needed and has no program"));
    }
    let indices: BTreeSet<u32> = with_program.values().copied().collect();
    wrong.unless_same("interfaces whose packets are counted", &maps.counted()?, &indices);
    let sockets = kernel::xdp_sockets(world.network.relay())?;
    let (least, most) = (with_program.len(), with_program.len() * MOST_QUEUES as usize);
    wrong.unless((least..=most).contains(&sockets), || format!("{sockets} AF_XDP sockets, not {least} to {most}"));
    Ok(())
}

fn tables(
    wrong: &mut Wrong,
    maps: &Maps,
    links: &BTreeMap<String, kernel::Link>,
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

/// What is not as it is to be, in words.
#[derive(Default)]
struct Wrong(Vec<String>);

impl Wrong {
    fn unless(&mut self, right: bool, words: impl FnOnce() -> String) {
        if !right {
            self.0.push(words());
        }
    }

    fn unless_same<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, found: &T, wanted: &T) {
        self.unless(found == wanted, || format!("{what}: {found:?}, not {wanted:?}"));
    }
}
