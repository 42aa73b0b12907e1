//! Zero-copy that is verified: tried before its sockets are bound, or once there is a link, watched from then on, given up where it fails, and tried again when
//! the interface's queues have changed.

use std::time::{Duration, Instant};

use mcr_common::counter::Verdict as Counted;

use super::{
    interfaces::{Interface, Role},
    modes::{Answer, NotGranted, asked, demanded_in_vain, fails},
    retry::may_pass,
    state::State,
    trial::{Probe, Verdict},
    watch::{Finding, Sample, Watch},
};
use crate::{
    config::Mode,
    forward::rule::InterfaceId,
    kernel::{ifreq::has_link, netdev::is_paired, nic::Nic, received},
};

/// How long the kernel may take to let go of a queue whose sockets are closed.
const RELEASE: Duration = Duration::from_secs(10);

/// What is known of zero-copy at an interface beyond the kernel's word.
#[derive(Debug, Default)]
pub struct Scrutiny {
    /// What it showed when it was tried; nothing where it was not.
    shown: Option<Verdict>,
    /// Receive queues at that time.
    queues: u32,
    watch: Watch,
    /// What was found wrong since, where nothing else will do.
    pub finding: Option<Finding>,
    /// While it has no sockets, since others are to come.
    pending: Option<Pending>,
}

/// An interface without sockets, which it has again soon: no lock is held for what takes a while.
#[derive(Debug)]
struct Pending {
    stage: Stage,
    since: Instant,
    /// What it is used for.
    roles: Vec<Role>,
}

#[derive(Debug)]
enum Stage {
    /// Zero-copy is to be tried.
    Try,
    /// It is being tried.
    Probing(Box<Probe>),
    /// Sockets are to be opened, for zero-copy or for copies.
    Open(bool),
}

impl Scrutiny {
    /// After a trial.
    pub fn new(shown: Option<Verdict>) -> Self {
        Self { shown, ..Self::default() }
    }

    /// With its first sockets the interface has so many receive queues.
    pub fn begin(&mut self, queues: u32) {
        if self.queues == 0 {
            self.queues = queues;
        }
    }

    /// Whether sockets are to come soon, and then for this role too.
    pub fn is_pending(&mut self, role: Role) -> bool {
        let Some(pending) = &mut self.pending else { return false };
        if !pending.roles.contains(&role) {
            pending.roles.push(role);
            // The role that needs more comes first.
            pending.roles.sort_by_key(|role| *role == Role::Egress);
        }
        true
    }

    /// Whether sockets are to come soon.
    pub fn has_pending(&self) -> bool {
        self.pending.is_some()
    }
}

/// What is to be done about an interface.
enum Step {
    /// It is found to fail after it had worked.
    Found(InterfaceId, Finding),
    /// It may work, or work no more.
    Try(InterfaceId),
}

impl State {
    /// Looks at every interface that is zero-copy, or could be.
    pub fn judge_zero_copy(&mut self) {
        let now = Instant::now();
        let ids: Vec<InterfaceId> = self.interfaces.iter().map(|(id, _)| id).collect();
        for id in &ids {
            self.proceed(*id, now);
        }
        for step in ids.into_iter().filter_map(|id| self.step(id, now)).collect::<Vec<_>>() {
            match step {
                Step::Found(id, finding) => self.has_found(id, finding),
                Step::Try(id) => self.close_for(id, Stage::Try),
            }
        }
    }

    fn step(&mut self, id: InterfaceId, now: Instant) -> Option<Step> {
        let Self { interfaces, program, live, options, .. } = self;
        let place = interfaces.place_mut(id)?;
        let name = place.name.clone();
        let counted = place.verdicts(program);
        let interface = place.interface.as_mut()?;
        let Interface { zero_copy, is_ingress, scrutiny, .. } = interface;
        let could_be = scrutiny.shown == Some(Verdict::Fails) && options.mode(&name) == Mode::Auto;
        if scrutiny.pending.is_some() || (!*zero_copy && !could_be) {
            return None;
        }
        let nic = Nic::read(&name).ok().filter(|nic| nic.ifindex == interface.nic.ifindex)?;
        let has_changed = nic.rx_queues != scrutiny.queues && scrutiny.shown.is_some();
        // What works goes on, unless other interrupts serve it now.
        let is_in_doubt = match scrutiny.shown {
            Some(Verdict::Works) => has_changed && is_paired(nic.ifindex, 0) == Some(false),
            Some(Verdict::Open) => true,
            Some(Verdict::Fails) | None => has_changed,
        };
        if is_in_doubt && has_link(&name) {
            return Some(Step::Try(id));
        }
        if !*zero_copy || !*is_ingress || scrutiny.finding.is_some() || !scrutiny.watch.is_due(now) {
            return None;
        }
        let rules = live.values().filter_map(|live| live.active.as_ref());
        let rules = rules.filter(|active| active.rule.matcher.interface == name);
        let sample = Sample {
            nic: received::packets(&name)?,
            program: counted.iter().sum(),
            unmatched: counted[Counted::PassNoRule as usize],
            cut: rules.flat_map(|active| &active.counters).map(|counters| counters.cut.get()).sum(),
        };
        scrutiny.watch.look(now, sample).map(|finding| Step::Found(id, finding))
    }

    /// It worked, and does no more.
    fn has_found(&mut self, id: InterfaceId, finding: Finding) {
        let Some(interface) = self.interfaces.place_mut(id).and_then(|place| place.interface.as_mut()) else { return };
        let nic = interface.nic.clone();
        if self.options.mode(&nic.name) != Mode::Auto {
            interface.scrutiny.finding = Some(finding);
            return log::warn!("{}: zero-copy fails: {}; mode auto takes copy then", nic.name, finding.why());
        }
        interface.reason = fails(&nic, finding.why());
        interface.scrutiny = Scrutiny { shown: Some(Verdict::Fails), queues: nic.rx_queues, ..Scrutiny::default() };
        log::warn!("{}: {}; packets are copied from now on", nic.name, interface.reason);
        self.close_for(id, Stage::Open(false));
    }

    /// Closes the sockets of an interface, which keeps its program, so that others can be opened. Where the first of them holds the memory
    /// of other interfaces, it would stay bound to its queue as long as that is used: those get sockets with memory of their own.
    fn close_for(&mut self, id: InterfaceId, stage: Stage) {
        for other in self.held_by(id) {
            self.close_one_for(other, Stage::Open(true));
        }
        self.close_one_for(id, stage);
    }

    /// The other interfaces whose zero-copy memory is held by a socket of this one.
    fn held_by(&self, id: InterfaceId) -> Vec<InterfaceId> {
        let interfaces = || self.interfaces.iter().filter_map(|(id, place)| Some((id, place.interface.as_ref()?)));
        let Some((_, holder)) = interfaces().find(|(other, _)| *other == id) else { return Vec::new() };
        let is_held = |stock: usize| {
            let stock = self.fleet.as_ref().and_then(|fleet| fleet.stock(stock));
            stock.is_some_and(|stock| !stock.may_release(holder.nic.ifindex))
        };
        let others = interfaces().filter(|(other, interface)| {
            *other != id && interface.promises.iter().any(|promise| is_held(promise.stock))
        });
        others.map(|(other, _)| other).collect()
    }

    fn close_one_for(&mut self, id: InterfaceId, stage: Stage) {
        let Some(interface) = self.interfaces.place_mut(id).and_then(|place| place.interface.as_mut()) else { return };
        let roles = [(Role::Ingress, interface.is_ingress), (Role::Egress, interface.is_egress)];
        let roles = roles.into_iter().filter_map(|(role, has)| has.then_some(role)).collect();
        interface.scrutiny.pending = Some(Pending { stage, since: Instant::now(), roles });
        self.close(id);
    }

    /// Goes on with an interface that is to have sockets again.
    fn proceed(&mut self, id: InterfaceId, now: Instant) {
        let Some(interface) = self.interfaces.place_mut(id).and_then(|place| place.interface.as_mut()) else { return };
        let Some(pending) = &mut interface.scrutiny.pending else { return };
        let Ok(nic) = Nic::read(&interface.nic.name) else { return };
        if nic.ifindex != interface.nic.ifindex {
            return;
        }
        let is_early = now - pending.since < RELEASE;
        let shown = match &mut pending.stage {
            Stage::Open(zero_copy) => {
                interface.zero_copy = *zero_copy;
                return self.reopen(id, &nic, is_early);
            }
            // Its queues were started anew, and its link may go once more.
            Stage::Try => match Probe::new(&nic, true) {
                Ok(Some(probe)) => {
                    pending.stage = Stage::Probing(Box::new(probe));
                    return;
                }
                Err(error) if is_early && may_pass(&error) => return,
                Ok(None) => Ok(None),
                Err(error) => Err(error),
            },
            Stage::Probing(probe) => match probe.look(now) {
                Ok(None) => return,
                Ok(shown) => Ok(shown),
                Err(error) => Err(error.into()),
            },
        };
        self.conclude(id, &nic, asked(&nic, shown));
    }

    /// Zero-copy was tried.
    fn conclude(&mut self, id: InterfaceId, nic: &Nic, answer: Answer) {
        let demanded = self.options.mode(&nic.name) != Mode::Auto;
        let Some(interface) = self.interfaces.place_mut(id).and_then(|place| place.interface.as_mut()) else { return };
        let (zero_copy, shown, reason) = match answer {
            Answer::Granted => (true, Some(Verdict::Works), String::new()),
            Answer::Open => (true, Some(Verdict::Open), String::new()),
            Answer::Doubtful(why) => (demanded, Some(Verdict::Works).filter(|_| demanded), why),
            Answer::Fails(why) | Answer::Refused(why) if demanded => {
                let error = NotGranted(demanded_in_vain(nic, &why)).into();
                log::warn!("{error}");
                return self.refuse(id, nic, &error);
            }
            Answer::Fails(why) => (false, Some(Verdict::Fails), fails(nic, &why)),
            Answer::Refused(why) => (false, None, why),
            // No answer: it is asked again.
            Answer::NotAsked(why) => {
                log::debug!("{}: the kernel could not be asked for zero-copy: {why}", nic.name);
                return interface.scrutiny.pending.iter_mut().for_each(|pending| pending.stage = Stage::Try);
            }
        };
        match (zero_copy, reason.is_empty()) {
            (true, true) => log::info!("{}: zero-copy works", nic.name),
            _ => log::warn!("{}: {reason}", nic.name),
        }
        interface.reason = reason;
        // The probe is closed with its stage, and the kernel takes a moment to let go of the queue.
        let pending = interface.scrutiny.pending.take();
        let pending = pending.map(|of| Pending { stage: Stage::Open(zero_copy), since: Instant::now(), ..of });
        interface.scrutiny = Scrutiny { shown, queues: nic.rx_queues, pending, ..Scrutiny::default() };
    }

    /// Opens the sockets of an interface that had others. `is_early`: the kernel may not have let go of those yet.
    fn reopen(&mut self, id: InterfaceId, nic: &Nic, is_early: bool) {
        let Some(place) = self.interfaces.place_mut(id) else { return };
        let pending = place.interface.as_ref().and_then(|interface| interface.scrutiny.pending.as_ref());
        let roles = pending.map(|pending| pending.roles.clone()).unwrap_or_default();
        let mode = self.options.mode(&nic.name);
        for role in roles {
            let Err(error) = self.bind_interface(nic, role, mode) else { continue };
            let Some(place) = self.interfaces.place_mut(id) else { return };
            let has_sockets = place.interface.as_ref().is_some_and(Interface::has_sockets);
            if !has_sockets && is_early && may_pass(&error) {
                place.refused = None;
                return;
            }
            log::warn!("{error:#}");
            if !has_sockets {
                return self.refuse(id, nic, &error);
            }
        }
        if let Some(interface) = self.interfaces.place_mut(id).and_then(|place| place.interface.as_mut()) {
            interface.scrutiny.pending = None;
        }
    }
}
