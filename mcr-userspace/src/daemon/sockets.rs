//! The sockets of an interface: opened with frames of their own, and handed to the workers.

use std::io;

use anyhow::{Context, anyhow};

use super::{
    budget::{IN_HAND, partner, umem_frames, units},
    fit::largest_mtu,
    fleet::{Fleet, answers, wait_for},
    interfaces::Role,
    quota::{EGRESS_FILL, Halvings},
    retry::{MayPass, lacks_memory},
    stock::Stock,
};
use crate::{
    forward::{
        mailbox::{Attach, Command},
        plan::EgressFacts,
        rule::InterfaceId,
    },
    kernel::{descriptors, ifreq::name_of, nic::Nic},
    xsk::port::{Bind, Port, Quota},
};

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
    /// Frames for receiving.
    pub rx: u32,
    /// Frames for sending.
    pub tx: u32,
    /// The sockets that were opened with them.
    pub sockets: u32,
}

/// Opens sockets on these queues, zero-copy or not, with frames of this size; and what they were promised.
///
/// The quota is as large as the memory allows: it is taken from a stock that has room, or from a new one, and becomes smaller as the
/// limit comes near.
///
/// # Errors
/// Nothing is left behind, and a UMEM made for them is gone with them.
pub fn open(
    nic: &Nic,
    role: Role,
    wanted: &[u32],
    (zero_copy, size): (bool, u32),
    fleet: &mut Fleet,
) -> anyhow::Result<(Vec<Opened>, Vec<Promise>)> {
    let workers = fleet.plan.workers;
    let needs = |halvings: Halvings| halvings.needs(role, wanted, workers);
    let most = |halvings| needs(halvings).into_iter().max().unwrap_or(0);
    let first = match &mut fleet.known {
        Some(known) => {
            known.expected = known.expected.saturating_sub(units(most(known.quota) + IN_HAND / 4, size));
            known.quota
        }
        None => fleet.budget().quota(|quota| units(most(quota), size)),
    };
    let mut no_memory = None;
    for quota in first.and_smaller() {
        // Where the interface's partner finds room too, or else in a UMEM of its own, or else wherever it has room itself.
        let room_for_both: Vec<u32> = needs(quota).into_iter().map(|need| need + partner(role, quota)).collect();
        if let Some(opened) = join(nic, role, wanted, (zero_copy, size), quota, &room_for_both, fleet)? {
            return Ok(opened);
        }
        let expected = fleet.known.map_or(0, |known| known.expected);
        let left = fleet.budget().left();
        if let Some(frames) = umem_frames(most(quota), role, quota, expected, left, size) {
            match open_with_new(nic, role, wanted, (zero_copy, size), quota, frames, fleet) {
                Ok(opened) => return Ok(opened),
                // There may be memory for less.
                Err(error) if lacks_memory(&error) => no_memory = Some(error),
                Err(error) => return Err(error),
            }
        }
        if let Some(opened) = join(nic, role, wanted, (zero_copy, size), quota, &needs(quota), fleet)? {
            return Ok(opened);
        }
    }
    Err(no_memory.unwrap_or_else(|| no_frames(nic, most(Halvings::LEAST), size, fleet)))
}

/// Opens sockets with frames of a stock that has so much room at each worker; `None` where there is none.
fn join(
    nic: &Nic,
    role: Role,
    wanted: &[u32],
    (zero_copy, size): (bool, u32),
    quota: Halvings,
    room: &[u32],
    fleet: &mut Fleet,
) -> anyhow::Result<Option<(Vec<Opened>, Vec<Promise>)>> {
    while let Some(number) = fleet.stock_with(zero_copy, size, room) {
        let stock = fleet.stock_mut(number).context("it was just found")?;
        match open_with(nic, role, wanted, quota, number, stock) {
            // The interface is gone whose socket held it. What is bound stays; who comes later has memory of its own.
            Err(Refused { errno: Some(libc::EBADF), .. }) => stock.is_open = false,
            Err(refused) => return Err(refused.error),
            Ok(opened) => return Ok(Some(opened)),
        }
    }
    Ok(None)
}

/// Why a socket could not be opened.
struct Refused {
    errno: Option<i32>,
    error: anyhow::Error,
}

/// The same with a new stock of so many frames, which the workers get once its sockets are bound.
fn open_with_new(
    nic: &Nic,
    role: Role,
    wanted: &[u32],
    (zero_copy, size): (bool, u32),
    quota: Halvings,
    frames: u32,
    fleet: &mut Fleet,
) -> anyhow::Result<(Vec<Opened>, Vec<Promise>)> {
    let number = fleet.next_stock();
    let id =
        u8::try_from(number).context("no more than 256 UMEMs can be told apart; name fewer interfaces in rules")?;
    let mut stock = Stock::new(id, zero_copy, frames, size, &fleet.plan)?;
    let opened = open_with(nic, role, wanted, quota, number, &mut stock).map_err(|refused| refused.error)?;
    if let Some(why) = fleet.why_another(zero_copy, size) {
        log::info!("{}: frames of its own, since {why}: packets to or from the others are copied once", nic.name);
    }
    fleet.add_stock(number, stock);
    Ok(opened)
}

/// Why there are no frames for an interface that needs so many at one worker, and which limit would do.
fn no_frames(nic: &Nic, needs: u32, frame_size: u32, fleet: &Fleet) -> anyhow::Error {
    let budget = fleet.budget();
    let more = units(needs + IN_HAND, frame_size);
    let enough = budget.used.saturating_add(more).max(fleet.enough.saturating_add(more)).next_multiple_of(1024);
    MayPass(format!(
        "{}: no frames are left for it: each worker may have {}, of which {} are in use, and it needs {more} more; set [limits] frames = {enough} and restart mcrd",
        nic.name, budget.limit, budget.used,
    ))
    .into()
}

/// Opens sockets on these queues, each at its worker, whose part of the stock has frames enough for this quota.
fn open_with(
    nic: &Nic,
    role: Role,
    wanted: &[u32],
    quota: Halvings,
    number: usize,
    stock: &mut Stock,
) -> Result<(Vec<Opened>, Vec<Promise>), Refused> {
    let workers = stock.shares.len() as u32;
    let mut opened: Vec<Opened> = Vec::new();
    let open_one = |&queue: &u32| {
        let worker = (queue % workers) as usize;
        let share = &stock.shares[worker];
        let is_first = opened.iter().all(|(other, ..)| *other != worker);
        // The first socket of a zero-copy UMEM says what it is; all others share it.
        let is_owner = stock.zero_copy && share.is_unused() && is_first;
        let bind = if is_owner { Bind::ZeroCopy } else { Bind::Shared };
        let port = Port::open(&share.memory, &nic.name, queue, bind, quota.quota(role, queue, worker as u32))
            // It is bound by name, and the name may have gone to another interface.
            .and_then(|port| (name_of(nic.ifindex)? == nic.name).then_some(port).ok_or_else(gone))
            .map_err(|error| Refused { errno: error.raw_os_error(), error: explain(nic, queue, error) })?;
        opened.push((worker, queue, port));
        Ok(())
    };
    wanted.iter().try_for_each(open_one)?;
    let promise = |(worker, _, port): &Opened| {
        let Quota { fill: rx, send: tx } = port.quota();
        let share = &mut stock.shares[*worker];
        share.unpromised = share.unpromised.saturating_sub(rx + tx);
        share.bound(nic.ifindex, 1);
        Promise { stock: number, worker: *worker, rx, tx, sockets: 1 }
    };
    let promises = opened.iter().map(promise).collect();
    Ok((opened, promises))
}

fn gone() -> io::Error {
    io::Error::from_raw_os_error(libc::ENODEV)
}

/// What a failed bind means to the user.
fn explain(nic: &Nic, queue: u32, error: io::Error) -> anyhow::Error {
    let name = &nic.name;
    if let Some(why) = descriptors::explain(&error) {
        return MayPass(format!("{name}: queue {queue}: binding an AF_XDP socket: {why}")).into();
    }
    match error.raw_os_error() {
        Some(libc::EBUSY) => {
            MayPass(format!("{name}: queue {queue} has another program's AF_XDP socket; end its owner first")).into()
        }
        Some(libc::ENOMEM | libc::ENOBUFS) => {
            anyhow::Error::from(error).context(format!("{name}: queue {queue}: binding an AF_XDP socket"))
        }
        Some(libc::EPERM) => anyhow!("{name}: AF_XDP sockets need root, or the capability CAP_NET_RAW"),
        Some(libc::EOPNOTSUPP | libc::EINVAL) => anyhow!(
            "{name}: queue {queue}: driver {} refuses the socket ({error}); restart mcrd with --mode copy",
            nic.driver
        ),
        _ => anyhow!("{name}: queue {queue}: binding an AF_XDP socket: {error}"),
    }
}

/// Gives each worker its sockets, with frames of this size, and waits until their fill rings are full. `before` are the promises of the
/// interface's other sockets; where `receives_now`, those that only sent until now receive too, and what that takes is returned.
pub fn hand_over(
    id: InterfaceId,
    nic: &Nic,
    frame_size: u32,
    opened: Vec<Opened>,
    before: &[Promise],
    receives_now: bool,
    fleet: &mut Fleet,
) -> Vec<Promise> {
    let mut shares: Vec<Vec<(u32, Port)>> = fleet.handles.iter().map(|_| Vec::new()).collect();
    let mut polled = false;
    for (worker, queue, mut port) in opened {
        let may_poll = receives_now && fleet.handles[worker].cpu.is_some();
        polled |= may_poll && port.prefer_busy_poll();
        shares[worker].push((queue, port));
    }
    if polled {
        log::info!("{}: workers poll its driver until they send to it (SO_PREFER_BUSY_POLL)", nic.name);
    }
    let (done, answer) = answers();
    let mut promises = Vec::new();
    for (worker, ports) in shares.into_iter().enumerate() {
        let more = before
            .iter()
            .find(|promise| promise.worker == worker && promise.tx > 0)
            .filter(|_| receives_now && (worker as u32) < nic.rx_queues)
            .and_then(|own| more_for_receiving(worker, *own, fleet));
        fleet.handles[worker].post.send(Command::Attach(Attach {
            id,
            ifindex: nic.ifindex,
            facts: facts(nic, frame_size),
            partial_checksums: nic.leaves_partial_checksums(),
            fill: EGRESS_FILL + more.map_or(0, |more| more.rx),
            ports,
            done: done.clone(),
        }));
        promises.extend(more);
    }
    drop(done);
    wait_for(&answer, fleet.handles.len());
    promises
}

/// Frames for a socket that was opened for sending and receives from now on, from the stock that it is of.
fn more_for_receiving(worker: usize, own: Promise, fleet: &mut Fleet) -> Option<Promise> {
    let wanted = fleet.budget().quota(|halvings| halvings.fill(Role::Ingress)).fill(Role::Ingress) - EGRESS_FILL;
    let share = fleet.stock_mut(own.stock)?.shares.get_mut(worker)?;
    let rx = wanted.min(share.unpromised);
    share.unpromised -= rx;
    Some(Promise { rx, tx: 0, sockets: 0, ..own })
}

/// What outputs need to know of an interface. No packet is larger than a frame with room for a tag, whatever the MTU says.
pub fn facts(nic: &Nic, frame_size: u32) -> EgressFacts {
    let mtu = nic.mtu.min(largest_mtu(frame_size));
    EgressFacts { mac: nic.mac, address: nic.address, mtu, ..EgressFacts::default() }
}
