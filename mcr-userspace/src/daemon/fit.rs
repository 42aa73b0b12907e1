//! What workers need of an interface, and how large their frames are.

use anyhow::bail;

use super::{interfaces::Role, suitable};
use crate::{
    config::{CpuReserve, Profile},
    kernel::nic::Nic,
    xsk::umem::{LARGE_FRAME, Memory, SMALL_FRAME},
};

/// Bytes of an Ethernet header with a tag.
const ETHERNET: u32 = 18;

/// How workers are made: fixed when the first of them starts.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Workers.
    pub workers: u32,
    /// How workers wait.
    pub profile: Profile,
    /// The most frames of 2,048 bytes that one worker may have over all its UMEMs; a frame of 4,096 bytes counts as two.
    pub frames_limit: u32,
    /// What they leave of their CPUs to others.
    pub reserve: CpuReserve,
}

impl Plan {
    /// Refuses an interface that no worker could use, before anything is touched.
    pub fn check(&self, nic: &Nic, role: Role) -> anyhow::Result<()> {
        suitable::check(nic)?;
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
        let largest = largest_mtu(LARGE_FRAME);
        if nic.mtu > largest {
            bail!(
                "{name}: its MTU of {} is above the {largest} bytes that a frame of {LARGE_FRAME} holds; `ip link set {name} mtu {largest}`",
                nic.mtu,
            );
        }
        Ok(())
    }
}

/// Bytes of the frames that an interface's sockets need: a whole packet of its MTU fits one frame.
///
/// Under zero-copy they are large ones. Drivers that set their receive buffer in steps of 1 KiB (igb, igc, some ixgbe) make 1,024 bytes
/// of what a small frame leaves for a packet, and cut longer ones in two; of a large one they make 3,072 (docs/kernel.md has each
/// driver).
pub fn frame_size(nic: &Nic, zero_copy: bool) -> u32 {
    if (zero_copy && !is_forced_small()) || nic.mtu > largest_mtu(SMALL_FRAME) { LARGE_FRAME } else { SMALL_FRAME }
}

/// For tests alone: small frames under zero-copy, so that what such drivers make of them is seen.
fn is_forced_small() -> bool {
    cfg!(debug_assertions) && std::env::var_os("MCR_TEST_SMALL_FRAMES").is_some()
}

/// The largest MTU whose packets fit frames of this size, tag and all.
pub fn largest_mtu(frame_size: u32) -> u32 {
    Memory::packet_capacity(frame_size) - ETHERNET
}
