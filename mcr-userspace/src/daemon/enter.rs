//! Entering one rule: a new one, or one in the place of another; and writing it into the file.

use std::{path::Path, time::Duration};

use super::{
    interfaces::absentees,
    retire::Shared,
    standing::Standing,
    state::{Live, State},
    survey::{Obstacle, Seen},
};
use crate::{
    control::{
        peer::Peer,
        protocol::{
            ErrorCode::{self, Missing, Unavailable},
            Response, RuleState,
        },
    },
    kernel::link::alike,
    rules::{
        check::{Checked, check_rule},
        edit, lint,
        persist::Edit,
        rule::Rule,
        set::Change,
        spec::RuleSpec,
    },
};

/// How long another client's reading or writing of the file is waited for.
pub(super) const FILE_PATIENCE: Duration = Duration::from_secs(10);

impl Shared {
    /// Adds a rule, and writes it into the file where that is asked for; what cannot be written is taken back.
    pub(super) fn rule_add(&self, spec: &RuleSpec, wait: bool, replace: bool, persist: bool, peer: &Peer) -> Response {
        let outcome = self.in_file(persist, |file| {
            let Checked { rule, .. } = check_rule(spec).map_err(|problems| Response::problems(&problems))?;
            let mut state = self.lock();
            let old = state.set.get(&rule.name).cloned();
            let is_there = old.as_ref() == Some(&rule);
            let entered = match is_there {
                true => Entered { rule, old, warnings: Vec::new() },
                false => {
                    let name = rule.name;
                    state.enter(spec, wait, Some(name.as_str()).filter(|_| replace)).map_err(|refused| *refused)?
                }
            };
            drop(state);
            if let Some(file) = file {
                let spec = RuleSpec { name: Some(entered.rule.name.clone()), ..spec.clone() };
                let edit = Edit::Put(spec);
                if let Err(refused) = self.persist(file, &[edit]) {
                    self.lock().undo(entered);
                    return Err(refused);
                }
            }
            Ok((entered, !is_there))
        });
        self.ring();
        let (Entered { rule, old, mut warnings }, changed) = match outcome {
            Ok(done) => done,
            Err(refused) => return refused,
        };
        if let Some(old) = old.as_ref().filter(|_| changed) {
            warnings.extend(lost(old, &rule));
        }
        let name = rule.name;
        let replaced = changed && old.is_some();
        if changed || persist {
            let what = match (replaced, changed) {
                (true, _) => "replaced",
                (_, true) => "added",
                _ => "written into the file",
            };
            self.journal.audit(what, &name, peer);
        }
        Response::RuleAdded { name, replaced, changed, warnings }
    }
}

/// A rule that was added, or that took the place of `old`.
pub(super) struct Entered {
    pub(super) rule: Rule,
    pub(super) old: Option<Rule>,
    pub(super) warnings: Vec<String>,
}

impl State {
    /// Adds a rule, or puts it in the place of the one called `old`, whose name it has; or the answer that it is refused with, and
    /// nothing has changed.
    pub(super) fn enter(&mut self, spec: &RuleSpec, wait: bool, old: Option<&str>) -> Result<Entered, Box<Response>> {
        let Checked { rule, warnings: mut found } =
            check_rule(spec).map_err(|problems| Box::new(Response::problems(&problems)))?;
        let old = old.and_then(|name| self.set.get(name)).cloned();
        let entered = match old {
            Some(_) => self.set.replace(rule.clone()).map(|(_, warnings)| warnings),
            None => self.set.insert(rule.clone()),
        };
        found.extend(entered.map_err(|problem| Box::new(Response::refused(problem.kind.into(), problem)))?);
        let mut warnings = lint::lines(found);
        if old.as_ref().is_some_and(|old| old.forwards_like(&rule)) {
            return Ok(Entered { rule, old, warnings });
        }
        let mut live = match &old {
            Some(old) => self.live.remove(&old.name).unwrap_or_default(),
            None => self.new_live(),
        };
        // The new one is in place before the old one goes: no packet between finds neither.
        let before = live.active.take();
        let is_the_same =
            old.as_ref().is_some_and(|old| (&old.matcher, &old.outputs) == (&rule.matcher, &rule.outputs));
        if !rule.enabled {
            // It is checked like any other, but for one that is only switched off.
            let surveyed = self.survey(&rule, &mut Seen::default()).map(|survey| survey.lacking);
            if let Some((code, why)) = refusal(&surveyed, wait).filter(|_| !is_the_same) {
                self.take_back(&rule, old, Live { active: before, ..live });
                return Err(Box::new(Response::refused(code, format!("rule {}: {why}", rule.name))));
            }
            live.switch_off();
            self.live.insert(rule.name.clone(), live);
            before.into_iter().for_each(|active| self.retire(active));
            return Ok(Entered { rule, old, warnings });
        }
        let mut is_lacking = false;
        let seen = &mut Seen::default();
        // What can be refused beforehand changes nothing.
        let mut prepared = self.survey(&rule, seen).map(|survey| survey.lacking);
        if refusal(&prepared, wait).is_none() && prepared.is_ok() {
            prepared = self.prepare(&rule, seen);
        }
        let outcome = match (refusal(&prepared, wait), prepared) {
            (Some(why), _) => Err(why),
            (None, Err(obstacle)) => Ok(Err(obstacle)),
            (None, Ok(lacking)) => {
                is_lacking = !lacking.is_empty();
                warnings.extend(lacking.iter().map(|lack| format!("rule {}: an output waits: {lack}", rule.name)));
                self.start(&rule, live.lineage).map(Ok).map_err(|error| (Unavailable, format!("{error:#}")))
            }
        };
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err((code, why)) => {
                self.take_back(&rule, old, Live { active: before, ..live });
                return Err(Box::new(Response::refused(code, format!("rule {}: {why}", rule.name))));
            }
        };
        if let Err(obstacle) = &outcome {
            warnings.push(format!("rule {} waits: {obstacle}", rule.name));
        }
        live.take(outcome);
        self.live.insert(rule.name.clone(), live);
        before.into_iter().for_each(|active| self.retire(active));
        warnings.extend(self.members.warning(&rule.matcher, self.options.membership(&rule.matcher.interface)));
        self.follow_links(|name| rule.names(name));
        let Standing { state, reason } = self.standing(&rule);
        if state == RuleState::Degraded && !is_lacking {
            warnings.push(format!("rule {} is degraded: {}", rule.name, reason.unwrap_or_default()));
        }
        if self.live.get(&rule.name).is_some_and(|live| live.active.is_some()) {
            warnings.extend(self.not_served(&rule).into_iter().map(|own| own.text));
        }
        Ok(Entered { rule, old, warnings })
    }

    /// Makes the rules what they were before `entered`, unless others have changed that rule meanwhile.
    pub(super) fn undo(&mut self, entered: Entered) {
        let Entered { rule, old, .. } = entered;
        if self.set.get(&rule.name) != Some(&rule) || old.as_ref() == Some(&rule) {
            return;
        }
        let change = match old {
            None => {
                self.set.remove(&rule.name);
                Change::Remove(rule.name)
            }
            Some(old) => match self.set.replace(old.clone()) {
                Ok(_) => Change::Replace { old: rule, new: old },
                // A rule that came meanwhile takes what the old one took.
                Err(problem) => return log::error!("rule {} is not what it was before: {problem}", rule.name),
            },
        };
        self.apply_all(&[change]);
    }

    /// Makes the rules what they were before `rule` was entered.
    fn take_back(&mut self, rule: &Rule, old: Option<Rule>, live: Live) {
        self.set.remove(&rule.name);
        if let Some(old) = old {
            self.live.insert(old.name.clone(), live);
            if let Err(problem) = self.set.insert(old) {
                log::error!("taking a change back: {problem}");
            }
        }
    }
}

/// A warning for each key that a rule loses by its replacement.
pub(super) fn lost(old: &Rule, new: &Rule) -> Vec<String> {
    let name = edit::quoted(&new.name);
    let told = edit::lost(old, new).into_iter().map(|(key, flag)| {
        let fix = flag.map_or(String::new(), |flag| format!("; `mcrctl rule set {name} {flag}` brings it back"));
        format!("rule {}: --replace drops {key}{fix}", new.name)
    });
    told.collect()
}

/// Why a rule is not entered, for what its outputs lack or for what stands in its own way.
pub(super) fn refusal(prepared: &Result<Vec<Obstacle>, Obstacle>, wait: bool) -> Option<(ErrorCode, String)> {
    let obstacles = match prepared {
        Ok(lacking) => lacking.as_slice(),
        Err(obstacle) => std::slice::from_ref(obstacle),
    };
    obstacles.iter().find_map(|obstacle| match obstacle {
        Obstacle::Missing(_) | Obstacle::NoAddress(_) if wait => None,
        Obstacle::Missing(what) => Some((Missing, missing(what))),
        Obstacle::NoAddress(what) => Some((Missing, format!("{what}; add --wait to let the rule wait for it"))),
        // It may pass: another program that holds an interface, frames that others have.
        Obstacle::Wrong(_) if wait && obstacle.may_pass() => None,
        Obstacle::Wrong(error) => Some((Unavailable, format!("{error:#}"))),
    })
}

/// What may have been meant by a name that no interface has.
fn missing(what: &str) -> String {
    let meant = absentees(what).find_map(|name| Some((name, alike(name)?)));
    let is_one = absentees(what).count() == 1;
    let them = if is_one { "it" } else { "them" };
    match meant {
        None if absentees(what).any(|name| name.contains(',')) => {
            format!("{what}; a rule has one ingress interface: add a rule for each")
        }
        Some((_, meant)) if is_one => format!("{what}; did you mean {meant}? (--wait lets the rule wait for it)"),
        Some((name, meant)) => {
            format!("{what}; did you mean {meant} by {name}? (--wait lets the rule wait for them)")
        }
        None => format!("{what}; add --wait to let the rule wait for {them}"),
    }
}

/// The answer while another client's reading or writing of the file does not end.
pub(super) fn in_use(file: &Path) -> Response {
    let patience = FILE_PATIENCE.as_secs();
    Response::refused(
        Unavailable,
        format!(
            "{}: another request has been reading or writing it for {patience} seconds; see whether its file system answers (`stat -f FILE`), and try again",
            file.display()
        ),
    )
}
