//! Which address outputs with `source = "interface"` send from, where that is not one for all of an interface's: within a VLAN, and on an
//! interface of whose addresses none is valid everywhere.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    net::Ipv4Addr,
    time::Instant,
};

use super::{members::vlans::remedy, state::State};
use crate::{
    forward::{
        mailbox::Command,
        rule::InterfaceId,
        sources::{Sources, Special},
    },
    kernel::{
        address::{Chosen, chosen},
        link::{self, Link},
        nic::Nic,
    },
    rules::{
        reach::{last_address, sent_groups, sent_vlan},
        rule::{Match, Output, Prefix, Rule, Source},
    },
};

/// What workers were told of each interface.
#[derive(Debug, Default)]
pub struct Told(BTreeMap<InterfaceId, Sources>);

impl Told {
    /// What they were told of this one.
    pub fn of(&self, id: InterfaceId) -> Sources {
        self.0.get(&id).cloned().unwrap_or_default()
    }

    /// Workers know nothing any more of one of the interfaces, or know it by another number.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// What the kernel has answered in the course of one change.
#[derive(Debug, Default)]
pub struct Answers {
    links: Option<Vec<Link>>,
    /// By the interface that was asked about, and the group where it depends on that.
    chosen: HashMap<(u32, Option<Ipv4Addr>), Chosen>,
}

impl Answers {
    fn link(&mut self, is_it: impl Fn(&Link) -> bool) -> io::Result<Option<Link>> {
        if self.links.is_none() {
            self.links = Some(link::all()?);
        }
        Ok(self.links.iter().flatten().find(|link| is_it(link)).cloned())
    }

    fn chosen(&mut self, link: &Link, group: Ipv4Addr) -> io::Result<Option<Ipv4Addr>> {
        for key in [None, Some(group)] {
            if let Some(known) = self.chosen.get(&(link.ifindex, key)) {
                return Ok(known.address);
            }
        }
        let answer = chosen(link, Some(group))?;
        self.chosen.insert((link.ifindex, answer.by_group.then_some(group)), answer);
        Ok(answer.address)
    }

    /// What outputs to a segment send from: of the host's interface in the VLAN, else of the interface itself.
    fn of(&mut self, nic: &Nic, segment: &Segment) -> io::Result<Option<Ipv4Addr>> {
        let group = segment.groups.address;
        let within = match segment.vlan {
            Some(id) => self.link(|link| (link.other_end, link.vlan) == (Some(nic.ifindex), Some(id)))?,
            None => None,
        };
        if let Some(vlan) = within
            && let Some(address) = self.chosen(&vlan, group)?
        {
            return Ok(Some(address));
        }
        if !nic.address_by_group {
            return Ok(nic.address);
        }
        match self.link(|link| link.ifindex == nic.ifindex)? {
            Some(link) => self.chosen(&link, group),
            None => Ok(None),
        }
    }

    /// Why an output cannot send from `nic`; `None` where it can.
    pub fn lack(&mut self, matcher: &Match, output: &Output, nic: &Nic) -> io::Result<Option<String>> {
        if output.source != Source::Interface {
            return Ok(None);
        }
        let segment = Segment::of(matcher, output);
        let address = if segment.is_special(nic) { self.of(nic, &segment)? } else { nic.address };
        Ok(address.is_none().then(|| no_address(&nic.name, segment.vlan)))
    }
}

/// Where an output sends.
struct Segment {
    vlan: Option<u16>,
    groups: Prefix,
}

impl Segment {
    fn of(matcher: &Match, output: &Output) -> Self {
        Self { vlan: sent_vlan(matcher, output), groups: sent_groups(matcher, output) }
    }

    /// Whether the address may be another one than the interface's in general.
    fn is_special(&self, nic: &Nic) -> bool {
        self.vlan.is_some() || nic.address_by_group
    }

    fn bounds(&self) -> (u32, u32) {
        (self.groups.address.into(), last_address(self.groups).into())
    }

    fn special(&self, address: Option<Ipv4Addr>) -> Special {
        let (first, last) = self.bounds();
        Special { vlan: self.vlan, first, last, address }
    }
}

impl State {
    /// Tells workers, before they know `rule`, what its outputs send from.
    pub fn tell_sources(&mut self, rule: &Rule, answers: &mut Answers) -> io::Result<()> {
        for output in rule.outputs.iter().filter(|output| output.source == Source::Interface) {
            let segment = Segment::of(&rule.matcher, output);
            let Some((id, interface)) = self.interfaces.find(&output.interface) else { continue };
            let known = self.told.0.get(&id).cloned().unwrap_or_default();
            if !segment.is_special(&interface.nic) || known.has(segment.vlan, segment.bounds()) {
                continue;
            }
            let special = segment.special(answers.of(&interface.nic, &segment)?);
            self.tell(id, Sources::new(known.iter().copied().chain([special]).collect()));
        }
        Ok(())
    }

    /// Follows addresses that have changed.
    pub fn follow_sources(&mut self) {
        let nics: BTreeMap<InterfaceId, &Nic> =
            self.interfaces.iter().filter_map(|(id, place)| Some((id, &place.interface.as_ref()?.nic))).collect();
        if self.told.0.is_empty() && !nics.values().any(|nic| nic.address_by_group) {
            return;
        }
        let answers = &mut Answers::default();
        let mut found: BTreeMap<InterfaceId, io::Result<Vec<Special>>> =
            self.told.0.keys().map(|id| (*id, Ok(Vec::new()))).collect();
        for active in self.live.values().filter_map(|live| live.active.as_ref()) {
            for (output, target) in active.rule.outputs.iter().zip(active.compiled.targets.iter()) {
                let segment = Segment::of(&active.rule.matcher, output);
                let Some(nic) = nics.get(&target.egress) else { continue };
                if output.source != Source::Interface || !segment.is_special(nic) {
                    continue;
                }
                if let Ok(specials) = found.entry(target.egress).or_insert_with(|| Ok(Vec::new())) {
                    match answers.of(nic, &segment) {
                        Ok(address) => specials.push(segment.special(address)),
                        Err(error) => drop(found.insert(target.egress, Err(error))),
                    }
                }
            }
        }
        for (id, specials) in found {
            match specials {
                Ok(specials) => self.tell(id, Sources::new(specials)),
                // What was true a moment ago stays so.
                Err(error) => log::warn!("asking for source addresses: {error}; those known before stay in use"),
            }
        }
    }

    fn tell(&mut self, id: InterfaceId, sources: Sources) {
        if self.told.0.get(&id) == Some(&sources) {
            return;
        }
        for handle in self.fleet.iter().flat_map(|fleet| &fleet.handles) {
            handle.post.send(Command::Sources { id, sources: sources.clone() });
        }
        if let Some(place) = self.interfaces.place_mut(id) {
            place.learned = Some(Instant::now());
        }
        self.told.0.insert(id, sources);
    }

    /// Why an output of an active rule has no address to send from on `nic`, as far as that is known.
    pub fn lacks_source(&self, rule: &Rule, output: &Output, nic: &Nic) -> Option<String> {
        if output.source != Source::Interface {
            return None;
        }
        let segment = Segment::of(&rule.matcher, output);
        let told = self.interfaces.find(&nic.name).and_then(|(id, _)| self.told.0.get(&id));
        let special = told.and_then(|told| told.of(segment.vlan, segment.bounds().0));
        let address = special.map_or(nic.address, |special| special.address);
        address.is_none().then(|| no_address(&nic.name, segment.vlan))
    }
}

/// What [`no_address`] says after the interface's name.
pub const NO_ADDRESS: &str = " has no IPv4 address to send from";

/// Why an output cannot send from the interface of this name, and what helps.
fn no_address(name: &str, vlan: Option<u16>) -> String {
    match vlan {
        None => format!("{name}{NO_ADDRESS} (`ip addr add ADDRESS/LEN dev {name}`, or source=keep or source=ADDRESS)"),
        Some(id) => format!(
            "{name}{NO_ADDRESS} in VLAN {id}, nor has an interface of the host in that VLAN (`{}`, and `ip addr add ADDRESS/LEN` on it; or source=keep or source=ADDRESS)",
            remedy(name, id)
        ),
    }
}
