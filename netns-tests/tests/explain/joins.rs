//! Memberships that the host does not get, or does not keep: behind a bridge that snoops, the stream stays away, or ends.

use anyhow::{Context, Result, ensure};
use netns_tests::{
    daemon::Daemon,
    deadline::{SOON, until},
    needs_root,
    topology::{BRIDGES, Network, RELAY},
};

use crate::{
    fault::{Fault, Repair, add, arrives, explained, shell, switched},
    stream::{Stream, packet},
};

#[test]
fn the_kernel_lets_no_more_groups_be_joined() -> Result<()> {
    needs_root!();
    let fault = |name, flags, fix| Fault {
        name,
        topology: switched(),
        flags,
        // mcrd reads it at its start: it was lowered since.
        is_early: true,
        change: (RELAY, "sysctl -qw net.ipv4.igmp_max_memberships=0"),
        says: &["239.1.1.1", "is not joined: the kernel lets a socket join no more groups"],
        repair: Repair::Printed(fix),
        ..Fault::of(packet().frame())
    };
    let of_source = "sysctl -w net.ipv4.igmp_max_memberships=20 net.ipv4.igmp_max_msf=10";
    let faults = [
        fault("a group", &[][..], "sysctl -w net.ipv4.igmp_max_memberships=20"),
        fault("a group of one source", &["--source", "10.1.0.1"][..], of_source),
    ];
    faults.iter().try_for_each(Fault::check)
}

/// Two sources of one group: the second is one too many, which is not the first rule's fault.
#[test]
fn one_source_of_a_group_cannot_be_joined() -> Result<()> {
    needs_root!();
    let network = switched().build()?;
    let daemon = Daemon::start(network.relay(), "", &[])?;
    let _stream = Stream::begin(&network, "v0", packet().frame())?;
    daemon.done(&add(&["--source", "10.1.0.1"]))?;
    shell(&network, &daemon, RELAY, "sysctl -qw net.ipv4.igmp_max_msf=1")?;
    daemon.done(&[
        "rule",
        "add",
        "--name",
        "other",
        "--in",
        "v1",
        "--group",
        "239.1.1.1",
        "--source",
        "10.1.0.2",
        "--out",
        "v2",
    ])?;
    arrives(&network, &daemon)?;
    let other = daemon.ctl(&["explain", "other", "--seconds", "1"])?.exited(1)?.stdout;
    ensure!(
        other.contains("group 239.1.1.1 of source 10.1.0.2 is not joined") && !other.contains("the group is joined"),
        "{other}"
    );
    Ok(())
}

/// A bridge that asks each second, from an address that the host has no route to, and forgets within three.
fn asking() -> Result<Network> {
    let network = switched().with_igmp(3).build()?;
    let bridges = network.namespace(BRIDGES);
    bridges.run("ip addr add 192.0.2.9/24 dev br0")?;
    for settings in [
        "mcast_query_use_ifaddr 1 mcast_querier 0",
        "mcast_query_interval 100 mcast_startup_query_interval 100 mcast_membership_interval 300",
        "mcast_querier 1",
    ] {
        bridges.run(&format!("ip link set br0 type bridge {settings}"))?;
    }
    Ok(network)
}

/// The stream flows; `fault` makes the host deaf for queries; the stream ends, and is back after the printed command.
fn goes_deaf(fault: &str, says: &[&str], fix: &str) -> Result<()> {
    let network = asking()?;
    let daemon = Daemon::start(network.relay(), "", &[])?;
    let _stream = Stream::begin(&network, "v0", packet().frame())?;
    daemon.done(&add(&[]))?;
    arrives(&network, &daemon)?;
    shell(&network, &daemon, RELAY, fault)?;
    until("the rule to be idle", SOON, || Ok((daemon.stats()?.rule("feed").state == "idle").then_some(())))?;
    let told = explained(&network, &daemon, says)?;
    let printed = told.fix.with_context(|| told.first.clone())?;
    ensure!(printed.starts_with(fix), "{printed}");
    shell(&network, &daemon, RELAY, &printed)?;
    arrives(&network, &daemon)
}

#[test]
fn a_firewall_drops_the_queries() -> Result<()> {
    needs_root!();
    let policy = "nft 'table inet filter { chain input { type filter hook input priority 0; policy drop; }; }'";
    goes_deaf(policy, &["IGMP queries that come in are dropped by", "filter input"], "nft ")
}

#[test]
fn reverse_path_filtering_drops_the_queries() -> Result<()> {
    needs_root!();
    let says = &["the IGMP queries of 192.0.2.9", "do not reach the host", "rp_filter"];
    goes_deaf("sysctl -qw net.ipv4.conf.v1.rp_filter=1", says, "sysctl -w net.ipv4.conf.all.rp_filter=0")
}
