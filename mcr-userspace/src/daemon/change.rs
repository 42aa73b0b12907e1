//! Makes a change of the rules true: interfaces, workers, then the kernel's map; and back in the other order.

use std::{io, sync::Arc};

use anyhow::{Context, bail};
use mcr_common::flow::FlowValue;

use super::{
    active::Active,
    fleet::Fleet,
    interfaces::{Role, plan_fleet},
    state::{Live, State},
};
use crate::{
    config::Mode,
    forward::{mailbox::Command, rule::Compiled},
    kernel::nic::Nic,
    rules::{
        rule::{Rule, Source},
        set::Change,
    },
};

/// Why a rule cannot forward now.
#[derive(Debug)]
pub enum Obstacle {
    /// Something that may come: an interface, an address.
    Missing(String),
    /// Something that is wrong.
    Wrong(anyhow::Error),
}

impl State {
    /// What lacks for `rule` on this machine: its interfaces as they are, or the obstacle.
    pub fn survey(&self, rule: &Rule) -> Result<Vec<(Nic, Role, Mode)>, Obstacle> {
        let mut found = Vec::new();
        let mut need = |name: &str, role: Role| -> Result<Nic, Obstacle> {
            let nic = Nic::read(name).map_err(|error| match error.raw_os_error() {
                Some(libc::ENODEV) => Obstacle::Missing(format!("no interface {name}")),
                _ => Obstacle::Wrong(anyhow::Error::from(error).context(format!("interface {name}"))),
            })?;
            found.push((nic.clone(), role, self.options.mode(name)));
            Ok(nic)
        };
        need(&rule.matcher.interface, Role::Ingress)?;
        for output in &rule.outputs {
            let nic = need(&output.interface, Role::Egress)?;
            if output.source == Source::Interface && nic.address.is_none() {
                return Err(Obstacle::Missing(format!(
                    "{name} has no IPv4 address to send from (`ip addr add ADDRESS/LEN dev {name}`, or source=keep or source=ADDRESS)",
                    name = output.interface
                )));
            }
        }
        Ok(found)
    }

    /// Sees to it that these interfaces have the sockets that they need.
    pub fn ensure_interfaces(&mut self, wanted: &[(Nic, Role, Mode)]) -> anyhow::Result<()> {
        if self.fleet.is_none() && !wanted.is_empty() {
            let config = &self.options.config;
            let plan = plan_fleet(self.workers, config.limits.frames, wanted, config.datapath.profile)?;
            self.fleet = Some(Fleet::start(plan)?);
        }
        let Some(fleet) = &mut self.fleet else { return Ok(()) };
        for (nic, role, mode) in wanted {
            if !self.interfaces.serves(&nic.name, *role, fleet.plan.workers) {
                self.interfaces.attach(nic, *role, *mode, &mut self.program, fleet)?;
                if let Some((_, interface)) = self.interfaces.find(&nic.name) {
                    log::info!("{}", super::report::interface_line(interface));
                }
            }
        }
        Ok(())
    }

    /// Lets `rule` forward: it has a slot, workers know it, and then the kernel steers for it.
    fn activate(&mut self, rule: &Rule, lineage: u64) -> Result<Arc<Active>, Obstacle> {
        let wanted = self.survey(rule)?;
        self.ensure_interfaces(&wanted).map_err(Obstacle::Wrong)?;
        self.start(rule, lineage).map_err(Obstacle::Wrong)
    }

    fn start(&mut self, rule: &Rule, lineage: u64) -> anyhow::Result<Arc<Active>> {
        let fleet = self.fleet.as_ref().context("no interface is attached")?;
        let (_, ingress) = self.interfaces.find(&rule.matcher.interface).context("its interface is not attached")?;
        let compiled = Compiled::new(rule, ingress.nic.ifindex, |name| self.interfaces.find(name).map(|(id, _)| id))
            .context("an output's interface is not attached")?;
        let Some(slot) = self.slots.take() else {
            bail!("rules were removed faster than their packets could be waited for; try again in a moment");
        };
        let value = FlowValue { slot, xsk_base: ingress.xsk_base };
        let active = Arc::new(Active::new(rule.clone(), lineage, compiled, value, fleet.handles.len()));
        for (handle, counters) in fleet.handles.iter().zip(&active.counters) {
            handle.post.send(Command::Install {
                slot,
                matcher: rule.matcher.clone(),
                rule: active.compiled.clone(),
                counters: counters.clone(),
            });
        }
        // The messages are on their way: a worker reads them before it handles a packet that this insertion lets through.
        if let Err(error) = self.flows.insert(active.compiled.ifindex(), &rule.matcher, value) {
            let error = anyhow::Error::from(error).context("entering it in the kernel's map of rules");
            self.retiring.push(active);
            return Err(error);
        }
        Ok(active)
    }

    /// Takes a rule out of the kernel's map; its packets that wait are still forwarded.
    pub fn retire(&mut self, active: Arc<Active>) {
        if let Err(error) = self.flows.remove(active.compiled.ifindex(), &active.rule.matcher, active.value) {
            log::error!("{}: removing it from the kernel's map of rules: {error}", active.rule.name);
        }
        self.retiring.push(active);
    }

    /// Applies one change whose rule the set has already accepted. A rule that cannot forward waits, with a warning.
    pub fn apply(&mut self, change: &Change) -> Option<String> {
        match change {
            Change::Add(rule) => {
                self.lineages += 1;
                self.apply_rule(rule, Live { lineage: self.lineages, ..Live::default() })
            }
            Change::Replace { old, new } => {
                let mut live = self.live.remove(&old.name).unwrap_or_default();
                let before = live.active.take();
                // The new one is in place before the old one goes: no packet between finds neither.
                let warning = self.apply_rule(new, live);
                if let Some(before) = before {
                    self.retire(before);
                }
                warning
            }
            Change::Remove(name) => {
                if let Some(active) = self.live.remove(name).and_then(|live| live.active) {
                    self.retire(active);
                }
                None
            }
        }
    }

    fn apply_rule(&mut self, rule: &Rule, mut live: Live) -> Option<String> {
        let warning = match self.activate(rule, live.lineage) {
            Ok(active) => {
                live.active = Some(active);
                live.waiting.clear();
                None
            }
            Err(obstacle) => {
                live.waiting = obstacle.to_string();
                Some(format!("rule {} waits: {obstacle}", rule.name))
            }
        };
        self.live.insert(rule.name.clone(), live);
        warning
    }

    /// Tries the rules that wait once more.
    pub fn wake_waiting(&mut self) {
        let waiting: Vec<Rule> = self.set.iter().filter(|rule| self.waits(&rule.name)).cloned().collect();
        for rule in waiting {
            // Only what has come since: an obstacle that stays is not said again.
            if self.survey(&rule).is_ok() {
                let live = self.live.remove(&rule.name).unwrap_or_default();
                match self.apply_rule(&rule, live) {
                    None => log::info!("rule {} forwards now", rule.name),
                    Some(warning) => log::warn!("{warning}"),
                }
            }
        }
    }

    fn waits(&self, name: &str) -> bool {
        self.live.get(name).is_none_or(|live| live.active.is_none())
    }
}

impl std::fmt::Display for Obstacle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing(what) => f.write_str(what),
            Self::Wrong(error) => write!(f, "{error:#}"),
        }
    }
}

/// Whether an interface is there; the error as a user reads it, where it is not.
pub fn read_nic(name: &str) -> anyhow::Result<Nic> {
    Nic::read(name).map_err(|error: io::Error| match error.raw_os_error() {
        Some(libc::ENODEV) => anyhow::anyhow!("no interface {name}; `ip link` lists those that exist"),
        _ => anyhow::Error::from(error).context(format!("interface {name}")),
    })
}
