//! Interfaces by the names that rules and flags know them by: those with sockets, and what they were granted.

mod attach;

use std::{collections::BTreeMap, net::Ipv4Addr, os::fd::RawFd, time::Instant};

use mcr_common::{counter::Verdict, flow::InterfaceFacts};

use super::{
    links::Link,
    passed::Passed,
    retry::Refusal,
    scrutiny::Scrutiny,
    sockets::{Promise, queues},
};
use crate::{
    forward::rule::InterfaceId,
    kernel::{
        ifreq,
        nic::Nic,
        program::{Attachment, Program},
    },
    xsk::port::is_bound,
};

/// Names whose counters are kept though nothing knows them: more than any machine has in use.
const MAX_PAST: usize = 4096;

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
    /// As it was when it was last looked at.
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
    /// What the program knows of it.
    pub facts: InterfaceFacts,
    /// Whether every queue has a socket.
    pub is_ingress: bool,
    /// Whether each worker's own queue has one to send with.
    pub is_egress: bool,
    /// What is known of zero-copy here.
    pub scrutiny: Scrutiny,
    /// Bytes of its sockets' frames.
    pub frame_size: u32,
    /// Receive queues that it had when the program was attached.
    program_queues: u32,
    /// Frames that its sockets were promised.
    pub promises: Vec<Promise>,
    /// Since when no rule and no flag has named it.
    pub unused_since: Option<Instant>,
    /// Its sockets by queue. They are the workers', which give them back before they are closed.
    sockets: BTreeMap<u32, RawFd>,
}

impl Interface {
    /// Whether the kernel still has its sockets bound: not once it is deleted, or moved to another network namespace.
    pub fn is_there(&self) -> bool {
        self.sockets.values().all(|socket| is_bound(*socket))
    }

    /// Forgets its sockets, which are to be closed; what they were promised.
    pub fn forget_sockets(&mut self) -> Vec<Promise> {
        (self.is_ingress, self.is_egress) = (false, false);
        self.sockets.clear();
        std::mem::take(&mut self.promises)
    }

    /// Whether it has any.
    pub fn has_sockets(&self) -> bool {
        !self.sockets.is_empty()
    }

    /// Frames that its sockets keep for receiving, and for sending, over all workers.
    pub fn frames(&self) -> (u64, u64) {
        let sum = |of: fn(&Promise) -> u32| self.promises.iter().map(|promise| u64::from(of(promise))).sum();
        (sum(|promise| promise.rx), sum(|promise| promise.tx))
    }

    /// Copies from now on, because of `error`.
    fn settle_for_copy(&mut self, error: &anyhow::Error) {
        self.zero_copy = false;
        self.reason = format!("{error:#}");
    }
}

/// A name, and the interface of that name while there is one with sockets.
#[derive(Debug)]
pub struct Place {
    /// The name.
    pub name: String,
    /// The interface.
    pub interface: Option<Interface>,
    /// Why there is none.
    pub absent: String,
    /// What was refused of it, if anything.
    pub refused: Option<Refusal>,
    /// Its link, when it was last looked at.
    pub link: Link,
    /// When that was last found to have changed.
    pub linked: Option<Instant>,
    /// When workers were last told of another address, MAC or MTU.
    pub learned: Option<Instant>,
    /// Packets that no rule matched, by the second.
    pub passed: Passed,
    /// The mode that was last told of.
    pub mode: Option<String>,
    /// Index of the interface that had this name until it was renamed.
    pub renamed: Option<u32>,
    /// The address that outputs sent from until the interface lost it, and its prefix length.
    pub lost_address: Option<(Ipv4Addr, u8)>,
    /// What the program counted here on those that had the name before, less what it had counted on this one before it got the name.
    before: [u64; Verdict::COUNT],
}

impl Place {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            interface: None,
            absent: absent(name),
            refused: None,
            link: Link::Absent,
            linked: None,
            learned: None,
            passed: Passed::default(),
            mode: None,
            renamed: None,
            lost_address: None,
            before: Default::default(),
        }
    }

    /// The name that the interface of this name has now, where it was renamed and none has come in its place.
    pub fn renamed(&self) -> Option<String> {
        let now = ifreq::name_of(self.renamed.filter(|_| self.interface.is_none())?).ok()?;
        (now != self.name).then_some(now)
    }

    /// The address that the interface has lost, as `ip address add` takes it.
    pub fn lost_address(&self) -> Option<String> {
        self.lost_address.map(|(address, length)| format!("{address}/{length}"))
    }

    /// Whether rules match on it.
    pub fn receives(&self) -> bool {
        self.interface.as_ref().is_some_and(|interface| interface.is_ingress)
    }

    /// Packets by the program's verdict, on every interface that has had the name.
    pub fn verdicts(&self, program: &Program) -> [u64; Verdict::COUNT] {
        match &self.interface {
            Some(interface) => {
                let now = counts(interface, program);
                std::array::from_fn(|verdict| self.before[verdict].wrapping_add(now[verdict]))
            }
            None => self.before,
        }
    }

    /// Gives its interface up to another name.
    pub fn leave(&mut self, program: &Program) -> Option<Interface> {
        self.before = self.verdicts(program);
        self.absent = absent(&self.name);
        (self.renamed, self.lost_address) = (None, None);
        self.interface.take()
    }

    /// Takes an interface over that had another name.
    pub fn enter(&mut self, mut interface: Interface, program: &Program) {
        let now = counts(&interface, program);
        self.before = std::array::from_fn(|verdict| self.before[verdict].wrapping_sub(now[verdict]));
        interface.nic.name.clone_from(&self.name);
        self.interface = Some(interface);
    }

    /// Has no interface any more, whose program is detached; that interface.
    pub fn vacate(&mut self, program: &mut Program) -> Option<Interface> {
        self.refused = None;
        let interface = self.leave(program)?;
        detach(&interface, program);
        if let Err(error) = program.forget(interface.nic.ifindex) {
            log::error!("{}: taking back its counters: {error}", self.name);
        }
        Some(interface)
    }
}

fn counts(interface: &Interface, program: &Program) -> [u64; Verdict::COUNT] {
    program.verdicts(interface.nic.ifindex).unwrap_or_else(|error| {
        log::error!("{}: reading its counters: {error}", interface.nic.name);
        Default::default()
    })
}

/// What [`absent`] begins with.
const ABSENT: &str = "no interface ";
/// Between the names of several; no interface's name has a blank.
const AND: &str = ", ";

/// Why a name has no interface, where there is none in the kernel either.
pub fn absent(name: &str) -> String {
    all_absent(&[name])
}

/// The same of several names.
pub fn all_absent(names: &[&str]) -> String {
    format!("{ABSENT}{}", names.join(AND))
}

/// The names that [`all_absent`] tells of; none of any other reason.
pub fn absentees(why: &str) -> impl Iterator<Item = &str> {
    why.strip_prefix(ABSENT).into_iter().flat_map(|names| names.split(AND))
}

/// All names; their position is their interface's [`InterfaceId`], for as long as a rule knows it.
#[derive(Debug, Default)]
pub struct Interfaces {
    places: Vec<Option<Place>>,
    /// What was counted under names that nothing knows at the moment: should a name return, its counters go on.
    past: BTreeMap<String, [u64; Verdict::COUNT]>,
}

impl Interfaces {
    /// The interface with sockets of this name.
    pub fn find(&self, name: &str) -> Option<(InterfaceId, &Interface)> {
        self.named(name).and_then(|(id, place)| Some((id, place.interface.as_ref()?)))
    }

    /// The place of this name.
    pub fn place(&self, name: &str) -> Option<&Place> {
        self.named(name).map(|(_, place)| place)
    }

    fn named(&self, name: &str) -> Option<(InterfaceId, &Place)> {
        self.iter().find(|(_, place)| place.name == name)
    }

    /// The place of this name.
    pub fn place_named(&mut self, name: &str) -> Option<&mut Place> {
        self.iter_mut().map(|(_, place)| place).find(|place| place.name == name)
    }

    /// The place with this number.
    pub fn place_mut(&mut self, id: InterfaceId) -> Option<&mut Place> {
        self.places.get_mut(id)?.as_mut()
    }

    /// All, by their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (InterfaceId, &Place)> {
        self.places.iter().enumerate().filter_map(|(id, place)| Some((id, place.as_ref()?)))
    }

    /// All, by their numbers.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (InterfaceId, &mut Place)> {
        self.places.iter_mut().enumerate().filter_map(|(id, place)| Some((id, place.as_mut()?)))
    }

    /// The number of this name, whether or not there is such an interface.
    pub fn id(&mut self, name: &str) -> InterfaceId {
        if let Some((id, _)) = self.named(name) {
            return id;
        }
        let free = self.places.iter().position(Option::is_none).unwrap_or(self.places.len());
        if free == self.places.len() {
            self.places.push(None);
        }
        let before = self.past.remove(name).unwrap_or_default();
        self.places[free] = Some(Place { before, ..Place::new(name) });
        free
    }

    /// Forgets the names without an interface of which `is_known` knows nothing.
    pub fn prune(&mut self, is_known: impl Fn(&str) -> bool) {
        for place in &mut self.places {
            let forgotten = place.take_if(|place| place.interface.is_none() && !is_known(&place.name));
            let counted = forgotten.filter(|place| place.before != [0; Verdict::COUNT]);
            self.past.extend(counted.map(|place| (place.name, place.before)));
        }
        while self.past.len() > MAX_PAST {
            self.past.pop_first();
        }
    }

    /// Whether `nic` has all sockets that `role` needs.
    pub fn serves(&self, nic: &Nic, role: Role, workers: u32) -> bool {
        self.find(&nic.name).is_some_and(|(_, interface)| {
            (role == Role::Egress || interface.is_ingress)
                && queues(nic, role, workers).all(|queue| interface.sockets.contains_key(&queue))
        })
    }

    /// Whether what is known by the name of `nic` is another interface, or it itself by another name.
    pub fn are_stale(&self, nic: &Nic) -> bool {
        let interfaces = self.iter().filter_map(|(_, place)| Some((&place.name, place.interface.as_ref()?)));
        interfaces.into_iter().any(|(name, known)| (*name == nic.name) != (known.nic.ifindex == nic.ifindex))
    }

    /// Detaches the program from all of them: nothing is steered from then on.
    pub fn detach_all(&self, program: &mut Program) {
        self.iter().filter_map(|(_, place)| place.interface.as_ref()).for_each(|interface| detach(interface, program));
    }
}

fn detach(interface: &Interface, program: &mut Program) {
    if let Err(error) = program.detach(interface.nic.ifindex) {
        // A deleted interface took its program along.
        log::debug!("{}: detaching: {error}", interface.nic.name);
    }
}
