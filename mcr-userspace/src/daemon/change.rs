//! Makes a change of the rules true: interfaces, workers, then the kernel's map; and back in the other order.

use std::sync::Arc;

use anyhow::{Context, bail};
use mcr_common::{counter::OutputDrop, flow::FlowValue};

use super::{
    active::Active,
    retry::MayPass,
    state::{Live, State},
    survey::{Obstacle, Seen},
};
use crate::{
    control::protocol::{Event, EventKind},
    forward::{
        counters::OutputCounters,
        mailbox::Command,
        rule::{Compiled, InterfaceId},
    },
    rules::{rule::Rule, set::Change},
};

impl State {
    /// Lets `rule`, whose interfaces are attached, forward: it has a slot, workers know it, and then the kernel steers for it.
    pub fn start(&mut self, rule: &Rule, lineage: u64) -> anyhow::Result<Arc<Active>> {
        self.offloads.hint(rule);
        let fleet = self.fleet.as_ref().context("no interface is attached")?;
        let egresses: Vec<InterfaceId> =
            rule.outputs.iter().map(|output| self.interfaces.id(&output.interface)).collect();
        let (_, ingress) = self.interfaces.find(&rule.matcher.interface).context("its interface is not attached")?;
        let compiled = Compiled::new(rule, ingress.nic.ifindex, &egresses).context("a rule has outputs")?;
        let Some(slot) = self.slots.take() else {
            self.slots_are_short = true;
            bail!(MayPass("the slots of rules that are gone are not free yet; it forwards once they are".to_owned()));
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
        self.follow_captures(&active);
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
    /// A new rule is in place before an old one goes, so that a packet that both match, or that a renamed rule matches, finds one of
    /// them at any moment. Where slots are short, the rules that were replaced so far go first, and then the deleted ones.
    pub fn apply_all(&mut self, changes: &[Change]) -> Vec<String> {
        self.apply_seen(changes, &mut Seen::default())
    }

    /// The same, with interfaces as they were seen by changes before these.
    pub fn apply_seen(&mut self, changes: &[Change], seen: &mut Seen) -> Vec<String> {
        let mut coming = Vec::new();
        let mut deleted = Vec::new();
        for change in changes {
            match change {
                Change::Add(rule) => {
                    // A rule that comes back goes on counting.
                    let live = self.live.remove(&rule.name);
                    coming.push((rule, live.unwrap_or_else(|| self.new_live())));
                }
                // Nothing that packets could tell: the set has it.
                Change::Replace { old, new } if old.forwards_like(new) => {}
                Change::Replace { old, new } => coming.push((new, self.live.remove(&old.name).unwrap_or_default())),
                Change::Remove(name) => deleted.extend(self.live.remove(name).and_then(|live| live.active)),
            }
        }
        // One wait for running programs serves all.
        if let Err(error) = self.flows.announce(coming.iter().map(|(rule, _)| &rule.matcher)) {
            log::error!("telling the kernel of new shapes of rules: {error}");
        }
        let mut warnings = Vec::new();
        let mut replaced = Vec::new();
        for (rule, mut live) in coming {
            if self.slots.left() == 0 {
                self.make_room(&mut replaced, &mut deleted);
            }
            let old = live.active.take();
            warnings.extend(self.try_rule(rule, live, seen));
            replaced.extend(old);
        }
        replaced.into_iter().chain(deleted).for_each(|active| self.retire(active));
        warnings
    }

    /// Frees slots: of rules that are replaced already, or else of deleted ones.
    fn make_room(&mut self, replaced: &mut Vec<Arc<Active>>, deleted: &mut Vec<Arc<Active>>) {
        let going = if replaced.is_empty() { deleted } else { replaced };
        going.drain(..).for_each(|active| self.retire(active));
        self.free_slots();
    }

    /// What a rule of a new name starts with.
    pub fn new_live(&mut self) -> Live {
        self.lineages += 1;
        Live { lineage: self.lineages, ..Live::default() }
    }

    /// Lets a rule forward, or wait; why it waits.
    pub fn try_rule(&mut self, rule: &Rule, mut live: Live, seen: &mut Seen) -> Option<String> {
        if !rule.enabled {
            live.switch_off();
            self.live.insert(rule.name.clone(), live);
            return None;
        }
        let prepared = self.prepare(rule, seen);
        let lacking = prepared.as_ref().ok().and_then(|lacking| lacking.first());
        let mut warning = lacking.map(|lack| format!("rule {}: an output waits: {lack}", rule.name));
        let outcome = prepared.and_then(|_| self.start(rule, live.lineage).map_err(Obstacle::Wrong));
        if let Err(obstacle) = &outcome {
            warning = Some(format!("rule {} waits: {obstacle}", rule.name));
            let survey = self.survey(rule, seen);
            live.tried = survey.map(|survey| survey.nics().cloned().collect()).unwrap_or_default();
            live.failed(obstacle);
        }
        live.take(outcome);
        self.live.insert(rule.name.clone(), live);
        warning
    }

    /// Looks around: interfaces that have changed, rules that wait for one, losses that have a remedy. `has_news`: the kernel has told
    /// of a change.
    pub fn tick(&mut self, has_news: bool) {
        self.take_back_when_due();
        self.follow();
        self.judge_zero_copy();
        // Before rules wake: an interface that was away for a moment may be back under its index, and has no memberships.
        self.members.tick();
        for news in self.members.news() {
            let event = Event::now(EventKind::Membership).interface(&news.interface);
            self.journal.note(event.change(None, Some(news.new)).reason(news.what));
        }
        self.wake_waiting(has_news);
        self.say_expired();
        self.say_oversize();
        self.follow_links(|_| true);
        self.follow_modes();
        self.note_standings();
        if let Err(error) = self.flows.tidy() {
            log::error!("tidying the kernel's table of shapes: {error}");
        }
    }

    /// Says once for each rule that its packets come with too small a TTL.
    fn say_expired(&mut self) {
        for (name, live) in &mut self.live {
            let Some(active) = live.active.as_ref().filter(|_| !live.said_expired) else { continue };
            let expired = |output: &OutputCounters| output.dropped[OutputDrop::TtlExpired as usize].get() > 0;
            if active.counters.iter().any(|counters| counters.outputs.iter().any(expired)) {
                live.said_expired = true;
                let told = "packets come with a TTL that ends here (1, or 0) and are dropped (ttl_expired); raise the sender's TTL, or set ttl=N at the output";
                log::warn!("rule {name}: {told}");
                self.journal.note(Event::now(EventKind::Alarm).rule(name).reason(told.to_owned()));
            }
        }
    }
}

impl Live {
    /// Neither forwards nor waits.
    pub fn switch_off(&mut self) {
        self.begin_to_wait(String::new());
        (self.retry, self.needs_address, self.is_new_waiter) = (None, false, false);
    }

    /// Forwards, or waits with the reason.
    pub fn take(&mut self, outcome: Result<Arc<Active>, Obstacle>) {
        match outcome {
            Ok(active) => {
                self.active = Some(active);
                self.hearing.has_new_slot();
                self.traffic.forget();
                self.waiting.clear();
                self.retry = None;
            }
            Err(obstacle) => self.begin_to_wait(obstacle.to_string()),
        }
    }
}
