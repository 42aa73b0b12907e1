//! A guest between two namespaces: `gen (v0)-(ethI) guest (ethJ)-(v3) sink`, as a chain of namespaces would be.

use anyhow::Result;

use super::guest::Guest;
use crate::topology::{GEN, Network, SINK, Topology};

/// The addresses of a chain: outside and inside, ingress and egress.
const ADDRESSES: [(&str, &str); 2] = [("10.1.0.1/24", "10.1.0.2/24"), ("10.2.0.2/24", "10.2.0.1/24")];

/// Plugs interfaces `ingress` and `egress` of `guest` into new namespaces `gen` and `sink`, as `v0` and `v3`, and sets
/// both up in the guest. A NIC filters multicast by address, and nothing joins here, so it is told to take all.
pub fn chain(guest: &Guest, ingress: usize, egress: usize) -> Result<Network> {
    let namespaces = [GEN, SINK].map(String::from).into();
    let network = Topology { namespaces, ..Topology::default() }.build()?;
    for ((i, label, name), (outside, inside)) in [(ingress, GEN, "v0"), (egress, SINK, "v3")].into_iter().zip(ADDRESSES)
    {
        guest.plug(i, network.namespace(label), name, outside)?;
        guest.run(&format!("ip addr add {inside} dev eth{i}; ip link set eth{i} up allmulticast on"))?;
    }
    network.namespace(GEN).run("ip route add 224.0.0.0/4 dev v0")?;
    Ok(network)
}
