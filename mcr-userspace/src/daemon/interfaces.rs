//! Interfaces with sockets: what they were granted, and how they come to be attached.

use std::{collections::BTreeSet, io};

use anyhow::{Context, bail};
use mcr_common::limits::MAX_SOCKETS;

use super::fleet::{Fleet, IN_HAND, Plan, answers, wait_for};
use crate::{
    config::Mode,
    forward::{mailbox::Command, plan::EgressFacts, rule::InterfaceId},
    kernel::{
        nic::Nic,
        program::{Attachment, Program},
    },
    xsk::{
        port::{Bind, Port, Quota},
        umem::{FILL_RING, Memory},
    },
};

/// Frames of a queue that only sends: with zero-copy the host's own packets draw on its fill ring.
const EGRESS_FILL: u32 = 512;
/// Frames under way on one egress queue.
const EGRESS_SEND: u32 = 2048;
/// The fewest frames worth receiving into.
const LEAST_FILL: u32 = 512;
/// Bytes of an Ethernet header with a tag.
const ETHERNET: u32 = 18;

/// What an interface is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Rules match on it: every queue has a socket.
    Ingress,
    /// Rules send to it: each worker has its own queue of it.
    Egress,
}

/// An interface with sockets.
#[derive(Debug)]
pub struct Interface {
    /// As it was when it was attached.
    pub nic: Nic,
    /// How the program is attached.
    pub attachment: Attachment,
    /// Whether its sockets are zero-copy.
    pub zero_copy: bool,
    /// Why it got less than was asked for; empty where it did not.
    pub reason: String,
    /// Index of its queue 0 in the program's map of sockets.
    pub xsk_base: u32,
    /// Indices from there on that are its own.
    pub span: u32,
    /// Why it forwards nothing any more; empty while it does.
    pub lost: String,
    is_ingress: bool,
    bound: BTreeSet<u32>,
}

/// All interfaces with sockets; their position is their [`InterfaceId`].
#[derive(Debug, Default)]
pub struct Interfaces {
    list: Vec<Interface>,
    next_base: u32,
}

impl Interfaces {
    /// The interface of this name.
    pub fn find(&self, name: &str) -> Option<(InterfaceId, &Interface)> {
        self.list.iter().enumerate().find(|(_, interface)| interface.nic.name == name)
    }

    /// All, in the order in which they were attached.
    pub fn iter(&self) -> impl Iterator<Item = &Interface> {
        self.list.iter()
    }

    /// Whether `nic` has all sockets that `role` needs.
    pub fn serves(&self, name: &str, role: Role, workers: u32) -> bool {
        self.find(name).is_some_and(|(_, interface)| {
            (role == Role::Egress || interface.is_ingress)
                && queues(&interface.nic, role, workers).all(|queue| interface.bound.contains(&queue))
        })
    }

    /// What can be refused before anything is touched.
    pub fn check(&self, nic: &Nic, role: Role, mode: Mode, plan: &Plan) -> anyhow::Result<()> {
        if let Some((_, known)) = self.find(&nic.name)
            && known.nic.ifindex != nic.ifindex
        {
            bail!("{}: it was deleted and made again, and mcrd still holds the old one; restart mcrd", nic.name);
        }
        check(nic, role, mode, plan)
    }

    /// Attaches the program and binds the sockets that `role` needs and that are not there yet.
    pub fn attach(
        &mut self,
        nic: &Nic,
        role: Role,
        mode: Mode,
        program: &mut Program,
        fleet: &mut Fleet,
    ) -> anyhow::Result<()> {
        let workers = fleet.plan.workers;
        let id = match self.find(&nic.name) {
            Some((id, _)) => id,
            None => self.add(nic, mode, program, fleet)?,
        };
        let wanted: Vec<u32> =
            queues(nic, role, workers).filter(|queue| !self.list[id].bound.contains(queue)).collect();
        let opened = open(nic, role, &wanted, fleet);
        let opened = match opened {
            Ok(opened) => opened,
            Err(error) => {
                self.forget_if_unused(id, program);
                return Err(error);
            }
        };
        let interface = &mut self.list[id];
        if let Some((_, _, port)) = opened.first() {
            interface.zero_copy = port.is_zero_copy();
        }
        let fds: Vec<(u32, i32)> = opened.iter().map(|(_, queue, port)| (*queue, port.fd())).collect();
        hand_over(id, nic, role, opened, fleet);
        interface.is_ingress |= role == Role::Ingress;
        interface.bound.extend(&wanted);
        for queue in &wanted {
            log::info!("{}", super::report::queue_line(interface, *queue, workers));
        }
        // Only now: the kernel finds the fill rings full.
        for (queue, fd) in fds {
            program
                .set_socket(interface.xsk_base + queue, &fd)
                .with_context(|| format!("{}: queue {queue}: entering its socket", nic.name))?;
        }
        Ok(())
    }

    fn add(&mut self, nic: &Nic, mode: Mode, program: &mut Program, fleet: &Fleet) -> anyhow::Result<InterfaceId> {
        // Room for queues that may be added while it is attached.
        let span = nic.rx_queues.max(nic.tx_queues).next_power_of_two().max(16);
        if self.next_base + span > MAX_SOCKETS {
            bail!(
                "{}: {MAX_SOCKETS} queues over all interfaces are the limit; restart mcrd with fewer interfaces",
                nic.name
            );
        }
        let (attachment, mut reason) = attach_program(nic, mode, program)?;
        if !fleet.plan.zero_copy && reason.is_empty() && mode == Mode::Auto {
            reason = copy_reason(nic);
        }
        let interface = Interface {
            nic: nic.clone(),
            attachment,
            zero_copy: false,
            reason,
            xsk_base: self.next_base,
            span,
            lost: String::new(),
            is_ingress: false,
            bound: BTreeSet::new(),
        };
        self.list.push(interface);
        self.next_base += span;
        Ok(self.list.len() - 1)
    }

    /// Takes back an interface, just added, that got no socket.
    fn forget_if_unused(&mut self, id: InterfaceId, program: &mut Program) {
        if id + 1 == self.list.len() && self.list[id].bound.is_empty() {
            let interface = self.list.remove(id);
            self.next_base = interface.xsk_base;
            if let Err(error) = program.detach(interface.nic.ifindex) {
                log::warn!("{}: detaching: {error}", interface.nic.name);
            }
        }
    }

    /// Looks at each interface again: outputs learn of a new address, MAC or MTU, and one that is gone is said to be.
    pub fn refresh(&mut self, fleet: &Fleet) {
        for (id, interface) in self.list.iter_mut().enumerate() {
            let name = interface.nic.name.clone();
            let lost = match Nic::read(&name) {
                Ok(now) if now.ifindex == interface.nic.ifindex => {
                    if facts(&now, fleet.plan.frame_size) != facts(&interface.nic, fleet.plan.frame_size) {
                        log::info!("{name}: its address, MAC or MTU has changed");
                        for handle in &fleet.handles {
                            handle.post.send(Command::Update { id, facts: facts(&now, fleet.plan.frame_size) });
                        }
                    }
                    (interface.nic.mac, interface.nic.address, interface.nic.mtu) = (now.mac, now.address, now.mtu);
                    String::new()
                }
                Ok(_) => format!("{name} was deleted and made again; restart mcrd to use it"),
                Err(error) => format!("{name} is gone: {error}; restart mcrd once it is back"),
            };
            if lost != interface.lost {
                if !lost.is_empty() {
                    log::warn!("{lost}");
                }
                interface.lost = lost;
            }
        }
    }

    /// Detaches the program from all of them: nothing is steered from then on.
    pub fn detach_all(&self, program: &mut Program) {
        for interface in &self.list {
            if let Err(error) = program.detach(interface.nic.ifindex) {
                // A deleted interface took its program along.
                log::debug!("{}: detaching: {error}", interface.nic.name);
            }
        }
    }
}

/// The queues of `nic` that need a socket.
fn queues(nic: &Nic, role: Role, workers: u32) -> impl Iterator<Item = u32> + use<> {
    match role {
        Role::Ingress => 0..nic.rx_queues,
        Role::Egress => 0..workers,
    }
}

fn check(nic: &Nic, role: Role, mode: Mode, plan: &Plan) -> anyhow::Result<()> {
    let Plan { workers, frame_size, .. } = *plan;
    if mode == Mode::Zerocopy && !plan.zero_copy {
        bail!(
            "{}: mode zerocopy, but the workers' frames are in copy mode since mcrd started; restart it with --mode zerocopy",
            nic.name
        );
    }
    if matches!(mode, Mode::Copy | Mode::Skb) && plan.zero_copy {
        bail!(
            "{}: its mode allows no zero-copy, which the workers' frames have since mcrd started; restart it with --mode copy",
            nic.name
        );
    }
    if nic.driver == "802.1Q VLAN Support" {
        bail!(
            "{}: a VLAN interface has no packets of its own for XDP; use the interface below it, with `vlan` in the rule",
            nic.name
        );
    }
    if role == Role::Egress && nic.tx_queues < workers {
        bail!(
            "{name}: {} transmit queues are fewer than the {workers} workers; `ethtool -L {name} combined {workers}`, or restart mcrd with --workers {}",
            nic.tx_queues,
            nic.tx_queues,
            name = nic.name
        );
    }
    let largest = Memory::packet_capacity(frame_size) - ETHERNET;
    if nic.mtu > largest {
        bail!(
            "{name}: its MTU of {} is above the {largest} bytes that a frame of {frame_size} holds; `ip link set {name} mtu {largest}`{}",
            nic.mtu,
            if frame_size < 4096 { ", or restart mcrd while the interface is there" } else { "" },
            name = nic.name
        );
    }
    Ok(())
}

/// Attaches the program in the best way that `mode` allows; why it is not the best of all, where it is not.
fn attach_program(nic: &Nic, mode: Mode, program: &mut Program) -> anyhow::Result<(Attachment, String)> {
    let name = &nic.name;
    let explain = |error: io::Error| match error.raw_os_error() {
        Some(libc::EBUSY | libc::EEXIST) => anyhow::anyhow!(
            "{name}: another XDP program is attached, perhaps another mcrd's; see it with `ip link show {name}`, and end its owner first"
        ),
        Some(libc::EPERM) => {
            anyhow::anyhow!("{name}: attaching an XDP program needs root, or CAP_NET_ADMIN and CAP_BPF")
        }
        Some(libc::ERANGE | libc::EOPNOTSUPP | libc::EINVAL) => {
            anyhow::anyhow!("{name}: its driver ({}) refuses XDP: {error}", nic.driver)
        }
        _ => anyhow::anyhow!("{name}: attaching the XDP program: {error}"),
    };
    if mode == Mode::Skb {
        program.attach(nic.ifindex, Attachment::Skb).map_err(explain)?;
        return Ok((Attachment::Skb, String::new()));
    }
    match program.attach(nic.ifindex, Attachment::Driver) {
        Ok(()) => Ok((Attachment::Driver, String::new())),
        Err(error) if mode == Mode::Zerocopy => Err(explain(error)),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EBUSY | libc::EEXIST | libc::EPERM)) => {
            Err(explain(error))
        }
        Err(error) => {
            program.attach(nic.ifindex, Attachment::Skb).map_err(explain)?;
            let driver = if nic.driver.is_empty() { "its driver" } else { &nic.driver };
            Ok((Attachment::Skb, format!("{driver} has no native XDP here: {error}")))
        }
    }
}

/// Why an interface is in copy mode though zero-copy was welcome.
fn copy_reason(nic: &Nic) -> String {
    match zero_copy_refusal(nic) {
        Some(error) => format!("{} grants no zero-copy: {error}", nic.driver),
        None => "another interface grants no zero-copy, and frames are shared with it".to_owned(),
    }
}

/// Asks the driver for zero-copy on a UMEM made for the question; why it refuses, if it does.
fn zero_copy_refusal(nic: &Nic) -> Option<String> {
    let quota = Quota { fill: 0, send: 0 };
    let asked = Memory::new(64, 2048).and_then(|(memory, _pool)| {
        Port::open(&memory, &nic.name, 0, Bind::ZeroCopy, quota).map_err(anyhow::Error::from)
    });
    match asked {
        Ok(port) if port.is_zero_copy() => None,
        Ok(_) => Some("granted a copy instead".to_owned()),
        Err(error) => Some(format!("{:#}", error)),
    }
}

/// Opens sockets on these queues, each at its worker. What is left of a worker's frames is shared among them.
fn open(nic: &Nic, role: Role, wanted: &[u32], fleet: &mut Fleet) -> anyhow::Result<Vec<(usize, u32, Port)>> {
    let mut opened: Vec<(usize, u32, Port)> = Vec::new();
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
fn hand_over(id: InterfaceId, nic: &Nic, role: Role, opened: Vec<(usize, u32, Port)>, fleet: &mut Fleet) {
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
        handle.post.send(Command::Attach {
            id,
            ifindex: nic.ifindex,
            facts: facts(nic, fleet.plan.frame_size),
            partial_checksums: nic.leaves_partial_checksums(),
            fill,
            ports,
            done: done.clone(),
        });
    }
    drop(done);
    wait_for(&answer, fleet.handles.len());
}

/// What outputs need to know of an interface. No packet is larger than a frame with room for a tag, whatever the MTU says.
pub fn facts(nic: &Nic, frame_size: u32) -> EgressFacts {
    let mtu = nic.mtu.min(Memory::packet_capacity(frame_size) - ETHERNET);
    EgressFacts { mac: nic.mac, address: nic.address, mtu }
}

/// How workers are made for the interfaces known at start, with a reserve for one more of each kind.
pub fn plan_fleet(
    workers: u32,
    frames: Option<u32>,
    known: &[(Nic, Role, Mode)],
    profile: crate::config::Profile,
) -> anyhow::Result<Plan> {
    let largest = known.iter().map(|(nic, ..)| nic.mtu).max().unwrap_or(0);
    let frame_size = if largest > Memory::packet_capacity(2048) - ETHERNET { 4096 } else { 2048 };
    let mut need = IN_HAND + FILL_RING + EGRESS_SEND + EGRESS_FILL;
    for (nic, role, _) in known {
        need += match role {
            Role::Ingress => nic.rx_queues.div_ceil(workers) * FILL_RING,
            Role::Egress => EGRESS_FILL,
        } + EGRESS_SEND;
    }
    let demanded = known.iter().any(|(.., mode)| *mode == Mode::Zerocopy);
    let refusal = known.iter().find_map(|(nic, _, mode)| match mode {
        Mode::Copy | Mode::Skb => Some((nic, "its mode is set so".to_owned())),
        Mode::Auto | Mode::Zerocopy => zero_copy_refusal(nic).map(|why| (nic, why)),
    });
    if let (true, Some((nic, why))) = (demanded, &refusal) {
        bail!("--mode zerocopy: {} ({}) grants no zero-copy: {why}", nic.name, nic.driver);
    }
    let zero_copy = refusal.is_none() && !known.is_empty();
    Ok(Plan { workers, frames: frames.unwrap_or(need), frame_size, zero_copy, profile })
}
