//! Makes a change of the rules true: interfaces, workers, then the kernel's map; and back in the other order.

use std::{
    collections::HashMap,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use mcr_common::{counter::OutputDrop, flow::FlowValue};

use super::{
    active::Active,
    fit::Plan,
    fleet::Fleet,
    hearing,
    interfaces::Role,
    state::{Live, State},
};
use crate::{
    config::Mode,
    forward::{counters::OutputCounters, mailbox::Command, rule::Compiled},
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

/// Interfaces as they were when a change first asked for them: thousands of rules name the same few.
#[derive(Debug, Default)]
pub struct Seen(HashMap<String, Nic>);

impl Seen {
    fn nic(&mut self, name: &str) -> Result<Nic, Obstacle> {
        if let Some(nic) = self.0.get(name) {
            return Ok(nic.clone());
        }
        let nic = Nic::read(name).map_err(|error| match error.raw_os_error() {
            Some(libc::ENODEV) => Obstacle::Missing(format!("no interface {name}")),
            _ => Obstacle::Wrong(anyhow::Error::from(error).context(format!("interface {name}"))),
        })?;
        self.0.insert(name.to_owned(), nic.clone());
        Ok(nic)
    }
}

impl State {
    /// What lacks for `rule` on this machine: its interfaces as they are, or the obstacle.
    pub fn survey(&self, rule: &Rule, seen: &mut Seen) -> Result<Vec<(Nic, Role, Mode)>, Obstacle> {
        let mut found = Vec::new();
        let mut need = |name: &str, role: Role| -> Result<Nic, Obstacle> {
            let nic = seen.nic(name)?;
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

    /// Sees to it that these interfaces have the sockets that they need. What can be refused beforehand changes nothing.
    pub fn ensure_interfaces(&mut self, wanted: &[(Nic, Role, Mode)]) -> anyhow::Result<()> {
        let mut wanted = wanted.to_vec();
        // An interface that is both begins with the role that needs more.
        wanted.sort_by_key(|(_, role, _)| *role == Role::Egress);
        let plan = match &self.fleet {
            Some(fleet) => fleet.plan,
            None if wanted.is_empty() => return Ok(()),
            None => {
                let config = &self.options.config;
                Plan::new(self.workers, config.limits.frames, &wanted, config.datapath.profile)
            }
        };
        for (nic, role, _) in &wanted {
            self.interfaces.check(nic, *role, &plan)?;
        }
        let fleet = match &mut self.fleet {
            Some(fleet) => fleet,
            none => none.insert(Fleet::start(plan)?),
        };
        for (nic, role, mode) in &wanted {
            if !self.interfaces.serves(&nic.name, *role, plan.workers) {
                // Before the program: a driver may start its queues anew.
                let changed = *role == Role::Ingress && self.offloads.keep_tags(nic);
                let attached = self.interfaces.attach(nic, *role, *mode, &mut self.program, fleet);
                if attached.is_err() && changed {
                    self.offloads.restore(nic);
                }
                attached?;
            }
        }
        Ok(())
    }

    /// Lets `rule` forward: it has a slot, workers know it, and then the kernel steers for it.
    pub fn activate(&mut self, rule: &Rule, lineage: u64, seen: &mut Seen) -> Result<Arc<Active>, Obstacle> {
        let wanted = self.survey(rule, seen)?;
        self.ensure_interfaces(&wanted).map_err(Obstacle::Wrong)?;
        self.offloads.hint(rule);
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
        let value = FlowValue { slot, xsk_base: ingress.xsk_base, queues: ingress.span };
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
        let how = self.options.membership(&rule.matcher.interface);
        self.members.add(active.compiled.ifindex(), &rule.matcher, how);
        Ok(active)
    }

    /// Takes a rule out of the kernel's map; its packets that wait are still forwarded.
    pub fn retire(&mut self, active: Arc<Active>) {
        let matcher = &active.rule.matcher;
        self.members.remove(active.compiled.ifindex(), matcher, self.options.membership(&matcher.interface));
        if let Err(error) = self.flows.remove(active.compiled.ifindex(), &active.rule.matcher, active.value) {
            log::error!("{}: removing it from the kernel's map of rules: {error}", active.rule.name);
        }
        self.retiring.push(active);
    }

    /// Applies changes whose rules the set has already accepted. A rule that cannot forward waits, with a warning.
    ///
    /// What comes is in place before what goes is gone, so that a packet that both take, or that a renamed rule takes, finds one
    /// of them at any moment.
    pub fn apply_all(&mut self, changes: &[Change]) -> Vec<String> {
        let mut going = Vec::new();
        let mut coming = Vec::new();
        for change in changes {
            match change {
                Change::Add(rule) => coming.push((rule, self.new_live())),
                Change::Replace { old, new } => {
                    let mut live = self.live.remove(&old.name).unwrap_or_default();
                    going.extend(live.active.take());
                    coming.push((new, live));
                }
                Change::Remove(name) => going.extend(self.live.remove(name).and_then(|live| live.active)),
            }
        }
        // Where slots lack for both at once, they take turns.
        let early = if self.slots.left() < coming.len() { std::mem::take(&mut going) } else { Vec::new() };
        early.into_iter().for_each(|active| self.retire(active));
        // One wait for running programs serves all.
        if let Err(error) = self.flows.announce(coming.iter().map(|(rule, _)| &rule.matcher)) {
            log::error!("telling the kernel of new shapes of rules: {error}");
        }
        let seen = &mut Seen::default();
        let warnings = coming.into_iter().filter_map(|(rule, live)| self.try_rule(rule, live, seen)).collect();
        going.into_iter().for_each(|active| self.retire(active));
        warnings
    }

    /// What a rule of a new name starts with.
    pub fn new_live(&mut self) -> Live {
        self.lineages += 1;
        Live { lineage: self.lineages, ..Live::default() }
    }

    /// Lets a rule forward, or wait; why it waits.
    fn try_rule(&mut self, rule: &Rule, mut live: Live, seen: &mut Seen) -> Option<String> {
        let outcome = self.activate(rule, live.lineage, seen);
        let warning = outcome.as_ref().err().map(|obstacle| format!("rule {} waits: {obstacle}", rule.name));
        if outcome.is_err() {
            live.tried = self
                .survey(rule, seen)
                .map(|found| found.into_iter().map(|(nic, ..)| nic).collect())
                .unwrap_or_default();
        }
        live.take(outcome);
        self.live.insert(rule.name.clone(), live);
        warning
    }

    /// Looks around: interfaces that have changed, rules that wait for one, losses that have a remedy.
    pub fn tick(&mut self) {
        if let Some(fleet) = &self.fleet {
            self.interfaces.refresh(fleet);
        }
        self.wake_waiting();
        self.members.retry();
        self.say_expired();
        self.hear();
        if let Err(error) = self.flows.tidy() {
            log::error!("tidying the kernel's table of shapes: {error}");
        }
    }

    /// Tries the rules that wait once more, where something has changed for them.
    fn wake_waiting(&mut self) {
        let waiting: Vec<Rule> = self
            .live
            .iter()
            .filter(|(_, live)| live.active.is_none())
            .filter_map(|(name, _)| self.set.get(name))
            .cloned()
            .collect();
        let seen = &mut Seen::default();
        for rule in waiting {
            let found = match self.survey(&rule, seen) {
                Ok(found) => found,
                Err(obstacle) => {
                    // It may be another one by now.
                    if let Some(live) = self.live.get_mut(&rule.name) {
                        live.waiting = obstacle.to_string();
                    }
                    continue;
                }
            };
            let Some(live) = self.live.remove(&rule.name) else { continue };
            if found.iter().map(|(nic, ..)| nic).eq(&live.tried) {
                self.live.insert(rule.name, live);
                continue;
            }
            match self.try_rule(&rule, live, seen) {
                None => log::info!("rule {} forwards now", rule.name),
                Some(warning) => log::warn!("{warning}"),
            }
        }
    }

    /// Says of each stream once when it stops, and once when it returns.
    fn hear(&mut self) {
        let now = Instant::now();
        for (name, live) in &mut self.live {
            let (Some(active), Some(rule)) = (&live.active, self.set.get(name)) else { continue };
            let count = self.program.count(active.value.slot).packets;
            let shown = |time: Duration| humantime::format_duration(Duration::from_secs(time.as_secs()));
            match live.hearing.look(count, now, rule.stall_after) {
                Some(hearing::Change::Stopped) => log::warn!(
                    "rule {name}: its stream has stopped: no packet for {}; look at its sender, and at the way to {}",
                    shown(live.hearing.silence(now).unwrap_or_default()),
                    rule.matcher.interface
                ),
                Some(hearing::Change::Returned(silence)) => {
                    log::info!("rule {name}: its stream is back after {}", shown(silence));
                }
                None => {}
            }
        }
    }

    /// Says once for each rule that its packets come with too small a TTL.
    fn say_expired(&mut self) {
        for (name, live) in &mut self.live {
            let Some(active) = live.active.as_ref().filter(|_| !live.said_expired) else { continue };
            let expired = |output: &OutputCounters| output.dropped[OutputDrop::TtlExpired as usize].get() > 0;
            if active.counters.iter().any(|counters| counters.outputs.iter().any(expired)) {
                live.said_expired = true;
                log::warn!(
                    "rule {name}: packets come with a TTL that ends here (1, or 0) and are dropped (ttl_expired); raise the sender's TTL, or set ttl=N at the output"
                );
            }
        }
    }
}

impl Live {
    /// Forwards, or waits with the reason.
    pub fn take(&mut self, outcome: Result<Arc<Active>, Obstacle>) {
        match outcome {
            Ok(active) => {
                self.active = Some(active);
                self.hearing.has_new_slot();
                self.waiting.clear();
            }
            Err(obstacle) => {
                self.active = None;
                self.waiting = obstacle.to_string();
            }
        }
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
