//! A switch that snoops IGMP: a Linux bridge that asks, and forwards a group only where it is asked for.

use anyhow::{Result, ensure};
use netns_tests::{
    daemon::Daemon,
    deadline::{SOON, until},
    needs_root,
    topology::{BRIDGES, Network},
};

use crate::{
    fault::{add, arrives, explained, shell, switched},
    stream::{Stream, packet},
};

fn database(network: &Network) -> Result<String> {
    network.namespace(BRIDGES).run("bridge mdb show dev br0")
}

#[test]
fn a_group_that_is_joined_arrives_without_an_address_too() -> Result<()> {
    needs_root!();
    for change in ["", "ip addr flush dev v1"] {
        let network = switched().build()?;
        let daemon = Daemon::start(network.relay(), "", &[])?;
        shell(&network, &daemon, "relay", change)?;
        let _stream = Stream::begin(&network, "v0", packet().frame())?;
        daemon.done(&add(&[]))?;
        until("the rule to be active", SOON, || Ok((daemon.stats()?.rule("feed").state == "active").then_some(())))?;
        arrives(&network, &daemon)?;
        ensure!(database(&network)?.contains("port v1 grp 239.1.1.1"), "{}", database(&network)?);
    }
    Ok(())
}

#[test]
fn a_prefix_that_nothing_asks_for() -> Result<()> {
    needs_root!();
    let network = switched().build()?;
    let daemon = Daemon::start(network.relay(), "", &[])?;
    let _stream = Stream::begin(&network, "v0", packet().frame())?;
    let says = "a switch that snoops IGMP needs a static multicast-router port to v1";
    let added = daemon.ctl(&add(&["--group", "239.1.0.0/16"]))?.success()?;
    ensure!(added.stderr.contains(says), "{}", added.told());
    until("a line in the log", SOON, || Ok(daemon.log().contains(says).then_some(())))?;
    let told = explained(&network, &daemon, &[says])?;
    ensure!(told.fix.is_none() && told.state == "idle", "{told:?}: the switch is to be changed");
    ensure!(!database(&network)?.contains("239.1.1.1"), "{}", database(&network)?);
    network.ip(BRIDGES, "link set v1 type bridge_slave mcast_router 2")?;
    arrives(&network, &daemon)
}

/// An interface in the VLAN is made in a virtual machine (`vm_vlans`): not every kernel that tests run on has VLANs.
#[test]
fn the_host_has_no_interface_in_the_vlan() -> Result<()> {
    needs_root!();
    let network = switched().build()?;
    let daemon = Daemon::start(network.relay(), "", &[])?;
    daemon.done(&add(&["--vlan", "100"]))?;
    let told = explained(&network, &daemon, &["groups in VLAN 100 are not joined: the host has no interface there"])?;
    let fix = "ip link add link v1 name v1.100 type vlan id 100 && ip link set v1.100 up";
    ensure!(told.fix.as_deref() == Some(fix) && told.state == "idle", "{told:?}");
    Ok(())
}
