//! The sockets of an interface: opened with frames of their own, and handed to the workers.

use std::io;

use anyhow::{Context, anyhow};

use super::{
    fit::largest_mtu,
    fleet::{Fleet, answers, wait_for},
    interfaces::Role,
    stock::Stock,
};
use crate::{
    config::Profile,
    forward::{
        mailbox::{Attach, Command},
        plan::EgressFacts,
        rule::InterfaceId,
    },
    kernel::{descriptors, ifreq::name_of, nic::Nic},
    xsk::{
        port::{Bind, Port, Quota},
        umem::FILL_RING,
    },
};

/// Frames of a queue that only sends: with zero-copy the host's own packets draw on its fill ring.
pub const EGRESS_FILL: u32 = 512;
/// Frames under way on one egress queue.
pub const EGRESS_SEND: u32 = 2048;
/// The fewest frames worth receiving into.
const LEAST_FILL: u32 = 512;

/// A socket that was opened, its queue, and the worker that it is for.
pub type Opened = (usize, u32, Port);

/// The queues of `nic` that need a socket.
pub fn queues(nic: &Nic, role: Role, workers: u32) -> impl Iterator<Item = u32> + use<> {
    match role {
        Role::Ingress => 0..nic.rx_queues,
        Role::Egress => 0..workers,
    }
}

/// Frames of a worker's share of a stock that are for an interface's sockets, to be given back with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promise {
    /// The stock's number.
    pub stock: usize,
    /// The worker's.
    pub worker: usize,
    /// How many.
    pub frames: u32,
    /// The sockets that were opened with them.
    pub sockets: u32,
}

/// Opens sockets on these queues, with memory for their kind; the number of the stock that it is from, and what they were promised.
///
/// # Errors
/// Nothing is left behind, and a UMEM made for them is gone with them.
pub fn open(
    nic: &Nic,
    role: Role,
    wanted: &[u32],
    zero_copy: bool,
    fleet: &mut Fleet,
) -> anyhow::Result<(usize, Vec<Opened>, Vec<Promise>)> {
    let promises = |stock, opened: &[Opened]| {
        let of =
            |(worker, _, port): &Opened| Promise { stock, worker: *worker, frames: port.quota().frames(), sockets: 1 };
        opened.iter().map(of).collect()
    };
    if let Some(number) = fleet.open_stock(zero_copy) {
        let stock = &mut fleet.stocks[number];
        match open_with(nic, role, wanted, stock) {
            // The interface is gone whose socket held it. What is bound stays; who comes later has memory of its own.
            Err(Refused { errno: Some(libc::EBADF), .. }) => stock.is_open = false,
            Err(refused) => return Err(refused.error),
            Ok(opened) => {
                let promised = promises(number, &opened);
                return Ok((number, opened, promised));
            }
        }
    }
    let number = fleet.next_stock();
    let id = u8::try_from(number).context("too many interfaces hold zero-copy memory of their own; restart mcrd")?;
    let mut stock = Stock::new(id, zero_copy, &fleet.plan)?;
    let opened = open_with(nic, role, wanted, &mut stock).map_err(|refused| refused.error)?;
    if number > 0 {
        let why = if fleet.stocks.iter().any(|other| other.zero_copy == zero_copy) {
            "the interface that held the others' is gone"
        } else {
            "none may be both zero-copy and copied"
        };
        log::info!("{}: frames of its own, since {why}: packets to or from the others are copied once", nic.name);
    }
    fleet.add_stock(number, stock);
    let promised = promises(number, &opened);
    Ok((number, opened, promised))
}

/// Why a socket could not be opened.
struct Refused {
    errno: Option<i32>,
    error: anyhow::Error,
}

/// Opens sockets on these queues, each at its worker. What is left of a worker's frames is shared among them.
fn open_with(nic: &Nic, role: Role, wanted: &[u32], stock: &mut Stock) -> Result<Vec<Opened>, Refused> {
    let workers = stock.shares.len() as u32;
    let mut opened: Vec<Opened> = Vec::new();
    let mut promised = Vec::new();
    let result = wanted.iter().enumerate().try_for_each(|(at, &queue)| {
        let worker = (queue % workers) as usize;
        let to_come = wanted[at..].iter().filter(|other| **other % workers == worker as u32).count() as u32;
        let is_first = opened.iter().all(|(other, ..)| *other != worker);
        let share = &mut stock.shares[worker];
        // A worker sends on the queue of its own number, whatever the role now: it may become an egress later.
        let send = if queue == worker as u32 { EGRESS_SEND } else { 0 };
        let fill = share.unpromised.saturating_sub(send) / to_come;
        let fill = match role {
            Role::Ingress => fill.min(FILL_RING),
            Role::Egress => fill.min(EGRESS_FILL),
        };
        if fill < LEAST_FILL {
            let error = anyhow!("{}: no frames are left for it; raise [limits] frames and restart mcrd", nic.name);
            return Err(Refused { errno: None, error });
        }
        share.unpromised -= fill + send;
        promised.push((worker, fill + send));
        // The first socket of a zero-copy UMEM says what it is; all others share it.
        let is_owner = stock.zero_copy && share.sockets == 0 && is_first;
        let bind = if is_owner { Bind::ZeroCopy } else { Bind::Shared };
        let port = Port::open(&share.memory, &nic.name, queue, bind, Quota { fill, send })
            // It is bound by name, and the name may have gone to another interface.
            .and_then(|port| (name_of(nic.ifindex)? == nic.name).then_some(port).ok_or_else(gone))
            .map_err(|error| Refused { errno: error.raw_os_error(), error: explain(nic, queue, error) })?;
        opened.push((worker, queue, port));
        Ok(())
    });
    match result {
        Ok(()) => {
            opened.iter().for_each(|(worker, ..)| stock.shares[*worker].sockets += 1);
            Ok(opened)
        }
        Err(refused) => {
            promised.iter().for_each(|(worker, frames)| stock.shares[*worker].unpromised += frames);
            Err(refused)
        }
    }
}

fn gone() -> io::Error {
    io::Error::from_raw_os_error(libc::ENODEV)
}

/// What a failed bind means to the user.
fn explain(nic: &Nic, queue: u32, error: io::Error) -> anyhow::Error {
    let name = &nic.name;
    if let Some(why) = descriptors::explain(&error) {
        return anyhow!("{name}: queue {queue}: binding an AF_XDP socket: {why}");
    }
    match error.raw_os_error() {
        Some(libc::EBUSY) => {
            anyhow!("{name}: queue {queue} has another program's AF_XDP socket; end its owner first")
        }
        Some(libc::EPERM) => anyhow!("{name}: AF_XDP sockets need root, or the capability CAP_NET_RAW"),
        Some(libc::EOPNOTSUPP | libc::EINVAL) => anyhow!(
            "{name}: queue {queue}: driver {} refuses the socket ({error}); restart mcrd with --mode copy",
            nic.driver
        ),
        _ => anyhow!("{name}: queue {queue}: binding an AF_XDP socket: {error}"),
    }
}

/// Gives each worker its sockets, which are of this stock, and waits until their fill rings are full. What sockets that it had before
/// were promised beyond what they had.
pub fn hand_over(
    id: InterfaceId,
    nic: &Nic,
    role: Role,
    stock: usize,
    opened: Vec<Opened>,
    fleet: &mut Fleet,
) -> Vec<Promise> {
    let mut shares: Vec<Vec<(u32, Port)>> = fleet.handles.iter().map(|_| Vec::new()).collect();
    let may_poll = role == Role::Ingress && fleet.plan.profile == Profile::LowLatency;
    let mut polled = false;
    for (worker, queue, mut port) in opened {
        polled |= may_poll && port.prefer_busy_poll();
        shares[worker].push((queue, port));
    }
    if polled {
        log::info!("{}: workers poll its driver until they send to it (SO_PREFER_BUSY_POLL)", nic.name);
    }
    let (done, answer) = answers();
    let mut promises = Vec::new();
    let memory = &mut fleet.stocks[stock].shares;
    for (worker, ((handle, memory), ports)) in fleet.handles.iter().zip(memory).zip(shares).enumerate() {
        let mut fill = EGRESS_FILL;
        if role == Role::Ingress {
            // A socket that only sent until now receives too.
            let more = memory.unpromised.min(FILL_RING - EGRESS_FILL);
            if ports.iter().all(|(queue, _)| *queue != worker as u32) && (worker as u32) < nic.rx_queues {
                memory.unpromised -= more;
                fill += more;
                promises.push(Promise { stock, worker, frames: more, sockets: 0 });
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
    promises
}

/// What outputs need to know of an interface. No packet is larger than a frame with room for a tag, whatever the MTU says.
pub fn facts(nic: &Nic, frame_size: u32) -> EgressFacts {
    let mtu = nic.mtu.min(largest_mtu(frame_size));
    EgressFacts { mac: nic.mac, address: nic.address, mtu }
}
