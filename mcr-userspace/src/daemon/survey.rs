//! What a rule finds on this machine, and what it lacks: interfaces, workers, sockets, addresses.

use std::{collections::HashMap, io};

use anyhow::{Context, bail};

use super::{
    budget::{Known, enough_for},
    fit::Plan,
    fleet::Fleet,
    interfaces::{Role, absent, all_absent},
    modes::NotGranted,
    retry::{MayPass, may_pass},
    signals::go_on,
    sources::Answers,
    state::State,
};
use crate::{config::Mode, kernel::nic::Nic, rules::rule::Rule};

/// Why a rule cannot forward now.
#[derive(Debug)]
pub enum Obstacle {
    /// Interfaces that may come.
    Missing(String),
    /// An address, which another interface may have to get: of a VLAN.
    NoAddress(String),
    /// Something that is wrong.
    Wrong(anyhow::Error),
}

impl Obstacle {
    /// Whether it may pass without any change of the interfaces.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Wrong(error) if may_pass(error))
    }
}

impl std::fmt::Display for Obstacle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing(what) | Self::NoAddress(what) => f.write_str(what),
            Self::Wrong(error) => write!(f, "{error:#}"),
        }
    }
}

/// The interfaces of a rule.
#[derive(Debug)]
pub struct Survey {
    /// The ingress, and the outputs' that can be used.
    pub found: Vec<(Nic, Role, Mode)>,
    /// Why other outputs cannot be.
    pub lacking: Vec<Obstacle>,
}

impl Survey {
    /// Each interface that was found.
    pub fn nics(&self) -> impl Iterator<Item = &Nic> {
        self.found.iter().map(|(nic, ..)| nic)
    }

    /// A rule none of whose outputs can send leaves the packets to the host.
    fn for_one_output_at_least(mut self) -> Result<Self, Obstacle> {
        if self.found.iter().any(|(_, role, _)| *role == Role::Egress) {
            return Ok(self);
        }
        // What is wrong may be to be mended, what is missing may come.
        let first = self.lacking.iter().position(|lack| matches!(lack, Obstacle::Wrong(_))).unwrap_or_default();
        Err(self.lacking.swap_remove(first))
    }
}

/// Interfaces as they were when a change first asked for them: thousands of rules name the same few.
#[derive(Debug, Default)]
pub struct Seen {
    nics: HashMap<String, Option<Nic>>,
    /// Why there are no sockets on one of them, in a role, and whether the cause may pass.
    refused: HashMap<(String, bool), (String, bool)>,
    /// What the kernel said of addresses.
    answers: Answers,
}

impl Seen {
    fn nic(&mut self, name: &str) -> Result<Nic, Obstacle> {
        match self.look(name) {
            Ok(nic) => nic.ok_or_else(|| Obstacle::Missing(absent(name))),
            Err(error) => Err(Obstacle::Wrong(anyhow::Error::from(error).context(format!("interface {name}")))),
        }
    }

    /// The interface of this name; `None` where there is none.
    ///
    /// # Errors
    /// The kernel gave no answer.
    pub fn look(&mut self, name: &str) -> io::Result<Option<Nic>> {
        if let Some(nic) = self.nics.get(name) {
            return Ok(nic.clone());
        }
        let nic = match Nic::read(name) {
            Ok(nic) => Some(nic),
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => None,
            Err(error) => return Err(error),
        };
        self.nics.insert(name.to_owned(), nic.clone());
        Ok(nic)
    }

    /// All interfaces that a rule names and nobody has; `first` is the reason where all of them have come by now.
    fn missing(&mut self, rule: &Rule, first: String) -> Obstacle {
        let mut names: Vec<&str> = Vec::new();
        for name in rule.interfaces() {
            if !names.contains(&name) && matches!(self.look(name), Ok(None)) {
                names.push(name);
            }
        }
        Obstacle::Missing(if names.is_empty() { first } else { all_absent(&names) })
    }

    /// Asks for an interface's sockets, unless that has been refused before.
    fn ensure(&mut self, nic: &Nic, role: Role, ensure: impl FnOnce() -> anyhow::Result<()>) -> Result<(), Obstacle> {
        let key = (nic.name.clone(), role == Role::Ingress);
        if let Some((why, may_pass)) = self.refused.get(&key).cloned() {
            return Err(Obstacle::Wrong(if may_pass { MayPass(why).into() } else { anyhow::anyhow!(why) }));
        }
        ensure().map_err(|error| {
            self.refused.insert(key, (format!("{error:#}"), may_pass(&error)));
            Obstacle::Wrong(error)
        })
    }
}

impl State {
    /// What there is for `rule` on this machine: its interfaces as they are, and what outputs lack; or why it cannot forward at all.
    pub fn survey(&self, rule: &Rule, seen: &mut Seen) -> Result<Survey, Obstacle> {
        self.find(rule, seen).map_err(|obstacle| match obstacle {
            Obstacle::Missing(first) => seen.missing(rule, first),
            other => other,
        })
    }

    fn find(&self, rule: &Rule, seen: &mut Seen) -> Result<Survey, Obstacle> {
        let mode = |name: &str| self.options.mode(name);
        let name = &rule.matcher.interface;
        let ingress = seen.nic(name)?;
        self.fits(&ingress, Role::Ingress).map_err(Obstacle::Wrong)?;
        let mut survey = Survey { found: vec![(ingress, Role::Ingress, mode(name))], lacking: Vec::new() };
        for output in &rule.outputs {
            let name = &output.interface;
            let fits = |nic: &Nic| self.fits(nic, Role::Egress).map_err(Obstacle::Wrong);
            let found = seen.nic(name).and_then(|nic| {
                fits(&nic)?;
                match seen.answers.lack(&rule.matcher, output, &nic) {
                    Ok(None) => Ok((nic, Role::Egress, mode(name))),
                    Ok(Some(lack)) => Err(Obstacle::NoAddress(lack)),
                    Err(error) => {
                        Err(Obstacle::Wrong(anyhow::Error::from(error).context(format!("addresses of {name}"))))
                    }
                }
            });
            match found {
                Ok(found) => survey.found.push(found),
                Err(obstacle) => survey.lacking.push(obstacle),
            }
        }
        survey.for_one_output_at_least()
    }

    /// Whether an interface can be used by the workers that there are.
    pub fn fits(&self, nic: &Nic, role: Role) -> anyhow::Result<()> {
        self.plan().check(nic, role)
    }

    /// How the workers are made.
    pub fn plan(&self) -> Plan {
        let datapath = &self.options.config.datapath;
        Plan {
            workers: self.workers,
            profile: datapath.profile,
            frames_limit: self.frames_limit,
            reserve: datapath.cpu_reserve,
        }
    }

    /// Starts the workers, made for these interfaces, should there be none yet.
    pub fn ensure_fleet(&mut self, wanted: &[(Nic, Role, Mode)]) -> anyhow::Result<()> {
        if self.fleet.is_none() && !wanted.is_empty() {
            let plan = self.plan();
            // Before anything is touched.
            wanted.iter().try_for_each(|(nic, role, _)| plan.check(nic, *role))?;
            self.fleet = Some(Fleet::start(plan)?);
        }
        Ok(())
    }

    /// Attaches what the daemon needs at its start: the interfaces that flags name, which is a demand. Those of rules are attached
    /// with their rules, each of which may wait, unless a mode that a flag demands is not granted.
    ///
    /// # Errors
    /// A demand is not met.
    pub fn attach_demanded(&mut self, demanded: &[(Nic, Role)], known: &[(Nic, Role)]) -> anyhow::Result<()> {
        let plan = self.plan();
        demanded.iter().try_for_each(|(nic, role)| plan.check(nic, *role))?;
        let known: Vec<(Nic, Role)> =
            known.iter().filter(|(nic, role)| plan.check(nic, *role).is_ok()).cloned().collect();
        if known.is_empty() {
            return Ok(());
        }
        let mut fleet = Fleet::start(plan)?;
        fleet.known = Some(Known::new(fleet.budget(), &known, plan.workers));
        fleet.enough = enough_for(&known, plan.workers);
        self.fleet = Some(fleet);
        for (nic, role) in demanded {
            go_on()?;
            self.ensure_interface(nic, *role, self.options.mode(&nic.name))?;
        }
        let has_both = |nic: &Nic| known.iter().filter(|(other, _)| other.ifindex == nic.ifindex).count() > 1;
        for (nic, role) in &known {
            go_on()?;
            // An interface that is both begins with the role that needs more.
            let comes_first = *role == Role::Ingress && has_both(nic);
            if !self.options.mode_is_demanded && !comes_first {
                continue;
            }
            if let Err(error) = self.ensure_interface(nic, *role, self.options.mode(&nic.name))
                && self.options.mode_is_demanded
                && error.is::<NotGranted>()
            {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Sees to it that an interface has the sockets that it needs.
    pub fn ensure_interface(&mut self, nic: &Nic, role: Role, mode: Mode) -> anyhow::Result<()> {
        if self.interfaces.are_stale(nic) {
            self.follow();
            if self.interfaces.are_stale(nic) {
                // `nic` was read before; whoever asked is told of the change, and asks again.
                bail!("{}: it is another interface by now", nic.name);
            }
        }
        let place = self.interfaces.place_named(&nic.name).and_then(|place| place.interface.as_mut());
        if place.is_some_and(|interface| interface.scrutiny.is_pending(role)) {
            return Ok(());
        }
        self.bind_interface(nic, role, mode)
    }

    /// Attaches it, and opens the sockets that are not there yet.
    pub(super) fn bind_interface(&mut self, nic: &Nic, role: Role, mode: Mode) -> anyhow::Result<()> {
        if self.interfaces.serves(nic, role, self.workers) {
            return Ok(());
        }
        // Before the program: a driver may start its queues anew.
        let changed = role == Role::Ingress && self.offloads.keep_tags(nic);
        let mut attached = self.attach(nic, role, mode);
        if attached.as_ref().is_err_and(may_pass) && self.release_for_frames() {
            attached = self.attach(nic, role, mode);
        }
        if attached.is_err() && changed {
            self.offloads.restore(nic);
        }
        attached
    }

    fn attach(&mut self, nic: &Nic, role: Role, mode: Mode) -> anyhow::Result<()> {
        let fleet = self.fleet.as_mut().context("no worker runs")?;
        self.interfaces.attach(nic, role, mode, &mut self.program, fleet)
    }

    /// Attaches what `rule` needs; what its outputs lack, or why it cannot forward at all.
    pub fn prepare(&mut self, rule: &Rule, seen: &mut Seen) -> Result<Vec<Obstacle>, Obstacle> {
        let Survey { found, lacking } = self.survey(rule, seen)?;
        self.ensure_fleet(&found).map_err(Obstacle::Wrong)?;
        let mut survey = Survey { found: Vec::new(), lacking };
        for (nic, role, mode) in found {
            match seen.ensure(&nic, role, || self.ensure_interface(&nic, role, mode)) {
                Ok(()) => survey.found.push((nic, role, mode)),
                // An interface that is both begins with the role that needs more.
                Err(obstacle) if role == Role::Ingress => return Err(obstacle),
                Err(obstacle) => survey.lacking.push(obstacle),
            }
        }
        let lacking = survey.for_one_output_at_least()?.lacking;
        let told = self.tell_sources(rule, &mut seen.answers).context("addresses to send from");
        told.map_err(Obstacle::Wrong).map(|()| lacking)
    }
}

/// Whether an interface is there; the error as a user reads it, where it is not.
pub fn read_nic(name: &str) -> anyhow::Result<Nic> {
    Nic::read(name).map_err(|error: io::Error| match error.raw_os_error() {
        Some(libc::ENODEV) => anyhow::anyhow!("no interface {name}; `ip link` lists those that exist"),
        _ => anyhow::Error::from(error).context(format!("interface {name}")),
    })
}
