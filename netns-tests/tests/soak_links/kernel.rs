//! What the kernel has of interfaces: their program and their memberships.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use netns_tests::netns::Namespace;
use serde::Deserialize;

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub ifindex: u32,
    pub has_program: bool,
    pub takes_all_groups: bool,
    /// Groups joined, without the one that each interface joins by itself.
    pub groups: BTreeSet<String>,
}

#[derive(Deserialize)]
struct LinkView {
    ifindex: u32,
    ifname: String,
    allmulti: u32,
    xdp: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct GroupsView {
    ifname: String,
    maddr: Vec<GroupView>,
}

#[derive(Deserialize)]
struct GroupView {
    address: Option<String>,
}

/// The interfaces of a namespace by name, without the loopback interface.
pub fn links(namespace: &Namespace) -> Result<BTreeMap<String, Link>> {
    let links: Vec<LinkView> = serde_json::from_str(&namespace.run("ip -j -d link show")?)?;
    let groups: Vec<GroupsView> = serde_json::from_str(&namespace.run("ip -j -4 maddr show")?)?;
    let groups_of = |name: &str| {
        let all = groups.iter().filter(|view| view.ifname == name).flat_map(|view| &view.maddr);
        all.filter_map(|view| view.address.clone()).filter(|group| group != "224.0.0.1").collect()
    };
    let links = links.into_iter().filter(|link| link.ifname != "lo").map(|link| {
        let groups = groups_of(&link.ifname);
        let (has_program, takes_all_groups) = (link.xdp.is_some(), link.allmulti > 0);
        (link.ifname, Link { ifindex: link.ifindex, has_program, takes_all_groups, groups })
    });
    Ok(links.collect())
}

/// AF_XDP sockets that were made in a namespace and are not closed.
pub fn xdp_sockets(namespace: &Namespace) -> Result<usize> {
    let text = namespace.run("cat /proc/net/protocols")?;
    let Some(line) = text.lines().find(|line| line.starts_with("XDP ")) else { bail!("no AF_XDP in\n{text}") };
    Ok(line.split_whitespace().nth(2).context("its third column is the sockets")?.parse()?)
}
