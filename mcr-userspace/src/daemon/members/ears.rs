//! Whether somebody asks the host for its memberships, whether it hears that, and which multicast it sends where it receives.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    net::{Ipv4Addr, UdpSocket},
    time::{Duration, Instant},
};

use crate::kernel::igmp::{Ear, Sent};

/// How long the host may take from when a query is on the wire.
const PATIENCE: Duration = Duration::from_secs(1);
/// Multicast that is not sent again for so long has ended.
const ENDED: Duration = Duration::from_secs(5);
/// Streams that are remembered of an interface.
const MOST_SENT: usize = 64;

/// What is heard, by the index of the interface on which groups are joined.
#[derive(Debug, Default)]
pub struct Ears(BTreeMap<u32, Listening>);

/// What is heard on one of them.
#[derive(Debug)]
pub struct Listening {
    ear: Ear,
    /// Its name.
    pub name: String,
    /// The interface that rules name, where this is in a VLAN of it.
    pub interface: String,
    /// Since when.
    pub since: Instant,
    /// The last query on the wire, and whom it came from.
    pub seen: Option<(Instant, Ipv4Addr)>,
    /// When the first query came since the host last took one.
    missed: Option<Instant>,
    /// Whether that is longer ago than the host may take.
    pub is_deaf: bool,
    sent: BTreeMap<Sent, Instant>,
}

impl Ears {
    /// Listens on these interfaces, each by its index, its name, and the name that rules have for it, and notes what was heard.
    pub fn tick(&mut self, now: Instant, on: &BTreeMap<u32, (String, String)>) {
        self.0.retain(|ifindex, _| on.contains_key(ifindex));
        for (ifindex, (name, interface)) in on {
            let listening = match self.0.entry(*ifindex) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => match Ear::open(*ifindex) {
                    Ok(ear) => new.insert(Listening::new(ear, now)),
                    Err(error) => {
                        // It may be gone, and else is tried again.
                        log::debug!("{name}: its IGMP queries are not heard: {error}");
                        continue;
                    }
                },
            };
            listening.name.clone_from(name);
            listening.interface.clone_from(interface);
            listening.hear(now);
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&u32, &Listening)> {
        self.0.iter()
    }

    /// The one on an interface.
    pub fn on(&self, ifindex: u32) -> Option<&Listening> {
        self.0.get(&ifindex)
    }
}

impl Listening {
    fn new(ear: Ear, now: Instant) -> Self {
        let (name, interface) = Default::default();
        Self { ear, name, interface, since: now, seen: None, missed: None, is_deaf: false, sent: BTreeMap::new() }
    }

    fn hear(&mut self, now: Instant) {
        // In this order: what is taken was on the wire before.
        let (queries, taken) = (self.ear.queries(), self.ear.taken());
        if let Some(from) = queries.last().or(taken.last()) {
            self.seen = Some((now, *from));
        }
        self.missed = match taken.is_empty() {
            true => self.missed.or((!queries.is_empty()).then_some(now)),
            false => None,
        };
        self.is_deaf = self.missed.is_some_and(|missed| now.duration_since(missed) >= PATIENCE);
        self.sent.retain(|_, last| now.duration_since(*last) < ENDED);
        for sent in self.ear.sent() {
            let is_new = !self.sent.contains_key(&sent);
            // What a bridge or a router passes on is not from here.
            if !is_new || self.sent.len() < MOST_SENT && UdpSocket::bind((sent.source, 0)).is_ok() {
                self.sent.insert(sent, now);
            }
        }
    }

    /// What users should know.
    pub fn warning(&self) -> Option<String> {
        let (_, from) = self.seen.filter(|_| self.is_deaf)?;
        Some(format!(
            "{name}: the IGMP queries of {from} come in and do not reach the host, so it answers none, and once its switch has waited for its membership interval the streams end; a firewall drops them, or the check of their source (rp_filter), or {name} is a port of a bridge: `mcrctl doctor {interface}` tells which",
            name = self.name,
            interface = self.interface
        ))
    }

    /// What the host sends by this interface now.
    pub fn sent(&self) -> impl Iterator<Item = &Sent> {
        self.sent.keys()
    }
}
