//! What each request does. The lock is held for a change as a whole, so requests of several clients take turns.

use std::path::Path;

use super::{
    retire::Shared,
    run::give_memory_back,
    state::{Live, State},
    survey::{Obstacle, Seen},
};
use crate::{
    config,
    control::{
        protocol::{ChangeView, Request, Response},
        server::Handler,
    },
    rules::{
        check::{Checked, check_rule},
        lint, persist,
        rule::Rule,
        set::{Change, RuleSet},
        spec::RuleSpec,
    },
};

impl Handler for Shared {
    fn handle(&self, request: Request) -> Response {
        match request {
            Request::RuleAdd { rule, wait, replace, persist } => {
                let response = self.lock().rule_add(&rule, wait, replace, persist);
                self.ring();
                response
            }
            Request::RuleDel { name } => {
                let response = self.lock().rule_del(name);
                self.ring();
                response
            }
            Request::RuleList {} => {
                let state = self.lock();
                Response::Rules(state.set.iter().map(|rule| state.rule_view(rule)).collect())
            }
            Request::RuleShow { name } => {
                let state = self.lock();
                match state.set.get(&name) {
                    Some(rule) => Response::Rule(state.rule_view(rule)),
                    None => no_rule(&name),
                }
            }
            Request::Reload { dry_run } => {
                let response = self.lock().reload(dry_run);
                give_memory_back();
                self.ring();
                response
            }
            Request::Stats { rule } => {
                if let Some(name) = rule.as_deref().filter(|name| self.lock().set.get(name).is_none()) {
                    return no_rule(name);
                }
                self.settle();
                Response::Stats(self.lock().stats(rule.as_deref()))
            }
            Request::Status {} => Response::Status(self.lock().status()),
        }
    }
}

impl State {
    fn rule_add(&mut self, spec: &RuleSpec, wait: bool, replace: bool, persist: bool) -> Response {
        let Checked { rule, warnings: mut found } = match check_rule(spec) {
            Ok(checked) => checked,
            Err(problems) => return Response::problems(&problems),
        };
        let file = match (persist, &self.options.file) {
            (true, None) => {
                return Response::refused(
                    "--persist: mcrd was started without --config, so there is no file to write to",
                );
            }
            (true, Some(file)) => Some(file.clone()),
            (false, _) => None,
        };
        let old = self.set.get(&rule.name).filter(|_| replace).cloned();
        let entered = match old {
            Some(_) => self.set.replace(rule.clone()).map(|(_, warnings)| warnings),
            None => self.set.insert(rule.clone()),
        };
        match entered {
            Ok(more) => found.extend(more),
            Err(problem) => return Response::refused(problem.to_string()),
        }
        let mut warnings = lint::lines(found);
        let mut live = match &old {
            Some(old) => self.live.remove(&old.name).unwrap_or_default(),
            None => self.new_live(),
        };
        // The new one is in place before the old one goes: no packet between finds neither.
        let before = live.active.take();
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
                warnings.extend(lacking.iter().map(|lack| format!("rule {}: an output waits: {lack}", rule.name)));
                self.start(&rule, live.lineage).map(Ok).map_err(|error| format!("{error:#}"))
            }
        };
        let written = outcome.map_err(|why| format!("rule {}: {why}", rule.name)).and_then(|outcome| match &file {
            Some(file) => match write_down(file, spec, &rule.name, old.is_some()) {
                Ok(()) => Ok(outcome),
                Err(why) => {
                    outcome.into_iter().for_each(|active| self.retire(active));
                    Err(why)
                }
            },
            None => Ok(outcome),
        });
        let outcome = match written {
            Ok(outcome) => outcome,
            Err(message) => {
                self.take_back(&rule, old, Live { active: before, ..live });
                return Response::refused(message);
            }
        };
        if let Err(obstacle) = &outcome {
            warnings.push(format!("rule {} waits: {obstacle}", rule.name));
        }
        live.take(outcome);
        self.live.insert(rule.name.clone(), live);
        before.into_iter().for_each(|active| self.retire(active));
        warnings.extend(self.members.warning(&rule.matcher, self.options.membership(&rule.matcher.interface)));
        if self.live.get(&rule.name).is_some_and(|live| live.active.is_some()) {
            warnings.extend(self.not_served(&rule).into_iter().map(|own| own.text));
        }
        Response::RuleAdded { name: rule.name, replaced: old.is_some(), warnings }
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

    fn rule_del(&mut self, name: String) -> Response {
        match self.set.remove(&name) {
            Some(_) => {
                self.apply_all(&[Change::Remove(name.clone())]);
                Response::RuleDeleted { name }
            }
            None => no_rule(&name),
        }
    }

    /// Reads the file again and applies the difference: rules only, since all else is fixed at start.
    pub fn reload(&mut self, dry_run: bool) -> Response {
        let Some(file) = self.options.file.clone() else {
            return Response::refused("mcrd was started without --config, so there is no file to reload");
        };
        let loaded = match config::load(&file) {
            Ok(loaded) => loaded,
            Err(problems) => {
                let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
                return Response::refused(lines.join("\n"));
            }
        };
        let mut warnings = loaded.warnings;
        // The file is in order by itself; the limit is the daemon's own, fixed at start.
        let built = match RuleSet::build(self.options.config.limits.rules, loaded.config.rules.clone()) {
            Ok(built) => built,
            Err(problems) => {
                let lines: Vec<String> = problems.iter().map(|(_, problem)| problem.to_string()).collect();
                return Response::refused(lines.join("\n"));
            }
        };
        let changes = self.set.diff(&loaded.config.rules);
        let views: Vec<ChangeView> = changes.iter().map(ChangeView::from).collect();
        if !dry_run {
            self.set = built.set;
            warnings.extend(self.apply_all(&changes));
            log::info!(
                "reloaded {}: {} change{}",
                file.display(),
                views.len(),
                if views.len() == 1 { "" } else { "s" }
            );
        }
        Response::Reloaded { dry_run, changes: views, warnings }
    }
}

/// Why a rule is not entered, for what its outputs lack or for what stands in its own way.
fn refusal(prepared: &Result<Vec<Obstacle>, Obstacle>, wait: bool) -> Option<String> {
    let obstacles = match prepared {
        Ok(lacking) => lacking.as_slice(),
        Err(obstacle) => std::slice::from_ref(obstacle),
    };
    obstacles.iter().find_map(|obstacle| match obstacle {
        Obstacle::Missing(_) if wait => None,
        Obstacle::Missing(what) => Some(format!("{what}; add --wait to let the rule wait for it")),
        Obstacle::Wrong(error) => Some(format!("{error:#}")),
    })
}

fn no_rule(name: &str) -> Response {
    Response::refused(format!("no rule {name}; `mcrctl rule list` names those there are"))
}

fn write_down(file: &Path, spec: &RuleSpec, name: &str, replace: bool) -> Result<(), String> {
    let named = RuleSpec { name: Some(name.to_owned()), ..spec.clone() };
    let written = match replace {
        true => persist::replace_rule(file, &named),
        false => persist::append_rule(file, &named),
    };
    written.map_err(|error| error.to_string())
}
