//! Interfaces with sockets: what they were granted, and how they come to be attached.

use std::collections::BTreeSet;

use anyhow::{Context, bail};
use mcr_common::limits::MAX_SOCKETS;

use super::{
    fit::Plan,
    fleet::Fleet,
    modes::grant,
    report::queue_line,
    sockets::{facts, hand_over, open, queues},
};
use crate::{
    config::Mode,
    forward::{mailbox::Command, rule::InterfaceId},
    kernel::{
        nic::Nic,
        program::{Attachment, Program},
    },
};

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
    /// Whether its sockets are zero-copy: at first whether they may be, then what the kernel says of them.
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

impl Interface {
    /// Copies from now on, because of `error`.
    fn settle_for_copy(&mut self, error: &anyhow::Error) {
        self.zero_copy = false;
        self.reason = format!("{error:#}");
    }
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
    pub fn check(&self, nic: &Nic, role: Role, plan: &Plan) -> anyhow::Result<()> {
        if let Some((_, known)) = self.find(&nic.name)
            && known.nic.ifindex != nic.ifindex
        {
            bail!("{}: it was deleted and made again, and mcrd still holds the old one; restart mcrd", nic.name);
        }
        plan.check(nic, role)
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
            None => self.add(nic, mode, program)?,
        };
        let nic = &with_program(nic);
        let wanted: Vec<u32> =
            queues(nic, role, workers).filter(|queue| !self.list[id].bound.contains(queue)).collect();
        let interface = &mut self.list[id];
        let mut opened = open(nic, role, &wanted, interface.zero_copy, fleet);
        if let Err(error) = &opened
            && mode == Mode::Auto
            && interface.zero_copy
            && interface.bound.is_empty()
        {
            interface.settle_for_copy(error);
            opened = open(nic, role, &wanted, false, fleet);
        }
        let (stock, opened) = match opened {
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
        hand_over(id, nic, role, stock, opened, fleet);
        interface.is_ingress |= role == Role::Ingress;
        interface.bound.extend(&wanted);
        for queue in &wanted {
            log::info!("{}", queue_line(interface, *queue, workers));
        }
        // Only now: the kernel finds the fill rings full.
        for (queue, fd) in fds {
            program
                .set_socket(interface.xsk_base + queue, &fd)
                .with_context(|| format!("{}: queue {queue}: entering its socket", nic.name))?;
        }
        Ok(())
    }

    fn add(&mut self, nic: &Nic, mode: Mode, program: &mut Program) -> anyhow::Result<InterfaceId> {
        // Room for queues that may be added while it is attached.
        let span = nic.xdp_rx_queues.max(nic.tx_queues).next_power_of_two().max(16);
        if self.next_base + span > MAX_SOCKETS {
            bail!(
                "{}: {MAX_SOCKETS} queues over all interfaces are the limit; restart mcrd with fewer interfaces",
                nic.name
            );
        }
        let granted = grant(nic, mode, program)?;
        if granted.zero_copy && !granted.reason.is_empty() {
            log::warn!("{}: {}", nic.name, granted.reason);
        }
        let interface = Interface {
            nic: with_program(nic),
            attachment: granted.attachment,
            zero_copy: granted.zero_copy,
            reason: granted.reason,
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

/// The interface as it is with the program attached: virtio_net has more queues then, and receives on them too.
fn with_program(nic: &Nic) -> Nic {
    let now = Nic::read(&nic.name).ok().filter(|now| now.ifindex == nic.ifindex);
    now.unwrap_or_else(|| nic.clone())
}
