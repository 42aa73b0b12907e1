//! How an interface gets the program and its sockets.

use std::{collections::BTreeMap, os::fd::RawFd, time::Instant};

use anyhow::{Context, bail};
use mcr_common::{flow::InterfaceFacts, limits::MAX_SOCKETS};

use super::{
    super::{
        fit::{Plan, frame_size},
        fleet::Fleet,
        kernel_facts::kernel_facts,
        modes::grant,
        report::queue_line,
        retry::Refusal,
        scrutiny::Scrutiny,
        sockets::{hand_over, open, queues},
    },
    Interface, Interfaces, Place, Role,
};
use crate::{
    config::Mode,
    forward::rule::InterfaceId,
    kernel::{nic::Nic, program::Program},
};

impl Interfaces {
    /// Attaches the program and binds the sockets that `role` needs and that are not there yet.
    pub fn attach(
        &mut self,
        nic: &Nic,
        role: Role,
        mode: Mode,
        program: &mut Program,
        fleet: &mut Fleet,
    ) -> anyhow::Result<()> {
        let id = self.id(&nic.name);
        let attached = self.attach_at(id, nic, role, mode, program, fleet);
        let place = self.places[id].get_or_insert_with(|| Place::new(&nic.name));
        if let Err(error) = &attached {
            place.refused = Some(Refusal::new(nic.clone(), place.refused.take(), error, Instant::now()));
            let is_idle = |interface: &Interface| interface.sockets.is_empty() && !interface.scrutiny.has_pending();
            if place.interface.as_ref().is_some_and(is_idle) {
                place.vacate(program);
            }
            if place.interface.is_none() {
                place.absent = format!("{error:#}");
            }
        } else {
            place.refused = None;
        }
        attached
    }

    fn attach_at(
        &mut self,
        id: InterfaceId,
        nic: &Nic,
        role: Role,
        mode: Mode,
        program: &mut Program,
        fleet: &mut Fleet,
    ) -> anyhow::Result<()> {
        let plan: Plan = fleet.plan;
        plan.check(nic, role)?;
        if self.find(&nic.name).is_none() {
            let added = self.add(nic, mode, program)?;
            self.places[id].get_or_insert_with(|| Place::new(&nic.name)).interface = Some(added);
        }
        let interface = self.place_mut(id).and_then(|place| place.interface.as_mut()).context("it was just added")?;
        interface.nic = with_program(nic);
        let nic = &interface.nic.clone();
        let room = interface.span;
        if nic.rx_queues > room {
            bail!(
                "{}: {} queues are more than the {room} that mcrd has made room for; restart it",
                nic.name,
                nic.rx_queues
            );
        }
        let wanted: Vec<u32> =
            queues(nic, role, plan.workers).filter(|queue| !interface.sockets.contains_key(queue)).collect();
        if interface.sockets.is_empty() {
            interface.frame_size = frame_size(nic, interface.zero_copy);
        }
        let (opened, promises) = match wanted.is_empty() {
            // Those for sending are there, and receive from now on.
            true => Default::default(),
            false => {
                let mut opened = open(nic, role, &wanted, (interface.zero_copy, interface.frame_size), fleet);
                if let Err(error) = &opened
                    && mode == Mode::Auto
                    && interface.zero_copy
                    && interface.sockets.is_empty()
                {
                    interface.settle_for_copy(error);
                    interface.frame_size = frame_size(nic, false);
                    opened = open(nic, role, &wanted, (false, interface.frame_size), fleet);
                }
                opened?
            }
        };
        if let Some((_, _, port)) = opened.first() {
            interface.zero_copy = port.is_zero_copy();
        }
        let sockets: Vec<(u32, RawFd)> = opened.iter().map(|(_, queue, port)| (*queue, port.fd())).collect();
        let receives_now = role == Role::Ingress && !interface.is_ingress;
        let more = hand_over(id, nic, interface.frame_size, opened, &interface.promises, receives_now, fleet);
        interface.promises.extend(promises.into_iter().chain(more));
        interface.is_ingress |= role == Role::Ingress;
        interface.is_egress |= role == Role::Egress;
        interface.scrutiny.begin(nic.rx_queues);
        interface.sockets.extend(sockets.iter().copied());
        for (queue, _) in &sockets {
            log::info!("{}", queue_line(interface, *queue, plan.workers));
        }
        let stock = interface.promises.first().and_then(|promise| fleet.stock(promise.stock));
        if let Some(share) = stock.and_then(|stock| stock.shares.first()) {
            interface.facts = kernel_facts(nic, interface.attachment, &share.memory);
            program
                .set_interface(interface.xsk_base, interface.facts)
                .with_context(|| format!("{}: telling the XDP program of it", nic.name))?;
        }
        // Only now: the kernel finds the fill rings full.
        for (queue, fd) in sockets {
            program
                .set_socket(interface.xsk_base + queue, &fd)
                .with_context(|| format!("{}: queue {queue}: entering its socket", nic.name))?;
        }
        if nic.driver == "veth" && nic.rx_queues > interface.program_queues {
            // On queues that came later veth would not run it (docs/kernel.md).
            program
                .attach_again(nic.ifindex, interface.attachment)
                .with_context(|| format!("{}: attaching the XDP program to its new queues", nic.name))?;
            interface.program_queues = nic.rx_queues;
        }
        Ok(())
    }

    /// An interface with the program and without sockets.
    fn add(&self, nic: &Nic, mode: Mode, program: &mut Program) -> anyhow::Result<Interface> {
        // Room for queues that may be added while it is attached.
        let span = nic.xdp_rx_queues.max(nic.tx_queues).max(nic.max_queues).next_power_of_two().max(16);
        let Some(xsk_base) = self.room(span) else {
            bail!(
                "{}: {MAX_SOCKETS} queues over all interfaces are the limit; restart mcrd with fewer interfaces",
                nic.name
            );
        };
        let granted = grant(nic, mode, program)?;
        if granted.zero_copy && !granted.reason.is_empty() {
            log::warn!("{}: {}", nic.name, granted.reason);
        }
        let scrutiny = Scrutiny::new(granted.shown);
        Ok(Interface {
            nic: nic.clone(),
            attachment: granted.attachment,
            zero_copy: granted.zero_copy,
            reason: granted.reason,
            xsk_base,
            span,
            facts: InterfaceFacts::default(),
            is_ingress: false,
            is_egress: false,
            scrutiny,
            frame_size: frame_size(nic, granted.zero_copy),
            unused_since: None,
            program_queues: nic.rx_queues,
            promises: Vec::new(),
            sockets: BTreeMap::new(),
        })
    }

    /// The first of so many free indices in the program's map of sockets.
    fn room(&self, span: u32) -> Option<u32> {
        let mut taken: Vec<(u32, u32)> = self
            .iter()
            .filter_map(|(_, place)| place.interface.as_ref())
            .map(|interface| (interface.xsk_base, interface.span))
            .collect();
        taken.sort_unstable();
        let mut base = 0;
        for (start, length) in taken {
            if base + span <= start {
                break;
            }
            base = start + length;
        }
        (base + span <= MAX_SOCKETS).then_some(base)
    }
}

/// The interface as it is with the program attached: virtio_net has more queues then, and receives on them too.
fn with_program(nic: &Nic) -> Nic {
    let now = Nic::read(&nic.name).ok().filter(|now| now.ifindex == nic.ifindex);
    now.unwrap_or_else(|| nic.clone())
}
