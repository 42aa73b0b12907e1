//! Rules that wait: each is tried again when what it waits for has changed, and only then.

use std::{
    collections::{BTreeSet, HashMap},
    time::Instant,
};

use super::{
    retry::Retry,
    state::{Live, State},
    survey::{Obstacle, Seen},
};
use crate::{kernel::nic::Nic, rules::rule::Rule};

/// Names that are watched at most. With more, those that no rule waits for any more are forgotten.
const MAX_NAMES: usize = 1024;

/// Interfaces that rules wait for, as they were when they were last looked at; `None` for a name that no interface has.
#[derive(Debug, Default)]
pub struct Watch(HashMap<String, Option<Nic>>);

impl Watch {
    /// Watches the interfaces of a rule, from now on; whether all of them could be asked for.
    fn add(&mut self, rule: &Rule, seen: &mut Seen) -> bool {
        let mut all = true;
        for name in rule.interfaces() {
            if self.0.contains_key(name) {
                continue;
            }
            match seen.look(name) {
                Ok(now) => drop(self.0.insert(name.to_owned(), now)),
                Err(_) => all = false,
            }
        }
        all
    }

    /// The names whose interface is not what it was.
    fn changed(&mut self, seen: &mut Seen) -> BTreeSet<String> {
        let mut changed = BTreeSet::new();
        for (name, then) in &mut self.0 {
            // No answer is no change.
            let Ok(now) = seen.look(name) else { continue };
            if *then != now {
                *then = now;
                changed.insert(name.clone());
            }
        }
        changed
    }
}

impl Live {
    /// Waits from now on, for this reason.
    pub fn begin_to_wait(&mut self, why: String) {
        self.active = None;
        self.hearing.begins();
        self.traffic.forget();
        self.waiting = why;
        self.is_new_waiter = true;
    }

    /// It was tried in vain: when it is tried again though nothing has changed.
    pub fn failed(&mut self, obstacle: &Obstacle) {
        self.needs_address = matches!(obstacle, Obstacle::NoAddress(_));
        self.retry = obstacle.may_pass().then(|| Retry::after(self.retry, Instant::now()));
    }
}

impl State {
    /// Tries the rules that wait once more, where something has changed for them. `has_news`: the kernel has told of a change of
    /// some interface or address.
    pub fn wake_waiting(&mut self, has_news: bool) {
        let seen = &mut Seen::default();
        let changed = self.watch.changed(seen);
        for rule in self.due_waiters(&changed, has_news) {
            if !self.watch.add(&rule, seen)
                && let Some(live) = self.live.get_mut(&rule.name)
            {
                live.is_new_waiter = true;
            }
            let found = match self.survey(&rule, seen) {
                Ok(found) => found,
                Err(obstacle) => {
                    // It may be another one by now.
                    if let Some(live) = self.live.get_mut(&rule.name) {
                        live.waiting = obstacle.to_string();
                        live.failed(&obstacle);
                    }
                    continue;
                }
            };
            let Some(live) = self.live.remove(&rule.name) else { continue };
            let is_due = live.retry.is_some_and(|retry| retry.is_due(Instant::now()));
            if !is_due && found.nics().eq(&live.tried) {
                self.live.insert(rule.name, live);
                continue;
            }
            let before = live.waiting.clone();
            let warning = self.try_rule(&rule, live, seen);
            // The same reason is not said each time that it is tried; that it forwards is a change of its state, which is told.
            let still = self.live.get(&rule.name).filter(|live| live.active.is_none());
            if still.is_some_and(|live| live.waiting != before) {
                warning.iter().for_each(|warning| log::warn!("{warning}"));
            }
        }
        if self.watch.0.len() > MAX_NAMES {
            self.watch = Watch::default();
            self.live.values_mut().filter(|live| live.active.is_none()).for_each(|live| live.is_new_waiter = true);
        }
    }

    /// The waiting rules that are new, or due, or that name an interface which has changed.
    fn due_waiters(&mut self, changed: &BTreeSet<String>, has_news: bool) -> Vec<Rule> {
        let now = Instant::now();
        let Self { live, set, .. } = self;
        let waiting = live.iter_mut().filter(|(_, live)| live.active.is_none());
        let due = waiting.filter_map(|(name, live)| {
            let is_due = live.retry.is_some_and(|retry| retry.is_due(now)) || live.needs_address && has_news;
            let is_new = std::mem::take(&mut live.is_new_waiter);
            if !is_new && !is_due && changed.is_empty() {
                return None;
            }
            let rule = set.get(name).filter(|rule| rule.enabled)?;
            (is_new || is_due || rule.interfaces().any(|name| changed.contains(name))).then(|| rule.clone())
        });
        due.collect()
    }

    /// Frames or slots are free again: what failed for the lack of them is tried at once.
    pub fn hurry(&mut self) {
        let now = Instant::now();
        self.live.values_mut().filter_map(|live| live.retry.as_mut()).for_each(|retry| retry.hurry(now));
        for (_, place) in self.interfaces.iter_mut() {
            place.refused.iter_mut().for_each(|refused| refused.hurry(now));
        }
    }
}
