//! A reload that is taken back unless somebody confirms it: what an operator cut off by the change itself needs.
//!
//! Rules may be added, changed and deleted meanwhile. They stay as they were made when the reload is taken back; all others become what
//! they were before it.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use super::{
    active::Active,
    journal::{self, MOST_LINES},
    origin::Origins,
    retire::Shared,
    state::{Live, State},
};
use crate::{
    control::{
        peer::Peer,
        protocol::{ErrorCode::NotFound, Response},
    },
    rules::{
        rule::Rule,
        set::{Change, RuleSet},
        value,
    },
};

/// How long a reload may wait for its confirmation.
const PATIENCE: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(24 * 3600)];

/// A reload that waits for its confirmation.
#[derive(Debug)]
pub struct Unconfirmed {
    /// When it is taken back.
    until: Instant,
    /// For how long it was to wait.
    patience: Duration,
    /// The rules before it.
    former: RuleSet,
    former_origins: Origins,
    /// As the reload has left them.
    origins: Origins,
    /// What it did.
    changes: Vec<Change>,
    /// What the rules that it deleted have counted, by name.
    shelf: BTreeMap<String, Live>,
}

/// A time to wait for the confirmation, as typed; or what is wrong with it.
pub fn patience(text: &str) -> Result<Duration, String> {
    let shown = value::shown(text);
    match humantime::parse_duration(text) {
        Ok(patience) if (PATIENCE[0]..=PATIENCE[1]).contains(&patience) => Ok(Duration::from_secs(patience.as_secs())),
        Ok(_) => Err(format!("--confirm: `{shown}` is not between 1s and 24h; 60s suits most changes")),
        Err(_) => {
            let why = value::negative(text);
            let why = why.unwrap_or_else(|| format!("`{shown}` is not a duration; write one such as 60s"));
            Err(format!("--confirm: {why}"))
        }
    }
}

impl Unconfirmed {
    /// What was before a reload that did `changes`.
    pub fn new(former: (RuleSet, Origins), origins: &Origins, changes: Vec<Change>, patience: Duration) -> Self {
        let (former, former_origins) = former;
        let until = Instant::now() + patience;
        Self { until, patience, former, former_origins, origins: origins.clone(), changes, shelf: BTreeMap::new() }
    }

    /// The rules to go back to: the former ones, but what others have done since to `now` stays; and why some of that cannot stay.
    fn target(&self, now: &RuleSet) -> (RuleSet, Vec<String>) {
        let mut target = self.former.clone();
        let by_name = |change: &Change| match change {
            Change::Add(rule) => (rule.name.clone(), Some(rule.clone())),
            Change::Replace { new, .. } => (new.name.clone(), Some(new.clone())),
            Change::Remove(name) => (name.clone(), None),
        };
        let changed: HashMap<String, Option<Rule>> = self.changes.iter().map(by_name).collect();
        let applied = |name: &str| match changed.get(name) {
            Some(rule) => rule.as_ref(),
            None => self.former.get(name),
        };
        let names = self.former.iter().map(|rule| rule.name.as_str()).chain(changed.keys().map(String::as_str));
        // What is gone since goes first, so that its match is free.
        for name in names.filter(|name| applied(name).is_some() && now.get(name).is_none()) {
            target.remove(name);
        }
        let others: Vec<&Rule> = now.iter().filter(|rule| applied(&rule.name) != Some(rule)).collect();
        for rule in &others {
            target.remove(&rule.name);
        }
        let mut lost = Vec::new();
        for rule in others {
            if let Err(problem) = target.insert(rule.clone()) {
                lost.push(format!("rule {}, changed since, is deleted: {problem}", rule.name));
                // The former one of that name, which was taken out for it.
                if let Some(former) = self.former.get(&rule.name) {
                    target.insert(former.clone()).ok();
                }
            }
        }
        (target, lost)
    }
}

impl Shared {
    /// Keeps what a reload has changed that waits for its confirmation.
    pub fn confirm(&self, peer: &Peer) -> Response {
        let mut state = self.lock();
        // Of two that come at the same moment, time and confirmation, time is first.
        state.take_back_when_due();
        let Some(confirmed) = state.unconfirmed.take() else {
            return Response::refused(
                NotFound,
                "no reload waits for a confirmation; `mcrctl events` tells what became of the last",
            );
        };
        drop(state);
        let changes = confirmed.changes.len() as u64;
        log::info!("reload confirmed by {peer}: {changes} changes stay");
        self.journal.note(journal::reload("confirmed", format!("{changes} changes stay")).by(peer));
        Response::Confirmed { changes }
    }
}

impl State {
    /// Why no other reload can begin now.
    pub fn waits_for_confirmation(&self) -> Option<String> {
        let left = self.unconfirmed.as_ref()?.until.saturating_duration_since(Instant::now()).as_secs();
        Some(format!("a reload waits for `mcrctl confirm`: {left} s are left, then it is taken back"))
    }

    /// Keeps what the rules have counted that `changes` deletes, should they come back.
    pub fn shelve(&mut self, changes: &[Change]) {
        let Some(unconfirmed) = &mut self.unconfirmed else { return };
        for change in changes {
            if let Change::Remove(name) = change
                && let Some(mut live) = self.live.remove(name)
            {
                let gone = Live { active: live.active.take(), lineage: live.lineage, ..Live::default() };
                unconfirmed.shelf.insert(name.clone(), live);
                self.live.insert(name.clone(), gone);
            }
        }
    }

    /// Where `active`, which workers have forgotten, goes on being counted: under its name, or on the shelf.
    pub fn successor(&mut self, active: &Active) -> Option<&mut Live> {
        let shelf = self.unconfirmed.as_mut().map(|unconfirmed| &mut unconfirmed.shelf);
        let shelved = shelf.and_then(|shelf| shelf.get_mut(&active.rule.name));
        let both = self.live.get_mut(&active.rule.name).into_iter().chain(shelved);
        both.into_iter().find(|live| live.lineage == active.lineage)
    }

    /// Makes the rules what they were before a reload whose time to be confirmed is over.
    pub fn take_back_when_due(&mut self) {
        let Some(unconfirmed) = self.unconfirmed.take_if(|unconfirmed| unconfirmed.until <= Instant::now()) else {
            return;
        };
        let (target, lost) = unconfirmed.target(&self.set);
        let rules: Vec<Rule> = target.iter().cloned().collect();
        let changes = self.set.diff(&rules);
        self.set = target;
        let Unconfirmed { patience, former_origins, origins, mut shelf, .. } = unconfirmed;
        self.origins = former_origins.with_changes(&origins, &self.origins);
        for change in &changes {
            if let Change::Add(rule) = change
                && let Some(live) = shelf.remove(&rule.name)
            {
                self.live.insert(rule.name.clone(), live);
            }
        }
        let warnings = self.apply_all(&changes);
        self.say_taken_back(&changes, patience, lost.into_iter().chain(warnings));
    }

    fn say_taken_back(&self, changes: &[Change], patience: Duration, warnings: impl Iterator<Item = String>) {
        let nobody = Peer::signal("a reload that was not confirmed");
        for change in changes.iter().take(MOST_LINES) {
            let (what, name) = match change {
                Change::Add(rule) => ("restored", &rule.name),
                Change::Replace { new, .. } => ("changed back", &new.name),
                Change::Remove(name) => ("deleted again", name),
            };
            self.journal.audit(what, name, &nobody);
        }
        let file = self.options.file.as_deref().map(|file| file.display().to_string()).unwrap_or_default();
        let why = format!(
            "not confirmed within {} s: {} before; {file} still has the change",
            patience.as_secs(),
            match changes.len() {
                1 => "1 rule is what it was".to_owned(),
                count => format!("{count} rules are what they were"),
            }
        );
        log::warn!("reload taken back: {why}");
        warnings.for_each(|warning| log::warn!("{warning}"));
        self.journal.note(journal::reload("taken_back", why));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    /// `NAME PORT` of each, as rules.
    fn set(rules: &[(&str, u16)]) -> RuleSet {
        let text = |(name, port): &(&str, u16)| {
            format!(
                "[[rule]]\nname = \"{name}\"\nmatch = {{ interface = \"e0\", group = \"239.1.1.1\", port = {port} }}\noutput = [{{ interface = \"e1\", port = 9 }}]\n"
            )
        };
        let file: String = rules.iter().map(text).collect();
        RuleSet::build(100, config::parse("f", &file).expect("right").config.rules).expect("right").set
    }

    fn shown(set: &RuleSet) -> Vec<(String, u16)> {
        set.iter().map(|rule| (rule.name.clone(), rule.matcher.ports.bounds().0)).collect()
    }

    fn back(former: &[(&str, u16)], applied: &[(&str, u16)], now: &[(&str, u16)]) -> (Vec<(String, u16)>, usize) {
        let changes = set(former).diff(&set(applied).iter().cloned().collect::<Vec<_>>());
        let none = Origins::default();
        let unconfirmed = Unconfirmed::new((set(former), none.clone()), &none, changes, PATIENCE[0]);
        let (target, lost) = unconfirmed.target(&set(now));
        (shown(&target), lost.len())
    }

    #[test]
    fn what_others_did_meanwhile_stays() {
        let (former, applied) = ([("a", 1), ("b", 2), ("c", 3)], [("a", 1), ("b", 20), ("d", 4)]);
        let was = |rules: &[(&str, u16)]| shown(&set(rules));
        assert_eq!(back(&former, &applied, &applied), (was(&former), 0));
        // One more, one changed, one deleted.
        assert_eq!(
            back(&former, &applied, &[("b", 21), ("d", 4), ("e", 5)]),
            (was(&[("b", 21), ("c", 3), ("e", 5)]), 0)
        );
        // One that the reload brought was changed, one that it deleted is there anew.
        assert_eq!(
            back(&former, &applied, &[("a", 1), ("b", 20), ("c", 30), ("d", 40)]),
            (was(&[("a", 1), ("b", 2), ("c", 30), ("d", 40)]), 0)
        );
        // A new one that matches what a former one did: that one comes back.
        assert_eq!(back(&former, &applied, &[("a", 1), ("b", 20), ("d", 4), ("e", 3)]), (was(&former), 1));
        assert_eq!(back(&former, &applied, &[("a", 3), ("b", 20), ("d", 4)]), (was(&former), 1));
        // Names that have swapped their matches.
        let swapped = [("a", 2), ("b", 1), ("c", 3)];
        assert_eq!(back(&former, &swapped, &swapped), (was(&former), 0));
    }

    #[test]
    fn times() {
        assert_eq!(patience("60s"), Ok(Duration::from_secs(60)));
        for wrong in ["", "0s", "999ms", "25h", "60", "soon", "-1s"] {
            assert!(patience(wrong).is_err(), "{wrong}");
        }
    }
}
