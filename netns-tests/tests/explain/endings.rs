//! A stream that ends: whether another began in its place.

use std::{thread::sleep, time::Duration};

use anyhow::{Result, ensure};
use netns_tests::{
    daemon::Daemon,
    deadline::{SOON, until},
    needs_root,
    packet::Packet,
    topology::{Network, RELAY, Topology},
};

use crate::{
    fault::{add, arrives, explained, shell},
    stream::{Stream, packet},
};

/// So long a stream is there before it ends: rates of what came meanwhile are known then.
const BEFORE: Duration = Duration::from_secs(8);

fn neighbour() -> Vec<u8> {
    Packet { group: [239, 1, 1, 2].into(), to_mac: [1, 0, 0x5e, 1, 1, 2], ..packet() }.frame()
}

/// A rule whose stream came, and has ended at the return.
fn ended(network: &Network, daemon: &Daemon) -> Result<()> {
    let stream = Stream::begin(network, "v0", packet().frame())?;
    daemon.done(&add(&[]))?;
    until("the stream", SOON, || Ok((daemon.stats()?.rule("feed").matched_packets > 0).then_some(())))?;
    sleep(BEFORE);
    drop(stream);
    Ok(())
}

#[test]
fn a_stream_that_moved_to_another_group() -> Result<()> {
    needs_root!();
    let network = Topology::chain(1).build()?;
    let daemon = Daemon::start(network.relay(), "", &[])?;
    ended(&network, &daemon)?;
    let _moved = Stream::begin(&network, "v0", neighbour())?;
    let says = ["239.1.1.1:5001 stopped", "since then 239.1.1.2:5001 from 10.1.0.1", "may have changed its group"];
    let told = explained(&network, &daemon, &says)?;
    let fix = "mcrctl rule set feed --group 239.1.1.2";
    ensure!(told.fix.as_deref() == Some(fix), "{told:?}");
    shell(&network, &daemon, RELAY, fix)?;
    arrives(&network, &daemon)
}

#[test]
fn a_stream_that_stopped() -> Result<()> {
    needs_root!();
    let network = Topology::chain(1).build()?;
    let daemon = Daemon::start(network.relay(), "", &[])?;
    ended(&network, &daemon)?;
    let told = explained(&network, &daemon, &["239.1.1.1:5001 stopped", "nothing like it arrives on v1"])?;
    ensure!(told.fix.is_none(), "{told:?}");
    let _again = Stream::begin(&network, "v0", packet().frame())?;
    arrives(&network, &daemon)
}

#[test]
fn a_stream_that_stopped_beside_another() -> Result<()> {
    needs_root!();
    let network = Topology::chain(1).build()?;
    let daemon = Daemon::start(network.relay(), "", &["--iface-in", "v1"])?;
    let _beside = Stream::begin(&network, "v0", neighbour())?;
    ended(&network, &daemon)?;
    let told = explained(&network, &daemon, &["239.1.1.1:5001 stopped", "nothing began in its place on v1"])?;
    ensure!(told.fix.is_none(), "{told:?}");
    Ok(())
}
