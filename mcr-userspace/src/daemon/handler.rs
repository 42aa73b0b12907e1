//! What each request does. The lock is held for a change as a whole, so requests of several clients take turns; it is never held while
//! a file is read or written.

use std::{path::Path, time::Duration};

use super::{
    journal,
    retire::Shared,
    standing::Standing,
    state::{Live, State},
    survey::{Obstacle, Seen},
};
use crate::{
    config,
    control::{
        peer::Peer,
        protocol::{
            ChangeView,
            ErrorCode::{self, Missing, NotFound, Unavailable},
            Request, Response, RuleState,
        },
        server::Handler,
    },
    memory,
    rules::{
        check::{Checked, check_rule},
        lint, persist,
        rule::Rule,
        set::{Change, RuleSet},
        spec::RuleSpec,
    },
};

/// How long another client's reading or writing of the file is waited for.
const FILE_PATIENCE: Duration = Duration::from_secs(10);

impl Handler for Shared {
    fn handle(&self, request: Request, peer: &Peer) -> Response {
        match request {
            Request::RuleAdd { rule, wait, replace, persist } => {
                let response = self.rule_add(&rule, wait, replace, persist);
                self.ring();
                if let Response::RuleAdded { name, replaced, .. } = &response {
                    self.journal.audit(if *replaced { "replaced" } else { "added" }, name, peer);
                }
                response
            }
            Request::RuleDel { name } => {
                let response = self.lock().rule_del(name);
                self.ring();
                if let Response::RuleDeleted { name } = &response {
                    self.journal.audit("deleted", name, peer);
                }
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
                let response = self.reload(dry_run, peer);
                memory::give_back();
                response
            }
            Request::Stats { rule } => {
                if let Some(name) = rule.as_deref().filter(|name| self.lock().set.get(name).is_none()) {
                    return no_rule(name);
                }
                self.settle();
                Response::Stats(self.lock().stats(rule.as_deref()))
            }
            Request::Events { after, wait } => {
                let patience = if wait { journal::PATIENCE } else { Duration::ZERO };
                Response::Events(self.journal.read(after, patience))
            }
            Request::Status {} => Response::Status(self.lock().status()),
        }
    }
}

impl Shared {
    /// Adds a rule, and writes it into the file where that is asked for; what cannot be written is taken back.
    fn rule_add(&self, spec: &RuleSpec, wait: bool, replace: bool, persist: bool) -> Response {
        if !persist {
            return self.lock().enter(spec, wait, replace).map_or_else(|refused| *refused, Entered::into_response);
        }
        let Some(file) = self.lock().options.file.clone() else {
            return Response::refused(
                Unavailable,
                "--persist: mcrd was started without --config, so there is no file to write to",
            );
        };
        let Some(_turn) = self.file.take(FILE_PATIENCE) else { return in_use(&file) };
        let entered = match self.lock().enter(spec, wait, replace) {
            Ok(entered) => entered,
            Err(refused) => return *refused,
        };
        match write_down(&file, spec, &entered.rule.name, entered.old.is_some()) {
            Ok(()) => entered.into_response(),
            Err(why) => {
                self.lock().undo(entered);
                Response::refused(Unavailable, why)
            }
        }
    }

    /// Reads the file again and applies the difference: rules only, since all else is fixed at start.
    pub fn reload(&self, dry_run: bool, peer: &Peer) -> Response {
        let response = self.try_reload(dry_run);
        if !dry_run {
            self.journal.audit_reload(&response, peer);
        }
        response
    }

    fn try_reload(&self, dry_run: bool) -> Response {
        let (file, limit) = {
            let state = self.lock();
            (state.options.file.clone(), state.options.config.limits.rules)
        };
        let Some(file) = file else {
            return Response::refused(Unavailable, "mcrd was started without --config, so there is no file to reload");
        };
        let Some(_turn) = self.file.take(FILE_PATIENCE) else { return in_use(&file) };
        let loaded = match config::load(&file) {
            Ok(loaded) => loaded,
            Err(problems) => {
                let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
                return Response::usage(lines.join("\n"));
            }
        };
        // The file is in order by itself; the limit is the daemon's own, fixed at start.
        let built = match RuleSet::build(limit, loaded.config.rules.clone()) {
            Ok(built) => built,
            Err(problems) => {
                let lines: Vec<String> = problems.iter().map(|(_, problem)| problem.to_string()).collect();
                return Response::usage(lines.join("\n"));
            }
        };
        let (changes, more) = {
            let mut state = self.lock();
            let changes = state.set.diff(&loaded.config.rules);
            let more = if dry_run { Vec::new() } else { state.become_set(built.set, &changes) };
            (changes, more)
        };
        if !dry_run {
            self.ring();
        }
        let changes = changes.iter().map(ChangeView::from).collect();
        Response::Reloaded { dry_run, changes, warnings: [loaded.warnings, more].concat() }
    }
}

/// A rule that was added, or that took the place of `old`.
struct Entered {
    rule: Rule,
    old: Option<Rule>,
    warnings: Vec<String>,
}

impl Entered {
    fn into_response(self) -> Response {
        Response::RuleAdded { name: self.rule.name, replaced: self.old.is_some(), warnings: self.warnings }
    }
}

impl State {
    /// Holds exactly the rules of `set`, by `changes`; its warnings.
    fn become_set(&mut self, set: RuleSet, changes: &[Change]) -> Vec<String> {
        self.set = set;
        self.apply_all(changes)
    }

    /// Adds a rule, or puts it in the place of the rule of its name; or the answer that it is refused with, and nothing has changed.
    fn enter(&mut self, spec: &RuleSpec, wait: bool, replace: bool) -> Result<Entered, Box<Response>> {
        let Checked { rule, warnings: mut found } =
            check_rule(spec).map_err(|problems| Box::new(Response::problems(&problems)))?;
        let old = self.set.get(&rule.name).filter(|_| replace).cloned();
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
        if !rule.enabled {
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
        self.follow_links();
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
    fn undo(&mut self, entered: Entered) {
        let Entered { rule, old, .. } = entered;
        if self.set.get(&rule.name) != Some(&rule) {
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

    fn rule_del(&mut self, name: String) -> Response {
        match self.set.remove(&name) {
            Some(_) => {
                self.apply_all(&[Change::Remove(name.clone())]);
                Response::RuleDeleted { name }
            }
            None => no_rule(&name),
        }
    }
}

/// Why a rule is not entered, for what its outputs lack or for what stands in its own way.
fn refusal(prepared: &Result<Vec<Obstacle>, Obstacle>, wait: bool) -> Option<(ErrorCode, String)> {
    let obstacles = match prepared {
        Ok(lacking) => lacking.as_slice(),
        Err(obstacle) => std::slice::from_ref(obstacle),
    };
    obstacles.iter().find_map(|obstacle| match obstacle {
        Obstacle::Missing(_) | Obstacle::NoAddress(_) if wait => None,
        Obstacle::Missing(what) | Obstacle::NoAddress(what) => {
            Some((Missing, format!("{what}; add --wait to let the rule wait for it")))
        }
        // It may pass: another program that holds an interface, frames that others have.
        Obstacle::Wrong(_) if wait && obstacle.may_pass() => None,
        Obstacle::Wrong(error) => Some((Unavailable, format!("{error:#}"))),
    })
}

fn no_rule(name: &str) -> Response {
    Response::refused(NotFound, format!("no rule {name}; `mcrctl rule list` names those there are"))
}

/// The answer while another client's reading or writing of the file does not end.
fn in_use(file: &Path) -> Response {
    let patience = FILE_PATIENCE.as_secs();
    Response::refused(
        Unavailable,
        format!(
            "{}: another request has been reading or writing it for {patience} seconds; see whether its file system answers (`stat -f FILE`), and try again",
            file.display()
        ),
    )
}

fn write_down(file: &Path, spec: &RuleSpec, name: &str, replace: bool) -> Result<(), String> {
    let named = RuleSpec { name: Some(name.to_owned()), ..spec.clone() };
    let written = match replace {
        true => persist::replace_rule(file, &named),
        false => persist::append_rule(file, &named),
    };
    written.map_err(|error| error.to_string())
}
