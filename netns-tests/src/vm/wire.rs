//! A guest's interfaces as a chain of namespaces would be: `gen (v0)-(ethI) guest (ethJ)-(v3) sink`, with the two ends outside
//! of the guest or inside.

use anyhow::Result;

use super::{
    guest::{Guest, LIMIT},
    machine::Nic,
};
use crate::{
    crossing::Crossing,
    deadline::until,
    probe::{Load, report},
    rules,
    topology::{GEN, Network, SINK, Topology},
};

/// The addresses of a chain: outside and inside, ingress and egress.
const ADDRESSES: [(&str, &str); 2] = [("10.1.0.1/24", "10.1.0.2/24"), ("10.2.0.2/24", "10.2.0.1/24")];

/// Plugs interfaces `ingress` and `egress` of `guest` into new namespaces `gen` and `sink`, as `v0` and `v3`, and sets
/// both up in the guest.
pub fn chain(guest: &Guest, ingress: usize, egress: usize) -> Result<Network> {
    fan(guest, ingress, &[egress])
}

/// The [`chain`] with several egresses, which end in `sink` as `v3`, `v5`, `v7` and so on; the guest's ends have the addresses
/// 10.2.0.1, 10.3.0.1 and so on. A NIC filters multicast by address, and nothing joins here, so it is told to take all.
pub fn fan(guest: &Guest, ingress: usize, egresses: &[usize]) -> Result<Network> {
    let namespaces = [GEN, SINK].map(String::from).into();
    let network = Topology { namespaces, ..Topology::default() }.build()?;
    let plug = |i: usize, label: &str, name: &str, outside: &str, inside: &str| -> Result<()> {
        guest.plug(i, network.namespace(label), name, outside)?;
        guest.run(&format!("ip addr add {inside} dev eth{i}; ip link set eth{i} up allmulticast on"))?;
        Ok(())
    };
    let (outside, inside) = ADDRESSES[0];
    plug(ingress, GEN, "v0", outside, inside)?;
    for (k, egress) in (2..).zip(egresses) {
        plug(*egress, SINK, &format!("v{}", 2 * k - 1), &format!("10.{k}.0.2/24"), &format!("10.{k}.0.1/24"))?;
    }
    network.namespace(GEN).run("ip route add 224.0.0.0/4 dev v0")?;
    Ok(network)
}

/// For a machine that needs nothing of the host: gen is eth0, the relay's interfaces are eth1 and eth2, and sink is eth3.
pub const INSIDE: [Nic; 4] = [Nic::Segment(1), Nic::Segment(1), Nic::Segment(2), Nic::Segment(2)];

/// Moves both ends of [`INSIDE`] to namespaces within the guest, and sets all four interfaces up.
pub fn inside(guest: &Guest) -> Result<()> {
    for (near, far, label, name, (outside, inside)) in
        [(1, 0, GEN, "v0", ADDRESSES[0]), (2, 3, SINK, "v3", ADDRESSES[1])]
    {
        guest.run(&format!(
            "ip netns add {label}
             ip link set eth{far} netns {label} name {name}
             ip -n {label} addr add {outside} dev {name}
             ip -n {label} link set {name} up
             ip addr add {inside} dev eth{near}
             ip link set eth{near} up allmulticast on"
        ))?;
    }
    guest.run(&format!("ip -n {GEN} route add 224.0.0.0/4 dev v0"))?;
    Ok(())
}

/// To [`inside`], the copying kin: `v1` of gen is a veth whose peer is the relay's `veth1`, and `v2` of sink one whose peer is its
/// `veth2`.
pub fn veths_inside(guest: &Guest) -> Result<()> {
    for (near, label, name, outside, inside) in
        [("veth1", GEN, "v1", "10.3.0.1/24", "10.3.0.2/24"), ("veth2", SINK, "v2", "10.4.0.2/24", "10.4.0.1/24")]
    {
        guest.run(&format!(
            "ip link add {near} type veth peer name {name} netns {label}
             ip -n {label} addr add {outside} dev {name}
             ip -n {label} link set {name} up
             ip addr add {inside} dev {near}
             ip link set {near} up"
        ))?;
    }
    Ok(())
}

/// Sends `load` from `from` of gen inside the guest and receives it, translated by [`rules::streams`], at `to` of sink.
pub fn cross_inside(guest: &Guest, load: &Load, from: &str, to: &str) -> Result<Crossing> {
    let run =
        |label: &str, words: Vec<String>| guest.spawn(&format!("ip netns exec {label} mcrprobe {}", words.join(" ")));
    let receiver = run(SINK, load.receive_words(to, rules::RECEIVED))?;
    until("a receiver that is ready", LIMIT, || Ok(receiver.stderr()?.contains("ready").then_some(())))?;
    let sent = report(&run(GEN, load.send_words(from))?.wait()?.success()?)?;
    // 1 is its judgement that something is wrong, which the summary says better.
    let received = report(&receiver.wait()?)?;
    let dropped = || -> Result<u64> {
        let file = format!("/sys/class/net/{from}/statistics/tx_dropped");
        Ok(guest.run(&format!("ip netns exec {GEN} cat {file}"))?.trim().parse()?)
    };
    Ok(Crossing { sent, received, sender_dropped: dropped()? })
}
