//! How many frames a worker may have in all, and how large a part of them the next interface gets.

use super::{
    fit::frame_size,
    interfaces::Role,
    quota::{Halvings, largest_within},
    sockets::queues,
};
use crate::{
    kernel::{memory, netdev::xdp_features, nic::Nic},
    xsk::umem::SMALL_FRAME,
};

/// Frames that a worker holds in its hands: its largest batch, and copies of it. Each UMEM has so many beyond its sockets' quotas.
pub const IN_HAND: u32 = 1024;
/// Frames of the smallest UMEM, where the limit allows it.
const MIN_UMEM: u32 = 8192;
/// Up to here (768 MiB) quotas are generous; beyond, interfaces get the least, so that hundreds of them fit a usual machine.
const GENEROUS: u32 = 393_216;
/// The part of what is left that one more interface may take.
const PART: u32 = 8;
/// `auto`'s part of the memory that the machine or the cgroup has.
const MEMORY_PART: u64 = 4;

/// What `[limits] frames = "auto"` comes to for each of so many workers: a quarter of the memory, in frames of 2,048 bytes.
pub fn auto_limit(workers: u32) -> u32 {
    let frames = memory::limit() / MEMORY_PART / u64::from(workers.max(1)) / u64::from(SMALL_FRAME);
    // xsk-rs and the kernel count frames in 32 bits.
    frames.clamp(u64::from(IN_HAND), u64::from(u32::MAX >> 8)) as u32
}

/// Bytes of the smallest UMEM that is made under this limit of frames.
pub fn least_memory(limit: Option<u32>) -> u64 {
    u64::from(limit.unwrap_or(MIN_UMEM).min(MIN_UMEM)) * u64::from(SMALL_FRAME)
}

/// How many frames of 2,048 bytes so many of this size are.
pub fn units(frames: u32, frame_size: u32) -> u32 {
    frames.saturating_mul(frame_size / SMALL_FRAME)
}

/// The frames of one worker, in units of 2,048 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// The most.
    pub limit: u32,
    /// Those of UMEMs that there are.
    pub used: u32,
}

impl Budget {
    /// Those that a new UMEM may have.
    pub fn left(self) -> u32 {
        self.limit.saturating_sub(self.used)
    }

    /// The quota of one more interface, of which `needs` says what it takes: each leaves most of what is left to others.
    pub fn quota(self, needs: impl Fn(Halvings) -> u32) -> Halvings {
        let left = self.limit.min(GENEROUS).saturating_sub(self.used);
        largest_within(left / PART, needs)
    }

    /// The quota of each of all interfaces that are known at once, with room for one more pair of them.
    fn quota_of_all(self, known: &[WithSize], workers: u32) -> Halvings {
        let left = self.limit.min(GENEROUS).saturating_sub(self.used);
        // A UMEM is shared by a few interfaces.
        largest_within(left, |halvings| needs_of_all(known, workers, halvings, IN_HAND / 4))
    }
}

/// The interfaces that are known when the daemon starts.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// The quota of each.
    pub quota: Halvings,
    /// The units of 2,048 bytes that those of them need at one worker that have no sockets yet.
    pub expected: u32,
}

impl Known {
    /// For all of these.
    pub fn new(budget: Budget, known: &[(Nic, Role)], workers: u32) -> Self {
        let known = sized(known);
        let quota = budget.quota_of_all(&known, workers);
        Self { quota, expected: needs_of_all(&known, workers, quota, IN_HAND / 4) }
    }
}

/// Frames of the UMEM to make for an interface that needs so many at this quota, where `left` units of 2,048 bytes may be used.
/// There is room for its partner and for one more pair, or for the `expected`; but no more than some six times its own: each of its
/// sockets takes some 133 bytes of kernel memory for every frame of the UMEM (`xp_create_and_assign_umem()`,
/// net/xdp/xsk_buff_pool.c). `None` where it does not even hold the interface.
pub fn umem_frames(needs: u32, role: Role, quota: Halvings, expected: u32, left: u32, frame_size: u32) -> Option<u32> {
    let (expected, left) = (expected / (frame_size / SMALL_FRAME), left / (frame_size / SMALL_FRAME));
    let least = needs + IN_HAND;
    let others = expected.min(needs.saturating_mul(6)).max(quota.pair() + partner(role, quota));
    (least <= left).then(|| (least + others).max(MIN_UMEM).min(left))
}

/// Frames that are better left in the UMEM for the other side of an interface's rules: between two UMEMs packets are copied.
pub fn partner(role: Role, quota: Halvings) -> u32 {
    match role {
        Role::Ingress => quota.fill(Role::Egress) + quota.send(),
        Role::Egress => 0,
    }
}

/// What one worker needs, at the least quota, for all these interfaces: a limit of so many is enough.
pub fn enough_for(known: &[(Nic, Role)], workers: u32) -> u32 {
    needs_of_all(&sized(known), workers, Halvings::LEAST, IN_HAND).next_multiple_of(1024)
}

/// An interface, what it is for, and the bytes of its frames.
type WithSize<'a> = (&'a Nic, Role, u32);

/// Interfaces with the bytes of their frames, should those get zero-copy whose drivers have it.
fn sized(known: &[(Nic, Role)]) -> Vec<WithSize<'_>> {
    let has_zero_copy = |nic: &Nic| xdp_features(nic.ifindex).is_ok_and(|features| features.zero_copy);
    known.iter().map(|(nic, role)| (nic, *role, frame_size(nic, has_zero_copy(nic)))).collect()
}

/// What the busiest worker needs for all of them and one more pair, with so many frames in hand for each.
fn needs_of_all(known: &[WithSize], workers: u32, halvings: Halvings, in_hand: u32) -> u32 {
    let of = |(nic, role, frame_size): &WithSize| {
        let queues: Vec<u32> = queues(nic, *role, workers).collect();
        let most = halvings.needs(*role, &queues, workers).into_iter().max().unwrap_or(0);
        units(most + in_hand, *frame_size)
    };
    known.iter().map(of).fold(halvings.pair() + IN_HAND, u32::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ingress(halvings: Halvings) -> u32 {
        halvings.needs(Role::Ingress, &[0], 1)[0]
    }

    #[test]
    fn the_first_interfaces_get_full_rings() {
        let budget = Budget { limit: auto_limit(1), used: 0 };
        assert!(budget.limit > GENEROUS, "this machine has {} frames", budget.limit);
        assert_eq!(budget.quota(ingress), Halvings::FULL);
    }

    #[test]
    fn hundreds_of_interfaces_fit_and_each_gets_something() {
        let mut budget = Budget { limit: 3_000_000, used: 0 };
        for number in 0..300 {
            let halvings = budget.quota(ingress);
            let frames = ingress(halvings);
            assert!(frames >= 768, "interface {number}");
            budget.used += frames;
        }
        assert!(budget.used < 2 * GENEROUS, "{budget:?}");
    }

    #[test]
    fn a_umem_leaves_room_for_others_within_the_limit() {
        let needs = ingress(Halvings::FULL);
        let full = |expected, left, size| umem_frames(needs, Role::Ingress, Halvings::FULL, expected, left, size);
        let pair = Halvings::FULL.pair();
        assert_eq!(full(0, u32::MAX, 2048), Some(2 * pair + IN_HAND));
        assert_eq!(full(40_000, u32::MAX, 2048), Some(needs + 40_000 + IN_HAND));
        assert_eq!(full(u32::MAX, u32::MAX, 2048), Some(7 * needs + IN_HAND));
        assert_eq!(full(0, 12_000, 2048), Some(12_000));
        assert_eq!(full(0, 11_000, 2048), None);
        assert_eq!(full(0, 22_000, 4096), None, "each counts as two");
        let least = umem_frames(768, Role::Ingress, Halvings::LEAST, 0, u32::MAX, 2048);
        assert_eq!(least, Some(MIN_UMEM));
    }
}
