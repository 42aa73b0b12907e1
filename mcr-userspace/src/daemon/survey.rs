//! What a rule finds on this machine, and what it lacks: interfaces, workers, sockets, addresses.

use std::{collections::HashMap, io};

use anyhow::{Context, bail};

use super::{
    fit::Plan,
    fleet::Fleet,
    interfaces::{Role, absent},
    state::State,
};
use crate::{
    config::Mode,
    kernel::nic::Nic,
    rules::rule::{Output, Rule, Source},
};

/// Why a rule cannot forward now.
#[derive(Debug)]
pub enum Obstacle {
    /// Something that may come: an interface, an address.
    Missing(String),
    /// Something that is wrong.
    Wrong(anyhow::Error),
}

impl std::fmt::Display for Obstacle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing(what) => f.write_str(what),
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
    nics: HashMap<String, Nic>,
    /// Why there are no sockets on one of them, in a role.
    refused: HashMap<(String, bool), String>,
}

impl Seen {
    fn nic(&mut self, name: &str) -> Result<Nic, Obstacle> {
        if let Some(nic) = self.nics.get(name) {
            return Ok(nic.clone());
        }
        let nic = Nic::read(name).map_err(|error| match error.raw_os_error() {
            Some(libc::ENODEV) => Obstacle::Missing(absent(name)),
            _ => Obstacle::Wrong(anyhow::Error::from(error).context(format!("interface {name}"))),
        })?;
        self.nics.insert(name.to_owned(), nic.clone());
        Ok(nic)
    }

    /// Asks for an interface's sockets, unless that has been refused before.
    fn ensure(&mut self, nic: &Nic, role: Role, ensure: impl FnOnce() -> anyhow::Result<()>) -> Result<(), Obstacle> {
        let key = (nic.name.clone(), role == Role::Ingress);
        if let Some(why) = self.refused.get(&key) {
            return Err(Obstacle::Wrong(anyhow::anyhow!(why.clone())));
        }
        ensure().map_err(|error| {
            self.refused.insert(key, format!("{error:#}"));
            Obstacle::Wrong(error)
        })
    }
}

impl State {
    /// What there is for `rule` on this machine: its interfaces as they are, and what outputs lack; or why it cannot forward at all.
    pub fn survey(&self, rule: &Rule, seen: &mut Seen) -> Result<Survey, Obstacle> {
        let mode = |name: &str| self.options.mode(name);
        let name = &rule.matcher.interface;
        let ingress = seen.nic(name)?;
        self.fits(&ingress, Role::Ingress).map_err(Obstacle::Wrong)?;
        let mut survey = Survey { found: vec![(ingress, Role::Ingress, mode(name))], lacking: Vec::new() };
        for output in &rule.outputs {
            let name = &output.interface;
            let fits = |nic: &Nic| self.fits(nic, Role::Egress).map_err(Obstacle::Wrong);
            let found = seen.nic(name).and_then(|nic| match no_address(output, &nic) {
                Some(lack) => Err(Obstacle::Missing(lack)),
                None => fits(&nic).map(|()| (nic, Role::Egress, mode(name))),
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
        self.fleet.as_ref().map_or(Ok(()), |fleet| fleet.plan.check(nic, role))
    }

    /// Starts the workers, made for these interfaces, should there be none yet.
    pub fn ensure_fleet(&mut self, wanted: &[(Nic, Role, Mode)]) -> anyhow::Result<()> {
        if self.fleet.is_none() && !wanted.is_empty() {
            let config = &self.options.config;
            let plan = Plan::new(self.workers, config.limits.frames, wanted, &config.datapath);
            // Before anything is touched.
            wanted.iter().try_for_each(|(nic, role, _)| plan.check(nic, *role))?;
            self.fleet = Some(Fleet::start(plan)?);
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
        let fleet = self.fleet.as_mut().context("no worker runs")?;
        if self.interfaces.serves(nic, role, fleet.plan.workers) {
            return Ok(());
        }
        // Before the program: a driver may start its queues anew.
        let changed = role == Role::Ingress && self.offloads.keep_tags(nic);
        let attached = self.interfaces.attach(nic, role, mode, &mut self.program, fleet);
        if attached.is_err() && changed {
            self.offloads.restore(nic);
        }
        attached
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
        survey.for_one_output_at_least().map(|survey| survey.lacking)
    }
}

/// Why an output cannot send from `nic`, which has no address.
pub fn no_address(output: &Output, nic: &Nic) -> Option<String> {
    (output.source == Source::Interface && nic.address.is_none()).then(|| {
        format!(
            "{name} has no IPv4 address to send from (`ip addr add ADDRESS/LEN dev {name}`, or source=keep or source=ADDRESS)",
            name = output.interface
        )
    })
}

/// Whether an interface is there; the error as a user reads it, where it is not.
pub fn read_nic(name: &str) -> anyhow::Result<Nic> {
    Nic::read(name).map_err(|error: io::Error| match error.raw_os_error() {
        Some(libc::ENODEV) => anyhow::anyhow!("no interface {name}; `ip link` lists those that exist"),
        _ => anyhow::Error::from(error).context(format!("interface {name}")),
    })
}
