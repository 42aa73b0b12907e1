//! The mode table: ingress and egress with and without zero-copy, under each `--mode`, with virtio NICs and veths side by side;
//! and what happens to the others when an interface goes whose sockets hold the zero-copy memory.
//!
//! Sender and receiver are in the guest too, so a machine needs nothing of the host. One boot for all of it.

use std::sync::LazyLock;

use anyhow::{Context, Result, ensure};
use netns_tests::{
    daemon::Final,
    deadline::until,
    ledger::{self, Deleted},
    needs_machines,
    probe::Load,
    rules::{self, Output, Rule},
    vm::{
        guest::{Guest, LIMIT},
        kernel,
        machine::{Machine, Nic},
        relay::Relay,
        wire,
    },
};

const LOAD: Load = Load { first: rules::SENT, streams: 10, rate: 500, size: 256, seconds: 1 };
/// The relay's interfaces and, across from each, the one in gen or sink. The kind is its first letter's.
const WAYS_IN: [(&str, &str); 2] = [("eth1", "v0"), ("veth1", "v1")];
const WAYS_OUT: [(&str, &str); 2] = [("eth2", "v3"), ("veth2", "v2")];
/// `--mode`.
const MODES: [&str; 4] = ["auto", "zerocopy", "copy", "skb"];
/// NICs besides those of [`wire::INSIDE`]: one that is taken away, one that comes later.
const GOES: &str = "eth4";
const COMES: &str = "eth5";

#[test]
fn modes_are_as_the_table_says() -> Result<()> {
    needs_machines!();
    let nics = wire::INSIDE.into_iter().chain([Nic::Segment(3), Nic::Segment(2)]).collect();
    let guest = Machine { kernel: kernel::newest()?, cpus: 2, nics }.boot()?;
    wire::inside(&guest)?;
    wire::veths_inside(&guest)?;
    for mode in MODES {
        for way_in in WAYS_IN {
            for way_out in WAYS_OUT {
                let told = format!("--mode {mode}: {} to {}", way_in.0, way_out.0);
                cell(&guest, mode, way_in, way_out).with_context(|| told.clone())?;
                eprintln!("{told}: as it must be");
            }
        }
    }
    joined_by_copies(&guest)?;
    holder_goes(&guest)?;
    a_module_sends_a_wrong_header(&guest)?;
    guest.healthy()
}

/// What an interface gets: XDP and AF_XDP; or that it is refused.
fn granted(mode: &str, interface: &str) -> Option<(&'static str, &'static str)> {
    match (mode, is_zero_copy(interface)) {
        ("auto" | "zerocopy", true) => Some(("driver", "zerocopy")),
        ("auto", false) | ("copy", _) => Some(("driver", "copy")),
        ("skb", _) => Some(("skb", "copy")),
        _ => None,
    }
}

fn is_zero_copy(interface: &str) -> bool {
    interface.starts_with("eth")
}

fn cell(guest: &Guest, mode: &str, way_in: (&str, &str), way_out: (&str, &str)) -> Result<()> {
    let config = rules::file(&rules::streams(LOAD.streams, way_in.0, way_out.0));
    let flags = format!("--mode {mode}");
    let interfaces = [way_in.0, way_out.0];
    if let Some(interface) = interfaces.iter().find(|interface| granted(mode, interface).is_none()) {
        let refused = Relay::refused(guest, &config, &flags)?;
        ensure!(
            refused.stderr.contains(&format!("{interface}: mode zerocopy, but veth grants no zero-copy")),
            "{}",
            refused.told()
        );
        // It has left nothing behind.
        let links = guest.run("ip link")?;
        ensure!(!links.contains("xdp"), "{links}");
        return Ok(());
    }
    let relay = Relay::start(guest, &config, &flags)?;
    let stats = relay.stats()?;
    for name in interfaces {
        let interface = stats.interface(name);
        assert_eq!(Some((&*interface.xdp, &*interface.xsk)), granted(mode, name), "{interface:?}");
        // A choice of mcrd's own that is not the best is explained, a user's is not.
        let explained = interface.xsk_reason.contains("veth grants no zero-copy");
        assert_eq!(explained, mode == "auto" && !is_zero_copy(name), "{interface:?}");
    }
    let told = relay.ctl("status")?.success()?.stdout + &relay.log()?;
    let explained = told.matches("veth grants no zero-copy").count();
    let copying = interfaces.iter().filter(|name| mode == "auto" && !is_zero_copy(name)).count();
    assert_eq!(explained, 2 * copying, "in `status` and in the log: {told}");
    crosses(guest, &relay, Deleted::None, way_in.1, way_out.1)?;
    let (matched, sent) = (LOAD.packets(), LOAD.packets());
    assert_eq!(relay.stop()?, Final { matched, ingress_dropped: 0, sent, egress_dropped: 0 });
    guest.healthy()
}

/// Every packet once, and every frame back.
fn crosses(guest: &Guest, relay: &Relay<'_>, deleted: Deleted, from: &str, to: &str) -> Result<()> {
    // Since the last change the relay has been asked for something, and its pools are at rest.
    let before = relay.stats()?;
    let crossing = wire::cross_inside(guest, &LOAD, from, to)?;
    let stats = relay.stats_at_rest()?;
    // How fast an emulated sender is says nothing.
    let wrong = crossing.miscounted(&LOAD);
    ensure!(wrong.is_empty(), "{}\n{stats:?}\n{}", wrong.join("; "), relay.log()?);
    ledger::check(&stats, deleted)?;
    ledger::check_frames(&before, &stats)
}

/// Rules of both ways in, each to both ways out.
static BOTH: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    let mut rules = Vec::new();
    for (way_in, _) in WAYS_IN {
        for mut rule in rules::streams(LOAD.streams, way_in, WAYS_OUT[0].0) {
            rule.name = format!("{way_in}-{}", rule.name);
            let other = Output { interface: WAYS_OUT[1].0.into(), ..rule.outputs[0].clone() };
            rule.outputs.push(other);
            rules.push(rule);
        }
    }
    rules
});

/// Interfaces of one kind forward; those of the other kind join them live, and are joined.
fn joined_by_copies(guest: &Guest) -> Result<()> {
    let relay = Relay::start(guest, "", &format!("--iface-in {} --iface-out {}", WAYS_IN[0].0, WAYS_OUT[0].0))?;
    for rule in BOTH.iter() {
        relay.ctl(&rule.add().join(" "))?.success()?;
    }
    let before = relay.stats_at_rest()?;
    for (name, _) in WAYS_IN.into_iter().chain(WAYS_OUT) {
        assert_eq!(before.interface(name).xsk, granted("auto", name).map_or("", |(_, xsk)| xsk));
    }
    for (_, from) in WAYS_IN {
        for (_, to) in WAYS_OUT {
            crosses(guest, &relay, Deleted::None, from, to)?;
        }
    }
    let stats = relay.stats_at_rest()?;
    let (matched, sent) = (4 * LOAD.packets(), 8 * LOAD.packets());
    assert_eq!((stats.totals.matched_packets, stats.totals.sent_packets), (matched, sent), "{stats:?}");
    assert_eq!(relay.stop()?, Final { matched, ingress_dropped: 0, sent, egress_dropped: 0 });
    guest.healthy()
}

/// The interface whose socket holds the zero-copy memory is taken away. The others go on, and a new one can still join; so can that one
/// again, and the egress, once it has been taken away too.
fn holder_goes(guest: &Guest) -> Result<()> {
    guest.run(&format!("ip link set {GOES} up; ip addr add 10.6.0.1/24 dev {COMES}; ip link set {COMES} up"))?;
    let config = rules::file(&rules::streams(LOAD.streams, WAYS_IN[0].0, WAYS_OUT[0].0));
    let relay = Relay::start(guest, &config, &format!("--mode zerocopy --iface-in {GOES}"))?;
    crosses(guest, &relay, Deleted::None, WAYS_IN[0].1, WAYS_OUT[0].1)?;

    let goes = take_away(guest, GOES)?;
    becomes(&relay, GOES, "none")?;
    crosses(guest, &relay, Deleted::None, WAYS_IN[0].1, WAYS_OUT[0].1)?;

    for rule in rules::streams(LOAD.streams, WAYS_IN[0].0, COMES) {
        relay.ctl(&format!("rule del {}", rule.name))?.success()?;
        relay.ctl(&rule.add().join(" "))?.success()?;
    }
    assert_eq!(relay.stats()?.interface(COMES).xsk, "zerocopy", "{}", relay.log()?);
    crosses(guest, &relay, Deleted::Some, WAYS_IN[0].1, WAYS_OUT[0].1)?;
    let log = relay.log()?;
    ensure!(log.contains(&format!("{COMES}: frames of its own")), "{log}");

    let comes = take_away(guest, COMES)?;
    becomes(&relay, COMES, "none")?;
    let waiting = relay.stats()?;
    ensure!(waiting.rules.iter().all(|rule| rule.outcome() == format!("waiting: no interface {COMES}")), "{waiting:?}");
    put_back(guest, &goes, GOES)?;
    becomes(&relay, GOES, "zerocopy")?;
    put_back(guest, &comes, COMES)?;
    guest.run(&format!("ip addr add 10.6.0.1/24 dev {COMES}; ip link set {COMES} up"))?;
    becomes(&relay, COMES, "zerocopy")?;
    crosses(guest, &relay, Deleted::Some, WAYS_IN[0].1, WAYS_OUT[0].1)?;
    let (matched, sent) = (4 * LOAD.packets(), 4 * LOAD.packets());
    assert_eq!(relay.stop()?, Final { matched, ingress_dropped: 0, sent, egress_dropped: 0 });
    guest.healthy()
}

/// As a NIC that is pulled out; the device, to be put back.
fn take_away(guest: &Guest, interface: &str) -> Result<String> {
    let device = guest.run(&format!("basename $(readlink -f /sys/class/net/{interface}/device)"))?.trim().to_owned();
    guest.run(&format!("echo {device} >/sys/bus/virtio/drivers/virtio_net/unbind"))?;
    Ok(device)
}

/// With the lowest free number at first, which others had before they were moved to their namespaces.
fn put_back(guest: &Guest, device: &str, interface: &str) -> Result<()> {
    guest.run(&format!("echo {device} >/sys/bus/virtio/drivers/virtio_net/bind"))?;
    guest.run(&format!("ip link set $(ls /sys/bus/virtio/devices/{device}/net) name {interface}")).map(drop)
}

fn becomes(relay: &Relay<'_>, interface: &str, xsk: &str) -> Result<()> {
    until(&format!("{interface} to be {xsk}"), LIMIT, || {
        Ok((relay.stats()?.interface(interface).xsk == xsk).then_some(()))
    })
    .with_context(|| relay.log().unwrap_or_default())
}

/// virtio_net as a module may send nothing under zero-copy (docs/kernel.md): `auto` keeps away from it, and who demands it is told.
fn a_module_sends_a_wrong_header(guest: &Guest) -> Result<()> {
    guest.show_module()?;
    let config = rules::file(&rules::streams(LOAD.streams, WAYS_IN[0].0, WAYS_OUT[0].0));
    for (mode, xsk) in [("auto", "copy"), ("zerocopy", "zerocopy")] {
        let relay = Relay::start(guest, &config, &format!("--mode {mode}"))?;
        for (name, _) in [WAYS_IN[0], WAYS_OUT[0]] {
            let stats = relay.stats()?;
            let interface = stats.interface(name);
            ensure!(interface.xsk == xsk && interface.xsk_reason.contains("is a module"), "{mode}: {interface:?}");
        }
        relay.stop()?;
    }
    Ok(())
}
