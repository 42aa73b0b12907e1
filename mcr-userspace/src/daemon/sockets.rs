//! The sockets of an interface: opened with frames of their own, and handed to the workers.

use std::io;

use anyhow::bail;

use super::{
    fleet::{Fleet, answers, wait_for},
    interfaces::Role,
};
use crate::{
    forward::{
        mailbox::{Attach, Command},
        plan::EgressFacts,
        rule::InterfaceId,
    },
    kernel::nic::Nic,
    xsk::{
        port::{Bind, Port, Quota},
        umem::{FILL_RING, Memory},
    },
};

/// Frames of a queue that only sends: with zero-copy the host's own packets draw on its fill ring.
pub const EGRESS_FILL: u32 = 512;
/// Frames under way on one egress queue.
pub const EGRESS_SEND: u32 = 2048;
/// The fewest frames worth receiving into.
const LEAST_FILL: u32 = 512;
/// Bytes of an Ethernet header with a tag.
const ETHERNET: u32 = 18;

/// A socket that was opened, its queue, and the worker that it is for.
pub type Opened = (usize, u32, Port);

/// The queues of `nic` that need a socket.
pub fn queues(nic: &Nic, role: Role, workers: u32) -> impl Iterator<Item = u32> + use<> {
    match role {
        Role::Ingress => 0..nic.rx_queues,
        Role::Egress => 0..workers,
    }
}

/// Opens sockets on these queues, each at its worker. What is left of a worker's frames is shared among them.
pub fn open(nic: &Nic, role: Role, wanted: &[u32], fleet: &mut Fleet) -> anyhow::Result<Vec<Opened>> {
    let mut opened: Vec<Opened> = Vec::new();
    let mut promised = Vec::new();
    let result = wanted.iter().enumerate().try_for_each(|(at, &queue)| {
        let worker = (queue % fleet.plan.workers) as usize;
        let to_come = wanted[at..].iter().filter(|other| **other % fleet.plan.workers == worker as u32).count() as u32;
        let is_first = opened.iter().all(|(other, ..)| *other != worker);
        let handle = &mut fleet.handles[worker];
        // A worker sends on the queue of its own number, whatever the role now: it may become an egress later.
        let send = if queue == worker as u32 { EGRESS_SEND } else { 0 };
        let share = handle.unpromised.saturating_sub(send) / to_come;
        let fill = match role {
            Role::Ingress => share.min(FILL_RING),
            Role::Egress => share.min(EGRESS_FILL),
        };
        if fill < LEAST_FILL {
            bail!("{}: no frames are left for it; raise [limits] frames and restart mcrd", nic.name);
        }
        handle.unpromised -= fill + send;
        promised.push((worker, fill + send));
        // The first socket of a zero-copy UMEM says what it is; all others share it.
        let is_owner = fleet.plan.zero_copy && handle.sockets == 0 && is_first;
        let bind = if is_owner { Bind::ZeroCopy } else { Bind::Shared };
        let port = Port::open(&handle.memory, &nic.name, queue, bind, Quota { fill, send })
            .map_err(|error| refused(nic, queue, error))?;
        opened.push((worker, queue, port));
        Ok(())
    });
    if let Err(error) = result {
        for (worker, frames) in promised {
            fleet.handles[worker].unpromised += frames;
        }
        return Err(error);
    }
    Ok(opened)
}

/// What a failed bind means to the user.
fn refused(nic: &Nic, queue: u32, error: io::Error) -> anyhow::Error {
    let name = &nic.name;
    match error.raw_os_error() {
        Some(libc::EBUSY) => {
            anyhow::anyhow!("{name}: queue {queue} has another program's AF_XDP socket; end its owner first")
        }
        Some(libc::EPERM) => anyhow::anyhow!("{name}: AF_XDP sockets need root, or the capability CAP_NET_RAW"),
        Some(libc::EOPNOTSUPP | libc::EINVAL) => anyhow::anyhow!(
            "{name}: queue {queue}: driver {} refuses the socket ({error}); restart mcrd with --mode copy",
            nic.driver
        ),
        _ => anyhow::anyhow!("{name}: queue {queue}: binding an AF_XDP socket: {error}"),
    }
}

/// Gives each worker its sockets, and waits until their fill rings are full.
pub fn hand_over(id: InterfaceId, nic: &Nic, role: Role, opened: Vec<Opened>, fleet: &mut Fleet) {
    let mut shares: Vec<Vec<(u32, Port)>> = fleet.handles.iter().map(|_| Vec::new()).collect();
    for (worker, queue, port) in opened {
        fleet.handles[worker].sockets += 1;
        shares[worker].push((queue, port));
    }
    let (done, answer) = answers();
    for (worker, (handle, ports)) in fleet.handles.iter_mut().zip(shares).enumerate() {
        let mut fill = EGRESS_FILL;
        if role == Role::Ingress {
            let own = (0..nic.rx_queues).filter(|queue| queue % fleet.plan.workers == worker as u32);
            handle.rx_queues.extend(own);
            // A socket that only sent until now receives too.
            let more = handle.unpromised.min(FILL_RING - EGRESS_FILL);
            if ports.iter().all(|(queue, _)| *queue != worker as u32) && (worker as u32) < nic.rx_queues {
                handle.unpromised -= more;
                fill += more;
            }
        }
        handle.post.send(Command::Attach(Attach {
            id,
            ifindex: nic.ifindex,
            facts: facts(nic, fleet.plan.frame_size),
            partial_checksums: nic.leaves_partial_checksums(),
            fill,
            ports,
            done: done.clone(),
        }));
    }
    drop(done);
    wait_for(&answer, fleet.handles.len());
}

/// What outputs need to know of an interface. No packet is larger than a frame with room for a tag, whatever the MTU says.
pub fn facts(nic: &Nic, frame_size: u32) -> EgressFacts {
    let mtu = nic.mtu.min(largest_mtu(frame_size));
    EgressFacts { mac: nic.mac, address: nic.address, mtu }
}

/// The largest MTU whose packets fit frames of this size, tag and all.
pub fn largest_mtu(frame_size: u32) -> u32 {
    Memory::packet_capacity(frame_size) - ETHERNET
}
