//! Changing rules that there are: in part, switched on and off, deleted; several in one step.

use std::path::Path;

use super::{
    enter::{Entered, in_use},
    retire::Shared,
    state::State,
    survey::{Seen, read_nic},
};
use crate::{
    control::{
        peer::Peer,
        protocol::{
            ErrorCode::{NotFound, Unavailable},
            Response,
        },
    },
    rules::{
        glob::{self, GlobError},
        persist::{self, Edit},
        rule::Rule,
        set::Change,
        spec::RuleSpec,
    },
};

/// What was done to rules, and how to take it back.
struct Altered {
    changes: Vec<Change>,
    warnings: Vec<String>,
}

impl Shared {
    /// Changes what `change` names of a rule.
    pub(super) fn rule_set(&self, name: &str, change: &RuleSpec, wait: bool, persist: bool, peer: &Peer) -> Response {
        if change.name.as_deref().is_some_and(|new| new != name) {
            return Response::usage("name: a rule keeps its name; add it under the new one, and delete this one");
        }
        if !change.names_something() {
            return Response::usage(format!("rule {name}: nothing to change is named; see `mcrctl rule set --help`"));
        }
        let outcome = self.in_file(persist, |file| {
            let mut state = self.lock();
            let Some(old) = state.set.get(name).cloned() else { return Err(no_rule(name)) };
            let whole = RuleSpec::from(&old).changed_by(change);
            let wait = wait || state.waits_alike(&old, &whole);
            let entered = state.enter(&whole, wait, Some(name)).map_err(|refused| *refused)?;
            drop(state);
            let change = RuleSpec { name: None, ..change.clone() };
            let edit = Edit::Change { change, whole: whole.plain() };
            match file.map(|file| self.persist(file, &[edit])) {
                Some(Err(refused)) => {
                    self.lock().undo(entered);
                    Err(refused)
                }
                Some(Ok(_)) | None => Ok(entered),
            }
        });
        match outcome {
            Ok(Entered { rule, old, warnings }) => {
                let changed = old.as_ref() != Some(&rule);
                if changed || persist {
                    self.journal.audit(if persist { "changed (and its file)" } else { "changed" }, name, peer);
                }
                Response::RuleSet { name: rule.name, changed, warnings }
            }
            Err(refused) => refused,
        }
    }

    /// Switches rules on or off.
    pub(super) fn rule_switch(&self, patterns: &[String], enabled: bool, persist: bool, peer: &Peer) -> Response {
        if patterns.is_empty() {
            return Response::usage("names: name at least one rule");
        }
        let outcome = self.alter(patterns, persist, |state, names| {
            let mut changes = Vec::new();
            for name in names {
                let Some(old) = state.set.get(name).filter(|old| old.enabled != enabled).cloned() else { continue };
                let new = Rule { enabled, ..old.clone() };
                match state.set.replace(new.clone()) {
                    Ok(_) => changes.push(Change::Replace { old, new }),
                    // It has the same claim as before.
                    Err(problem) => log::error!("rule {name}: {problem}"),
                }
            }
            changes
        });
        let what = if enabled { "enabled" } else { "disabled" };
        match outcome {
            Ok((names, Altered { changes, warnings })) => {
                let changed: Vec<String> = changes.iter().map(|change| change.name().to_owned()).collect();
                changed.iter().for_each(|name| self.journal.audit(what, name, peer));
                Response::RulesSwitched { names, changed, warnings }
            }
            Err(refused) => refused,
        }
    }

    /// Deletes rules.
    pub(super) fn rule_del(&self, patterns: &[String], persist: bool, peer: &Peer) -> Response {
        if patterns.is_empty() {
            return Response::usage("names: name at least one rule");
        }
        let outcome = self.alter(patterns, persist, |state, names| {
            names.iter().filter_map(|name| state.set.remove(name)).map(|rule| Change::Remove(rule.name)).collect()
        });
        match outcome {
            Ok((names, Altered { warnings, .. })) => {
                names.iter().for_each(|name| self.journal.audit("deleted", name, peer));
                let name = Some(&names).filter(|names| names.len() == 1).map(|names| names[0].clone());
                Response::RuleDeleted { name, names, warnings }
            }
            Err(refused) => refused,
        }
    }

    /// Changes all rules that `patterns` choose, by `change`, in what runs and in the file, or none.
    fn alter(
        &self,
        patterns: &[String],
        persist: bool,
        change: impl FnOnce(&mut State, &[String]) -> Vec<Change>,
    ) -> Result<(Vec<String>, Altered), Response> {
        self.in_file(persist, |file| {
            let mut state = self.lock();
            let names = chosen(&state, patterns)?;
            let olds: Vec<Rule> = names.iter().filter_map(|name| state.set.get(name)).cloned().collect();
            let changes = change(&mut state, &names);
            let mut warnings = state.apply_all(&changes);
            let edits: Vec<Edit> = olds.iter().map(|old| edit_of(&state, old)).collect();
            drop(state);
            self.ring();
            if let Some(file) = file {
                warnings.extend(self.persist(file, &edits).inspect_err(|_| self.lock().restore(olds))?);
            }
            Ok((names, Altered { changes, warnings }))
        })
    }

    /// Makes these edits in the daemon's file, in its turn; a warning for each rule that was to go and that the file lacks.
    ///
    /// # Errors
    ///
    /// The refusal, where the file cannot be edited. It has not changed then.
    pub(super) fn persist(&self, file: &Path, edits: &[Edit]) -> Result<Vec<String>, Response> {
        let missing = persist::edit(file, edits).map_err(|why| Response::refused((&why).into(), why))?;
        let mut state = self.lock();
        edits.iter().for_each(|edit| state.origins.follow(edit));
        let lacks = |name: String| {
            format!("rule {name}: {} does not have it; only the rule that runs was changed", file.display())
        };
        Ok(missing.into_iter().map(lacks).collect())
    }

    /// Does something in its turn at the daemon's file, where that is to be written.
    pub(super) fn in_file<T>(
        &self,
        persist: bool,
        change: impl FnOnce(Option<&Path>) -> Result<T, Response>,
    ) -> Result<T, Response> {
        if !persist {
            return change(None);
        }
        let Some(file) = self.lock().options.file.clone() else {
            return Err(Response::refused(
                Unavailable,
                "--persist: mcrd was started without --config, so there is no file to write to",
            ));
        };
        let Some(_turn) = self.file.take(super::enter::FILE_PATIENCE) else { return Err(in_use(&file)) };
        change(Some(&file))
    }
}

impl State {
    /// Whether a rule that becomes `whole` waits for no interface that it did not wait for before.
    fn waits_alike(&self, old: &Rule, whole: &RuleSpec) -> bool {
        let is_known = |name: &str| old.names(name);
        let named =
            std::iter::once(&whole.matcher.interface).chain(whole.output.iter().map(|output| &output.interface));
        let names_missing = named.filter(|name| !is_known(name)).any(|name| read_nic(name).is_err());
        let lacks = || match self.survey(old, &mut Seen::default()) {
            Ok(survey) => !survey.lacking.is_empty(),
            Err(_) => true,
        };
        !names_missing && lacks()
    }

    /// Makes these rules what they were; others may have changed meanwhile, and then a rule stays as it is.
    fn restore(&mut self, olds: Vec<Rule>) {
        let mut changes = Vec::new();
        for old in olds {
            let now = self.set.get(&old.name).cloned();
            let done = match &now {
                Some(now) if *now == old => continue,
                Some(_) => self.set.replace(old.clone()).map(drop),
                None => self.set.insert(old.clone()).map(drop),
            };
            match (done, now) {
                (Ok(()), Some(now)) => changes.push(Change::Replace { old: now, new: old }),
                (Ok(()), None) => changes.push(Change::Add(old)),
                (Err(problem), _) => log::error!("rule {} is not what it was before: {problem}", old.name),
            }
        }
        self.apply_all(&changes);
    }
}

/// What becomes of a rule in the file, by what has become of it here.
fn edit_of(state: &State, old: &Rule) -> Edit {
    match state.set.get(&old.name) {
        None => Edit::Remove(old.name.clone()),
        Some(now) => Edit::Change {
            change: RuleSpec { enabled: Some(now.enabled), ..RuleSpec::default() },
            whole: RuleSpec::from(now).plain(),
        },
    }
}

/// The names of the rules that patterns choose.
pub(super) fn chosen(state: &State, patterns: &[String]) -> Result<Vec<String>, Response> {
    match glob::matching(patterns, state.set.by_name()) {
        Ok(names) => Ok(names.into_iter().map(str::to_owned).collect()),
        Err(error) => Err(unchosen(&error)),
    }
}

/// The answer where patterns choose nothing.
pub(super) fn unchosen(error: &GlobError) -> Response {
    Response::refused(error.into(), error)
}

pub(super) fn no_rule(name: &str) -> Response {
    Response::refused(NotFound, format!("no rule {name}; `mcrctl rule list` shows all"))
}
