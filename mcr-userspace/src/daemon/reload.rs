//! The file, read again: its rules are applied, and keys that need a restart are named.

use std::{collections::HashMap, time::Duration};

use super::{
    confirm::{self, Unconfirmed},
    enter::{FILE_PATIENCE, in_use},
    journal,
    origin::Origins,
    retire::Shared,
    state::State,
};
use crate::{
    config::{self, Config, FileProblem},
    control::{
        peer::Peer,
        protocol::{ChangeView, ErrorCode::Unavailable, Reload, Reloaded, Response},
    },
    rules::{
        check::{Problem, ProblemKind},
        lint,
        rule::Rule,
        set::{Built, Change, RuleSet},
    },
};

/// A rule that goes with a reload.
struct Going {
    rule: Rule,
    added_at_run_time: bool,
}

impl Shared {
    /// Reads the file again and applies the difference: rules only, since all else is fixed at start.
    pub fn reload(&self, how: &Reload, peer: &Peer) -> Response {
        let response = self.try_reload(how).unwrap_or_else(|refused| *refused);
        if !how.dry_run {
            self.journal.audit_reload(&response, peer);
        }
        if let Response::Reloaded(Reloaded { confirm_seconds: Some(seconds), .. }) = response {
            self.journal.note(journal::unconfirmed(seconds, peer));
        }
        response
    }

    fn try_reload(&self, how: &Reload) -> Result<Response, Box<Response>> {
        let patience = how.confirm.as_deref().map(confirm::patience).transpose();
        let patience = patience.map_err(|why| Box::new(Response::usage(why)))?;
        if how.dry_run && patience.is_some() {
            return Err(Box::new(Response::usage("a dry run changes nothing that could be confirmed; leave one out")));
        }
        let Some(file) = self.lock().options.file.clone() else {
            let none = "mcrd was started without --config, so there is no file to reload";
            return Err(Box::new(Response::refused(Unavailable, none)));
        };
        let Some(_turn) = self.file.take(FILE_PATIENCE) else { return Err(Box::new(in_use(&file))) };
        // Only who has the turn makes a change that is to be confirmed.
        if !how.dry_run
            && let Some(waiting) = self.lock().waits_for_confirmation()
        {
            return Err(Box::new(Response::refused(Unavailable, waiting)));
        }
        let loaded = config::load(&file).map_err(|problems| Box::new(refused_file(&problems)))?;
        let limit = self.lock().options.config.limits.rules;
        let built = RuleSet::build(limit, loaded.config.rules.clone());
        let Built { set, .. } = built.map_err(|problems| Box::new(refused_set(problems, limit, &loaded.config)))?;
        let mut warnings = loaded.warnings;
        let applied = self.lock().become_file(set, &loaded.config, how, patience, &mut warnings)?;
        if !how.dry_run {
            self.ring();
        }
        let Applied { changes, going, kept, restart } = applied;
        let view = |change: &Change| match change {
            Change::Add(rule) => ChangeView::new(&rule.name, None, Some(rule)),
            Change::Replace { old, new } => ChangeView::new(&new.name, Some(old), Some(new)),
            Change::Remove(name) => {
                let going = going.get(name);
                let added_at_run_time = going.is_some_and(|going| going.added_at_run_time);
                ChangeView { added_at_run_time, ..ChangeView::new(name, going.map(|going| &going.rule), None) }
            }
        };
        Ok(Response::Reloaded(Reloaded {
            dry_run: how.dry_run,
            changes: changes.iter().map(view).collect(),
            restart: restart.into_iter().map(Into::into).collect(),
            kept,
            confirm_seconds: patience.map(|patience| patience.as_secs()),
            warnings,
        }))
    }
}

/// What a reload did, or would do.
struct Applied {
    changes: Vec<Change>,
    /// The rules that go, by name.
    going: HashMap<String, Going>,
    kept: Vec<String>,
    restart: Vec<config::Difference>,
}

impl State {
    /// Holds exactly the rules of `set`, the file's, and those that are kept, unless it is a dry run.
    fn become_file(
        &mut self,
        mut set: RuleSet,
        file: &Config,
        how: &Reload,
        patience: Option<Duration>,
        warnings: &mut Vec<String>,
    ) -> Result<Applied, Box<Response>> {
        let restart = self.options.config.differences(&self.options.with_flags(file.clone()));
        let is_new = |rule: &&Rule| !self.origins.is_from_file(&rule.name) && set.get(&rule.name).is_none();
        let added: Vec<Rule> = self.set.iter().filter(is_new).cloned().collect();
        let mut kept = Vec::new();
        for rule in added.iter().filter(|_| how.keep) {
            let entered = set.insert(rule.clone()).map_err(|problem| {
                let why = format!("rule {}, added at run time, cannot be kept beside the file's: {problem}", rule.name);
                Box::new(Response::refused(problem.kind.into(), why))
            })?;
            warnings.extend(lint::lines(entered));
            kept.push(rule.name.clone());
        }
        let rules: Vec<Rule> = set.iter().cloned().collect();
        let changes = self.set.diff(&rules);
        let mut going = HashMap::new();
        for change in &changes {
            if let Change::Remove(name) = change
                && let Some(rule) = self.set.get(name)
            {
                let added_at_run_time = !self.origins.is_from_file(name);
                going.insert(name.clone(), Going { rule: rule.clone(), added_at_run_time });
            }
        }
        if !how.dry_run {
            let origins = Origins::of_file(file.rules.iter().cloned());
            let former = (std::mem::replace(&mut self.set, set), std::mem::replace(&mut self.origins, origins));
            if let Some(patience) = patience {
                self.unconfirmed = Some(Unconfirmed::new(former, &self.origins, changes.clone(), patience));
                self.shelve(&changes);
            }
            warnings.extend(self.apply_all(&changes));
        }
        Ok(Applied { changes, going, kept, restart })
    }
}

/// The answer to a file that is wrong, or cannot be read.
fn refused_file(problems: &[FileProblem]) -> Response {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    match problems.iter().any(|problem| problem.is_unread) {
        true => Response::refused(Unavailable, lines.join("\n")),
        false => Response::usage(lines.join("\n")),
    }
}

/// The answer where a file that is right by itself does not fit the daemon, whose limit is fixed at its start.
fn refused_set(problems: Vec<(usize, Problem)>, limit: u32, file: &Config) -> Response {
    let is_limit = problems.iter().all(|(_, problem)| problem.kind == ProblemKind::Limit);
    if is_limit && file.limits.rules != limit {
        let (rules, new) = (file.rules.len(), file.limits.rules);
        let why = format!(
            "{rules} rules are more than the limit of {limit} that mcrd was started with; restart it: the file has [limits] rules = {new}"
        );
        return Response::refused(Unavailable, why);
    }
    Response::problems(&problems.into_iter().map(|(_, problem)| problem).collect::<Vec<_>>())
}
