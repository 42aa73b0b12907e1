//! Interfaces that are down, renamed, deleted, without carrier or address, or with too small an MTU; and one that another program holds.

use anyhow::{Result, ensure};
use netns_tests::{
    daemon::Daemon,
    needs_root,
    packet::Packet,
    topology::{GEN, RELAY, SINK, Topology},
};

use crate::{
    fault::{Fault, Repair, add, arrives, explained, shell},
    stream::{Stream, packet},
};

fn fault<'a>(name: &'a str, change: (&'a str, &'a str)) -> Fault<'a> {
    Fault { name, change, ..Fault::of(packet().frame()) }
}

#[test]
fn an_egress_that_cannot_send() -> Result<()> {
    needs_root!();
    let down = || Fault {
        says: &["v2 is down", "output 1 (v2)"],
        repair: Repair::Printed("ip link set dev v2 up"),
        ..fault("the egress is down", (RELAY, "ip link set v2 down"))
    };
    let faults = [
        Fault {
            says: &["output 1 (v2)", "too_big", "MTU of v2, 900"],
            repair: Repair::Printed("ip link set dev v2 mtu 1500"),
            frame: Packet { payload: vec![7; 1000], ..packet() }.frame(),
            ..fault("a small MTU", (RELAY, "ip link set v2 mtu 900"))
        },
        down(),
        Fault { name: "the egress is down from the start", is_early: true, ..down() },
        Fault {
            says: &["v2 has no carrier"],
            repair: Repair::There(SINK, "ip link set v3 up"),
            ..fault("no carrier", (SINK, "ip link set v3 down"))
        },
        Fault {
            says: &["v2 has no IPv4 address", "it had 10.2.0.1/24"],
            repair: Repair::Printed("ip address add 10.2.0.1/24 dev v2"),
            ..fault("the address is lost", (RELAY, "ip addr flush dev v2"))
        },
        Fault {
            flags: &["--wait"],
            is_early: true,
            says: &["the rule waits: v2 has no IPv4 address"],
            repair: Repair::Printed("mcrctl rule set feed --out v2,source=keep"),
            ..fault("no address from the start", (RELAY, "ip addr flush dev v2"))
        },
    ];
    faults.iter().try_for_each(Fault::check)
}

#[test]
fn an_ingress_that_is_down() -> Result<()> {
    needs_root!();
    let down = || Fault {
        says: &["v1 is down", "no packet can come in"],
        repair: Repair::Printed("ip link set dev v1 up"),
        ..fault("the ingress is down", (RELAY, "ip link set v1 down"))
    };
    let faults = [
        down(),
        Fault { name: "the ingress is down from the start", is_early: true, ..down() },
        Fault {
            says: &["no packet of 239.1.1.1:5001 arrives on v1", "the group is joined"],
            repair: Repair::Sender(packet().frame()),
            frame: Vec::new(),
            ..fault("nothing is sent", (RELAY, ""))
        },
    ];
    faults.iter().try_for_each(Fault::check)
}

/// Raised while mcrd runs, beyond what its frames hold.
#[test]
fn an_mtu_above_the_frames() -> Result<()> {
    needs_root!();
    let network = Topology::chain(1).build()?;
    let daemon = Daemon::start(network.relay(), "", &[])?;
    daemon.done(&add(&[]))?;
    shell(&network, &daemon, RELAY, "ip link set v1 mtu 3000; ip link set v2 mtu 3000")?;
    network.namespace(GEN).run("ip link set v0 mtu 3000")?;
    let _stream = Stream::begin(&network, "v0", Packet { payload: vec![7; 2500], ..packet() }.frame())?;
    let told = explained(&network, &daemon, &["oversize", "its MTU is 3000"])?;
    let fix = told.fix.unwrap_or_default();
    ensure!(fix.starts_with("ip link set v1 mtu "), "{fix}");
    shell(&network, &daemon, RELAY, &fix)
}

#[test]
fn interfaces_that_are_renamed_or_deleted() -> Result<()> {
    needs_root!();
    let egress = "ip link add v2 type veth peer name v3 netns @sink; ip addr add 10.2.0.1/24 dev v2; ip link set v2 up; \
        ip -n @sink link set v3 up";
    let ingress = "ip link add v1 type veth peer name v0 netns @gen; ip link set v1 up; ip -n @gen link set v0 up";
    let faults = [
        Fault {
            says: &["no interface v1", "it is called w1 now"],
            repair: Repair::Printed("mcrctl rule set feed --in w1"),
            ..fault("the ingress is renamed", (RELAY, "ip link set v1 name w1"))
        },
        Fault {
            says: &["no interface v2", "it is called w2 now"],
            repair: Repair::Printed("mcrctl rule set feed --out w2"),
            ..fault("the egress is renamed", (RELAY, "ip link set v2 name w2"))
        },
        Fault {
            says: &["no interface v1, v2", "v1 is called w1 now", "v2 is called w2 now"],
            repair: Repair::Printed("mcrctl rule set feed --in w1 --out w2"),
            ..fault("both are renamed", (RELAY, "ip link set v1 name w1; ip link set v2 name w2"))
        },
        Fault {
            says: &["no interface v1"],
            repair: Repair::There(RELAY, ingress),
            ..fault("the ingress is deleted", (RELAY, "ip link del v1"))
        },
        Fault {
            says: &["no interface v2"],
            repair: Repair::There(RELAY, egress),
            ..fault("the egress is deleted", (RELAY, "ip link del v2"))
        },
    ];
    faults.iter().try_for_each(Fault::check)
}

#[test]
fn another_program_holds_the_ingress() -> Result<()> {
    needs_root!();
    let network = Topology::chain(1).build()?;
    let other = Daemon::start(network.relay(), "", &["--iface-in", "v1"])?;
    let daemon = Daemon::start(network.relay(), "", &[])?;
    let _stream = Stream::begin(&network, "v0", packet().frame())?;
    daemon.done(&add(&["--wait"]))?;
    let told = explained(&network, &daemon, &["v1: another XDP program is attached, by mcrd"])?;
    let fix = format!("kill {}", other.pid());
    ensure!(told.fix.as_ref() == Some(&fix), "{told:?}");
    shell(&network, &daemon, RELAY, &fix)?;
    arrives(&network, &daemon)
}
