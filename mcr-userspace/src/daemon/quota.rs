//! How many frames a socket gets: full rings where there is memory enough, and less where many interfaces share it.

use super::interfaces::Role;
use crate::xsk::{
    port::{Quota, TX_RING},
    umem::FILL_RING,
};

/// Frames for receiving on a queue that only sends: under zero-copy the host's own packets draw on that fill ring.
pub const EGRESS_FILL: u32 = 512;
/// The fewest frames for receiving that are of use.
const MIN_FILL: u32 = 512;
/// The fewest frames for sending that are of use.
const MIN_SEND: u32 = 256;

/// How often the full quota is halved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Halvings(u32);

impl Halvings {
    /// The full quota: as many frames as the rings hold.
    pub const FULL: Self = Self(0);
    /// The least quota: further halvings change nothing.
    pub const LEAST: Self = Self(4);

    /// This and every smaller quota, the larger first.
    pub fn and_smaller(self) -> impl Iterator<Item = Self> {
        (self.0..=Self::LEAST.0).map(Self)
    }

    /// Frames for receiving on one queue of an interface in this role.
    pub fn fill(self, role: Role) -> u32 {
        match role {
            Role::Ingress => (FILL_RING >> self.0).max(MIN_FILL),
            Role::Egress => EGRESS_FILL,
        }
    }

    /// Frames for sending on one queue.
    pub fn send(self) -> u32 {
        (TX_RING >> self.0).max(MIN_SEND)
    }

    /// The quota of a worker's socket on `queue`. A worker sends on the queue of its own number, in whatever role: an interface that
    /// only receives may become an egress later.
    pub fn quota(self, role: Role, queue: u32, worker: u32) -> Quota {
        Quota { fill: self.fill(role), send: if queue == worker { self.send() } else { 0 } }
    }

    /// Frames that each of `workers` needs for its sockets on these queues.
    pub fn needs(self, role: Role, queues: &[u32], workers: u32) -> Vec<u32> {
        let mut needs = vec![0; workers as usize];
        for &queue in queues {
            let worker = queue % workers;
            needs[worker as usize] += self.quota(role, queue, worker).frames();
        }
        needs
    }

    /// Frames for one more ingress and one more egress with one queue each.
    pub fn pair(self) -> u32 {
        self.fill(Role::Ingress) + self.fill(Role::Egress) + 2 * self.send()
    }
}

/// The largest quota of which `needs` (frames at one worker) is at most `allowance`; the least where none is.
pub fn largest_within(allowance: u32, needs: impl Fn(Halvings) -> u32) -> Halvings {
    Halvings::FULL.and_smaller().find(|halvings| needs(*halvings) <= allowance).unwrap_or(Halvings::LEAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_shrink_to_a_useful_least() {
        let all: Vec<(u32, u32)> =
            Halvings::FULL.and_smaller().map(|halvings| (halvings.fill(Role::Ingress), halvings.send())).collect();
        assert_eq!(all, [(8192, 2048), (4096, 1024), (2048, 512), (1024, 256), (512, 256)]);
        assert!(Halvings::FULL.and_smaller().all(|halvings| halvings.fill(Role::Egress) == EGRESS_FILL));
    }

    #[test]
    fn a_worker_needs_frames_for_its_own_queues() {
        // Two workers, three queues: worker 0 serves queues 0 and 2, worker 1 queue 1; each sends on one.
        let needs = Halvings::FULL.needs(Role::Ingress, &[0, 1, 2], 2);
        assert_eq!(needs, [2 * 8192 + 2048, 8192 + 2048]);
        assert_eq!(Halvings::LEAST.needs(Role::Egress, &[0, 1], 2), [512 + 256; 2]);
    }

    #[test]
    fn the_largest_quota_that_fits_is_taken() {
        let needs = |halvings: Halvings| halvings.fill(Role::Ingress);
        assert_eq!(largest_within(8192, needs), Halvings::FULL);
        assert_eq!(largest_within(8191, needs), Halvings(1));
        assert_eq!(largest_within(0, needs), Halvings::LEAST);
    }
}
