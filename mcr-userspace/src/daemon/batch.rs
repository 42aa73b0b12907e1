//! Many changes of rules as one: all are applied, or none. Every error names its line.

use std::collections::{BTreeMap, HashMap};

use super::{
    enter::{lost, refusal},
    retire::Shared,
    state::State,
    survey::Seen,
};
use crate::{
    control::{
        peer::Peer,
        protocol::{ChangeView, ErrorCode, Operation, Request, Response},
    },
    rules::{
        check::{Checked, check_rule},
        glob,
        lint::{self, Warning},
        persist::Edit,
        rule::Rule,
        set::{Change, RuleSet},
        spec::RuleSpec,
    },
};

/// Rules whose changes are named in the log and as events, one by one.
const MOST_LINES: usize = 10_000;

/// Wrong lines after which the others are not looked at: each may take a search through all names.
const MOST_ERRORS: usize = 100;

/// The rules as they become, line by line.
struct Plan {
    rules: BTreeMap<String, Rule>,
    /// For each rule that a line names: the last one that does, and whether it may wait.
    lines: HashMap<String, (u64, bool)>,
    /// For each rule that is to be written into the file.
    edits: BTreeMap<String, Edit>,
    warnings: Vec<Warning>,
    told: Vec<String>,
    errors: Errors,
}

/// What is wrong, by line.
#[derive(Default)]
struct Errors(Vec<(u64, ErrorCode, String)>);

impl Errors {
    fn add(&mut self, line: u64, code: ErrorCode, message: impl ToString) {
        let lines = message.to_string();
        self.0.extend(lines.lines().map(|message| (line, code, message.to_owned())));
    }

    /// The refusal, where there is anything wrong: `line N: message` each.
    fn refusal(mut self) -> Option<Response> {
        self.0.sort_by_key(|(line, ..)| *line);
        let codes = || self.0.iter().map(|(_, code, _)| *code);
        let code = codes().find(|code| *code == ErrorCode::Invalid).or(codes().next())?;
        let lines: Vec<String> = self.0.iter().map(|(line, _, message)| format!("line {line}: {message}")).collect();
        Some(Response::refused(code, lines.join("\n")))
    }
}

impl Shared {
    /// Applies a batch, or only says what it would change.
    pub(super) fn batch(&self, operations: Vec<Operation>, dry_run: bool, peer: &Peer) -> Response {
        let persist = operations.iter().any(|operation| persists(&operation.request)) && !dry_run;
        let outcome = self.in_file(persist, |file| {
            let mut state = self.lock();
            let (changes, set, plan) = state.planned(operations)?;
            let views: Vec<ChangeView> = changes.iter().map(|change| state.view(change)).collect();
            let mut warnings = plan.told;
            warnings.extend(lint::lines(plan.warnings));
            if dry_run {
                return Ok((changes, views, warnings));
            }
            let before = file.map(|_| state.set.clone());
            warnings.extend(state.become_set(set, &changes));
            drop(state);
            self.ring();
            if let (Some(file), Some(before)) = (file, before) {
                let edits: Vec<Edit> = plan.edits.into_values().collect();
                let persisted = self.persist(file, &edits).inspect_err(|_| {
                    let olds = changes.iter().map(|change| (change.name(), before.get(change.name()))).collect();
                    self.lock().become_again(olds);
                    self.ring();
                });
                warnings.extend(persisted?);
            }
            Ok((changes, views, warnings))
        });
        match outcome {
            Ok((changes, views, warnings)) => {
                if !dry_run {
                    self.audit_batch(&changes, peer);
                }
                Response::Batched { dry_run, changes: views, warnings }
            }
            Err(refused) => refused,
        }
    }

    fn audit_batch(&self, changes: &[Change], peer: &Peer) {
        for change in changes.iter().take(MOST_LINES) {
            let what = match change {
                Change::Add(_) => "added",
                Change::Remove(_) => "deleted",
                Change::Replace { old, new } if old.enabled == new.enabled => "changed",
                Change::Replace { new, .. } => {
                    if new.enabled {
                        "enabled"
                    } else {
                        "disabled"
                    }
                }
            };
            self.journal.audit(what, change.name(), peer);
        }
        if changes.len() > MOST_LINES {
            log::info!("{} more rules changed by {peer}", changes.len() - MOST_LINES);
        }
    }
}

fn persists(request: &Request) -> bool {
    match request {
        Request::RuleAdd { persist, .. }
        | Request::RuleSet { persist, .. }
        | Request::RuleDel { persist, .. }
        | Request::RuleSwitch { persist, .. } => *persist,
        _ => false,
    }
}

impl State {
    /// What `operations` come to: the changes, the set of rules that they make, and what else is to be done; or what is wrong.
    fn planned(&self, operations: Vec<Operation>) -> Result<(Vec<Change>, RuleSet, Plan), Response> {
        let mut plan = Plan {
            rules: self.set.iter().map(|rule| (rule.name.clone(), rule.clone())).collect(),
            lines: HashMap::new(),
            edits: BTreeMap::new(),
            warnings: Vec::new(),
            told: Vec::new(),
            errors: Errors::default(),
        };
        for Operation { line, request } in operations {
            if let Err((code, message)) = plan.apply(line, request) {
                plan.errors.add(line, code, message);
                if plan.errors.0.len() >= MOST_ERRORS {
                    plan.errors.add(line, code, "too many errors; the lines after this are not checked");
                    break;
                }
            }
        }
        // Those that no line names first: a clash with them names its line.
        let (named, mut rules): (Vec<Rule>, Vec<Rule>) =
            std::mem::take(&mut plan.rules).into_values().partition(|rule| plan.lines.contains_key(&rule.name));
        let mut named: Vec<(u64, Rule)> = named.into_iter().map(|rule| (plan.lines[&rule.name].0, rule)).collect();
        named.sort_by_key(|(line, _)| *line);
        self.look_around(&named, &mut plan);
        let first = rules.len();
        let lines: Vec<u64> = named.iter().map(|(line, _)| *line).collect();
        rules.extend(named.into_iter().map(|(_, rule)| rule));
        let changes = self.set.diff(&rules);
        let limit = self.options.config.limits.rules;
        let line_of = |i: usize| i.checked_sub(first).and_then(|i| lines.get(i)).or(lines.last()).copied().unwrap_or(0);
        let set = match RuleSet::build(limit, rules) {
            Ok(built) => {
                plan.warnings
                    .extend(built.warnings.into_iter().filter(|(i, _)| *i >= first).map(|(_, warning)| warning));
                Some(built.set)
            }
            Err(problems) => {
                for (i, problem) in problems {
                    plan.errors.add(line_of(i), problem.kind.into(), problem);
                }
                None
            }
        };
        match (std::mem::take(&mut plan.errors).refusal(), set) {
            (None, Some(set)) => Ok((changes, set, plan)),
            (Some(refused), _) => Err(refused),
            (None, None) => Err(Response::refused(ErrorCode::Unavailable, "the rules do not fit together")),
        }
    }

    /// A change that is not made yet.
    fn view(&self, change: &Change) -> ChangeView {
        match change {
            Change::Add(rule) => ChangeView::new(&rule.name, None, Some(rule)),
            Change::Replace { old, new } => ChangeView::new(&new.name, Some(old), Some(new)),
            Change::Remove(name) => {
                let added_at_run_time = !self.origins.is_from_file(name);
                ChangeView { added_at_run_time, ..ChangeView::new(name, self.set.get(name), None) }
            }
        }
    }

    /// Refuses rules that lack an interface or an address and may not wait, as a single one is refused.
    fn look_around(&self, named: &[(u64, Rule)], plan: &mut Plan) {
        let seen = &mut Seen::default();
        for (line, rule) in named {
            let is_same = self.set.get(&rule.name).is_some_and(|old| old.forwards_like(rule));
            if !rule.enabled || is_same {
                continue;
            }
            let may_wait = plan.lines.get(&rule.name).is_some_and(|(_, wait)| *wait);
            let prepared = self.survey(rule, seen).map(|survey| survey.lacking);
            if let Some((code, why)) = refusal(&prepared, may_wait) {
                plan.errors.add(*line, code, format!("rule {}: {why}", rule.name));
            }
        }
    }

    /// Makes rules what they were, where `None` is that there was none.
    fn become_again(&mut self, olds: Vec<(&str, Option<&Rule>)>) {
        let mut rules: BTreeMap<String, Rule> = self.set.iter().map(|rule| (rule.name.clone(), rule.clone())).collect();
        for (name, old) in olds {
            match old {
                Some(old) => rules.insert(name.to_owned(), old.clone()),
                None => rules.remove(name),
            };
        }
        let rules: Vec<Rule> = rules.into_values().collect();
        let changes = self.set.diff(&rules);
        match RuleSet::build(self.options.config.limits.rules, rules) {
            Ok(built) => drop(self.become_set(built.set, &changes)),
            Err(_) => log::error!("the rules are not what they were before: others have changed meanwhile"),
        }
    }
}

impl Plan {
    /// One line.
    fn apply(&mut self, line: u64, request: Request) -> Result<(), (ErrorCode, String)> {
        match request {
            Request::RuleAdd { rule: spec, wait, replace, persist } => {
                let Checked { rule, warnings } = checked(&spec)?;
                let name = rule.name.clone();
                match self.rules.get(&name) {
                    Some(old) if *old == rule => {}
                    Some(_) if !replace => {
                        let message =
                            format!("there is already another rule `{name}`; --replace puts this one in its place");
                        return Err((ErrorCode::Exists, message));
                    }
                    old => {
                        self.told.extend(old.into_iter().flat_map(|old| lost(old, &rule)));
                        self.warnings.extend(warnings);
                        self.lines.insert(name.clone(), (line, wait));
                        self.rules.insert(name.clone(), rule);
                    }
                }
                if persist {
                    let spec = RuleSpec { name: Some(name.clone()), ..*spec };
                    self.edits.insert(name, Edit::Put(spec));
                }
            }
            Request::RuleSet { name, change, wait, persist } => {
                if change.name.as_ref().is_some_and(|new| *new != name) {
                    return Err((ErrorCode::Invalid, format!("rule {name}: a rule keeps its name")));
                }
                if !change.names_something() {
                    return Err((ErrorCode::Invalid, format!("rule {name}: nothing to change is named")));
                }
                self.change(line, &name, &change, wait, persist)?;
            }
            Request::RuleSwitch { names, enabled, persist } => {
                let change = RuleSpec { enabled: Some(enabled), ..RuleSpec::default() };
                for name in self.chosen(&names)? {
                    self.change(line, &name, &change, true, persist)?;
                }
            }
            Request::RuleDel { name, names, persist } => {
                let patterns: Vec<String> = name.into_iter().chain(names).collect();
                for name in self.chosen(&patterns)? {
                    self.rules.remove(&name);
                    if persist {
                        self.edits.insert(name.clone(), Edit::Remove(name));
                    }
                }
            }
            _ => return Err((ErrorCode::Invalid, "a batch has commands that change rules, and no others".to_owned())),
        }
        Ok(())
    }

    fn change(
        &mut self,
        line: u64,
        name: &str,
        change: &RuleSpec,
        wait: bool,
        persist: bool,
    ) -> Result<(), (ErrorCode, String)> {
        let no_rule = || (ErrorCode::NotFound, format!("no rule {name}; `mcrctl rule list` shows all"));
        let old = self.rules.get(name).ok_or_else(no_rule)?;
        let whole = RuleSpec::from(old).changed_by(change);
        let Checked { rule, warnings } = checked(&whole)?;
        if *old != rule {
            self.warnings.extend(warnings);
            let waits = self.lines.get(name).is_some_and(|(_, wait)| *wait);
            self.lines.insert(name.to_owned(), (line, wait || waits));
            self.rules.insert(name.to_owned(), rule);
        }
        if persist {
            let change = RuleSpec { name: None, ..change.clone() };
            let edit = match self.edits.remove(name) {
                Some(Edit::Change { change: before, .. }) => {
                    Edit::Change { change: before.changed_by(&change), whole: whole.plain() }
                }
                Some(_) => Edit::Put(whole.plain()),
                None => Edit::Change { change, whole: whole.plain() },
            };
            self.edits.insert(name.to_owned(), edit);
        }
        Ok(())
    }

    fn chosen(&self, patterns: &[String]) -> Result<Vec<String>, (ErrorCode, String)> {
        if patterns.is_empty() {
            return Err((ErrorCode::Invalid, "name at least one rule".to_owned()));
        }
        let names = glob::matching(patterns, &self.rules).map_err(|error| ((&error).into(), error.to_string()))?;
        Ok(names.into_iter().map(str::to_owned).collect())
    }
}

fn checked(spec: &RuleSpec) -> Result<Checked, (ErrorCode, String)> {
    check_rule(spec).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        (ErrorCode::Invalid, lines.join("\n"))
    })
}
