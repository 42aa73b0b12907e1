//! What is fixed with the first interface, and whether a later one fits it.

use anyhow::bail;

use super::{
    interfaces::Role,
    sockets::{EGRESS_FILL, EGRESS_SEND},
};
use crate::{
    config::{CpuReserve, Datapath, Mode, Profile},
    kernel::nic::Nic,
    xsk::umem::{FILL_RING, Memory},
};

/// Frames that a worker holds in its hands: its largest batch, and copies of it.
pub const IN_HAND: u32 = 1024;
/// Bytes of an Ethernet header with a tag.
const ETHERNET: u32 = 18;

/// How workers and their memory are made.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Workers.
    pub workers: u32,
    /// Frames of each UMEM.
    pub frames: u32,
    /// Bytes of a frame.
    pub frame_size: u32,
    /// How workers wait.
    pub profile: Profile,
    /// What they leave of their CPUs to others.
    pub reserve: CpuReserve,
}

impl Plan {
    /// For the interfaces known at start, with a reserve for one more of each role.
    pub fn new(workers: u32, frames: Option<u32>, known: &[(Nic, Role, Mode)], datapath: &Datapath) -> Self {
        let largest = known.iter().map(|(nic, ..)| nic.mtu).max().unwrap_or(0);
        let frame_size = if largest > largest_mtu(2048) { 4096 } else { 2048 };
        let mut need = IN_HAND + FILL_RING + EGRESS_SEND + EGRESS_FILL;
        for (nic, role, _) in known {
            need += match role {
                Role::Ingress => nic.xdp_rx_queues.div_ceil(workers) * FILL_RING,
                Role::Egress => EGRESS_FILL,
            } + EGRESS_SEND;
        }
        Self {
            workers,
            frames: frames.unwrap_or(need),
            frame_size,
            profile: datapath.profile,
            reserve: datapath.cpu_reserve,
        }
    }

    /// What can be refused before anything is touched.
    pub fn check(&self, nic: &Nic, role: Role) -> anyhow::Result<()> {
        let (name, workers) = (&nic.name, self.workers);
        if nic.driver == "802.1Q VLAN Support" {
            bail!(
                "{name}: a VLAN interface has no packets of its own for XDP; use the interface below it, with `vlan` in the rule"
            );
        }
        if role == Role::Egress && nic.tx_queues < workers {
            bail!(
                "{name}: {} transmit queues are fewer than the {workers} workers; `ethtool -L {name} combined {workers}`, or restart mcrd with --workers {}",
                nic.tx_queues,
                nic.tx_queues,
            );
        }
        let largest = largest_mtu(self.frame_size);
        if nic.mtu > largest {
            bail!(
                "{name}: its MTU of {} is above the {largest} bytes that a frame of {} holds; `ip link set {name} mtu {largest}`{}",
                nic.mtu,
                self.frame_size,
                if self.frame_size < 4096 { ", or restart mcrd while the interface is there" } else { "" },
            );
        }
        Ok(())
    }
}

/// The largest MTU whose packets fit frames of this size, tag and all.
pub fn largest_mtu(frame_size: u32) -> u32 {
    Memory::packet_capacity(frame_size) - ETHERNET
}
