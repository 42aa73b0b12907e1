//! Whether mcrd and the kernel have come to what the model says.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use netns_tests::{
    deadline::{SOON, until},
    stats::Stats,
};

use crate::{
    kernel::{self, Link},
    maps::Maps,
    model::{MOST_QUEUES, Model, Rule, State, name},
    tables::tables,
    world::{AWAY, World},
    wrong::Wrong,
};

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

fn differences(world: &mut World, maps: &Maps, model: &Model) -> Result<Vec<String>> {
    let mut wrong = Wrong::default();
    let listed = world.rules()?;
    let stats = world.stats()?;
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    // `idle` and `degraded` rules forward, too.
    let states: BTreeMap<String, String> = listed
        .iter()
        .map(|rule| {
            let state = match rule["state"].as_str() {
                Some("waiting") => format!("waiting: {}", text(&rule["state_reason"])),
                _ => "forwards".to_owned(),
            };
            (text(&rule["name"]), state)
        })
        .collect();
    wrong.unless_same("rules", &states.keys().collect::<Vec<_>>(), &model.rules.keys().collect::<Vec<_>>());
    for (rule, state) in &states {
        let Some(wanted) = model.rules.get(rule).map(|rule| model.state(rule)) else { continue };
        let is_right = match &wanted {
            State::Active => state == "forwards",
            State::Waits(why) => state.strip_prefix("waiting: ") == Some(why),
            State::Either => true,
        };
        wrong.unless(is_right, || format!("rule {rule} is {state:?}, not {wanted:?}"));
    }

    let active = |(rule, _): &(&String, &Rule)| states.get(*rule).is_some_and(|state| state == "forwards");
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

fn memberships(wrong: &mut Wrong, stats: &Stats, links: &BTreeMap<String, Link>, active: &[(&String, &Rule)]) {
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
    links: &BTreeMap<String, Link>,
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
