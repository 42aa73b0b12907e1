//! Follows the kernel: interfaces that are gone, renamed, back, or not what they were.

use std::{collections::BTreeSet, time::Instant};

use super::{
    interfaces::{Role, absent},
    options::Options,
    retry::Refusal,
    sockets::{Promise, facts},
    state::State,
};
use crate::{
    forward::{mailbox::Command, rule::InterfaceId},
    kernel::{answer::is_gone, grace, ifreq::name_of, nic::Nic},
    rules::{rule::Rule, set::RuleSet},
};

/// Interfaces that are not any more what they are known as.
#[derive(Debug, Default)]
struct Strayed {
    lost: Vec<InterfaceId>,
    /// And the name of each now.
    renamed: Vec<(InterfaceId, String)>,
}

impl State {
    /// Looks at every interface. Rules that lose theirs wait from then on; outputs that do cost the rule's others nothing.
    pub fn follow(&mut self) {
        let strayed = self.strayed();
        if !strayed.lost.is_empty() || !strayed.renamed.is_empty() {
            self.put_right(&strayed);
        }
        self.refresh();
        self.release_unused();
        self.bring_back();
        self.follow_sources();
        self.forget_names();
    }

    /// Only a definite word of the kernel's makes an interface lost: what could not be asked is as it was.
    fn strayed(&mut self) -> Strayed {
        let Self { interfaces, doubts, .. } = self;
        let mut strayed = Strayed::default();
        for (id, place) in interfaces.iter() {
            let Some(interface) = &place.interface else { continue };
            match name_of(interface.nic.ifindex) {
                Ok(_) if !interface.is_there() => strayed.lost.push(id),
                Ok(name) if name != place.name => strayed.renamed.push((id, name)),
                Ok(_) => {}
                Err(error) if is_gone(&error) => strayed.lost.push(id),
                Err(error) => doubts.note(&place.name, &error),
            }
        }
        strayed
    }

    fn put_right(&mut self, strayed: &Strayed) {
        let has_strayed = |id| strayed.lost.contains(&id) || strayed.renamed.iter().any(|(other, _)| *other == id);
        let strays = self.interfaces.iter().filter(|(id, _)| has_strayed(*id));
        let names: Vec<String> = strays.map(|(_, place)| place.name.clone()).collect();
        // First, so that workers still know them when they handle what has been received.
        self.suspend(|_, rule| names.contains(&rule.matcher.interface).then(|| absent(&rule.matcher.interface)));
        for id in &strayed.lost {
            if let Some(place) = self.interfaces.place_mut(*id) {
                log::warn!("{} is gone: what needs it waits for it", place.name);
            }
            self.let_go(*id);
        }
        if !strayed.renamed.is_empty() {
            self.rename(&strayed.renamed);
            self.give_up_strangers(strayed.renamed.iter().map(|(_, name)| name));
        }
        self.suspend_senders();
    }

    /// Lets the active rules wait none of whose outputs has an interface.
    fn suspend_senders(&mut self) {
        self.suspend(|state, rule| {
            let mut waits = rule.outputs.iter().map(|output| state.interfaces.place(&output.interface));
            let first = waits.clone().flatten().find(|place| place.interface.is_none())?;
            waits.all(|place| place.is_none_or(|place| place.interface.is_none())).then(|| first.absent.clone())
        });
    }

    /// Lets the active rules wait for which `why` has a reason.
    fn suspend(&mut self, why: impl Fn(&Self, &Rule) -> Option<String>) {
        let active = self.live.values().filter_map(|live| live.active.as_ref());
        let waiting: Vec<(String, String)> =
            active.filter_map(|active| Some((active.rule.name.clone(), why(self, &active.rule)?))).collect();
        for (name, why) in waiting {
            let Some(live) = self.live.get_mut(&name) else { continue };
            live.tried.clear();
            let active = live.active.take();
            live.begin_to_wait(why);
            if let Some(active) = active {
                self.retire(active);
            }
        }
    }

    /// Gives an interface up, with its program, its sockets and their frames.
    pub fn let_go(&mut self, id: InterfaceId) {
        let Some(interface) = self.interfaces.place_mut(id).and_then(|place| place.vacate(&mut self.program)) else {
            return;
        };
        self.told.clear();
        self.offloads.restore(&interface.nic);
        if interface.is_there() {
            grace::wait_for_programs();
        }
        self.reclaim(id, interface.nic.ifindex, &interface.promises);
    }

    /// Closes the sockets of an interface, which keeps its program.
    pub(super) fn close(&mut self, id: InterfaceId) {
        let Some(interface) = self.interfaces.place_mut(id).and_then(|place| place.interface.as_mut()) else { return };
        let (ifindex, promises) = (interface.nic.ifindex, interface.forget_sockets());
        self.reclaim(id, ifindex, &promises);
    }

    /// Gives an interface up that cannot be used as it is; what needs it waits, and says why.
    pub(super) fn refuse(&mut self, id: InterfaceId, nic: &Nic, error: &anyhow::Error) {
        let why = format!("{error:#}");
        self.suspend(|_, rule| (rule.matcher.interface == nic.name).then(|| why.clone()));
        self.let_go(id);
        if let Some(place) = self.interfaces.place_mut(id) {
            place.refused = Some(Refusal::new(nic.clone(), None, error, Instant::now()));
            place.absent = why;
        }
        self.suspend_senders();
    }

    fn reclaim(&mut self, id: InterfaceId, ifindex: u32, promises: &[Promise]) {
        let Some(fleet) = &mut self.fleet else { return };
        // The sockets are closed here: that takes longer than a worker may be away.
        drop(fleet.ask(|done| Command::Detach { id, done }));
        fleet.ask(|done| Command::Reclaim { id, done });
        fleet.take_back(ifindex, promises);
        self.hurry();
    }

    fn rename(&mut self, renamed: &[(InterfaceId, String)]) {
        let moves: Vec<(InterfaceId, InterfaceId)> =
            renamed.iter().map(|(id, name)| (*id, self.interfaces.id(name))).collect();
        // Names change while they are asked for: then the next event tells who has which.
        let is_free = |to| self.interfaces.iter().all(|(id, place)| id != to || place.interface.is_none());
        let moves_too = |to| moves.iter().any(|(from, _)| *from == to);
        let wanted: BTreeSet<InterfaceId> = moves.iter().map(|(_, to)| *to).collect();
        if wanted.len() < moves.len() || wanted.into_iter().any(|to| !is_free(to) && !moves_too(to)) {
            return;
        }
        self.told.clear();
        let mut taken = Vec::new();
        for ((id, name), (_, to)) in renamed.iter().zip(&moves) {
            let Some(place) = self.interfaces.place_mut(*id) else { continue };
            log::warn!("{} is called {name} now", place.name);
            if let Some(interface) = place.leave(&self.program) {
                place.renamed = Some(interface.nic.ifindex);
                taken.push((*to, interface));
            }
        }
        for (to, interface) in taken {
            if let Some(place) = self.interfaces.place_mut(to) {
                place.enter(interface, &self.program);
            }
        }
        if let Some(fleet) = &self.fleet {
            fleet.ask(|done| Command::Renumber { moves: moves.clone(), done });
        }
    }

    /// Gives up those of these names that nothing knows. A zero-copy socket may hold the memory of others, and stays.
    fn give_up_strangers<'a>(&mut self, names: impl Iterator<Item = &'a String>) {
        for name in names.filter(|name| !is_named(&self.set, &self.options, name)).collect::<Vec<_>>() {
            let Some((id, interface)) = self.interfaces.find(name) else { continue };
            if self.fleet.as_ref().is_none_or(|fleet| fleet.may_release(interface.nic.ifindex)) {
                log::info!("{name}: nothing knows it by this name, and it is as it was without mcrd");
                self.let_go(id);
            }
        }
    }

    /// Outputs learn of a new address, MAC or MTU, and new queues of an ingress get sockets.
    fn refresh(&mut self) {
        let Self { fleet: Some(fleet), interfaces, program, doubts, .. } = self else { return };
        let mut grown = Vec::new();
        for (id, place) in interfaces.iter_mut() {
            let Some(interface) = &mut place.interface else { continue };
            let now = match Nic::read(&place.name) {
                Ok(now) => now,
                Err(error) => {
                    if !is_gone(&error) {
                        doubts.note(&place.name, &error);
                    }
                    continue;
                }
            };
            doubts.clear(&place.name);
            if now.ifindex != interface.nic.ifindex {
                continue;
            }
            let frame_size = interface.frame_size;
            if facts(&now, frame_size) != facts(&interface.nic, frame_size) {
                log::info!("{}: {}", place.name, changes(&interface.nic, &now));
                place.learned = Some(Instant::now());
                for handle in &fleet.handles {
                    handle.post.send(Command::Update { id, facts: facts(&now, frame_size) });
                }
            }
            if interface.is_ingress
                && now.rx_queues > interface.nic.rx_queues
                && place.refused.as_ref().is_none_or(|refused| !refused.stands(&now, Instant::now()))
            {
                grown.push(now.clone());
            }
            if now.mac != interface.facts.mac {
                interface.facts.mac = now.mac;
                if let Err(error) = program.set_interface(interface.xsk_base, interface.facts) {
                    log::error!("{}: telling the XDP program its MAC: {error}", place.name);
                }
            }
            let nic = &mut interface.nic;
            place.lost_address = match now.address {
                Some(_) => None,
                None => nic.address.zip(nic.prefix).or(place.lost_address),
            };
            (nic.mac, nic.address, nic.prefix, nic.mtu) = (now.mac, now.address, now.prefix, now.mtu);
            (nic.address_by_group, nic.master) = (now.address_by_group, now.master);
        }
        for nic in grown {
            log::info!("{}: it has {} queues now", nic.name, nic.rx_queues);
            self.try_interface(&nic, Role::Ingress);
        }
    }

    /// Attaches what has come that active rules send to, or that the command line names.
    fn bring_back(&mut self) {
        let missing = self.interfaces.iter().filter(|(_, place)| place.interface.is_none());
        let missing: Vec<(InterfaceId, String)> = missing.map(|(id, place)| (id, place.name.clone())).collect();
        for (id, name) in missing {
            let nic = match Nic::read(&name) {
                Ok(nic) => nic,
                Err(error) if is_gone(&error) => {
                    // Why it could not be attached while it was there is no reason any more.
                    if let Some(place) = self.interfaces.place_mut(id) {
                        (place.absent, place.refused) = (absent(&name), None);
                    }
                    continue;
                }
                Err(error) => {
                    self.doubts.note(&name, &error);
                    continue;
                }
            };
            self.doubts.clear(&name);
            let refused = self.interfaces.place(&name).and_then(|place| place.refused.as_ref());
            if refused.is_some_and(|refused| refused.stands(&nic, Instant::now())) {
                continue;
            }
            let mut actives = self.live.values().filter_map(|live| live.active.as_ref());
            let is_sent_to = actives.any(|active| active.rule.outputs.iter().any(|output| output.interface == name));
            if self.options.iface_in.contains(&name) {
                self.try_interface(&nic, Role::Ingress);
            }
            if is_sent_to || self.options.iface_out.contains(&name) {
                self.try_interface(&nic, Role::Egress);
            }
        }
    }

    fn try_interface(&mut self, nic: &Nic, role: Role) {
        let mode = self.options.mode(&nic.name);
        let absent = |state: &Self| state.interfaces.place(&nic.name).map(|place| place.absent.clone());
        let before = absent(self);
        let attached = self.ensure_interface(nic, role, mode);
        // The same reason is not said each time that it is tried.
        if let Err(error) = attached
            && before.is_none_or(|before| before != format!("{error:#}"))
        {
            log::warn!("{error:#}");
        }
    }

    /// Names that nothing knows any more; not as long as a packet may be under way to one of them.
    fn forget_names(&mut self) {
        if self.retiring.is_empty() && self.interfaces.iter().any(|(_, place)| place.interface.is_none()) {
            let Self { set, options, interfaces, doubts, .. } = self;
            interfaces.prune(|name| is_named(set, options, name));
            doubts.prune(|name| interfaces.place(name).is_some());
        }
    }
}

/// What of an interface has changed that outputs use: `MTU 1500 -> 100`.
fn changes(before: &Nic, now: &Nic) -> String {
    let mut changes = Vec::new();
    let address = |nic: &Nic| nic.address.map_or("none".to_owned(), |address| address.to_string());
    if before.address != now.address {
        changes.push(format!("address {} -> {}", address(before), address(now)));
    }
    if before.mtu != now.mtu {
        changes.push(format!("MTU {} -> {}", before.mtu, now.mtu));
    }
    if before.mac != now.mac {
        let mac = |nic: &Nic| nic.mac.map(|byte| format!("{byte:02x}")).join(":");
        changes.push(format!("MAC {} -> {}", mac(before), mac(now)));
    }
    changes.join(", ")
}

/// Whether a rule or a flag names an interface so.
pub fn is_named(set: &RuleSet, options: &Options, name: &str) -> bool {
    let mut flags = options.iface_in.iter().chain(&options.iface_out);
    flags.any(|flag| flag == name) || set.iter().any(|rule| rule.enabled && rule.names(name))
}
