//! The rules that a daemon holds: the truth that workers and the kernel's map are made to match.

use std::collections::BTreeMap;

use mcr_common::limits::MAX_SHAPES;

use super::{
    check::{Problem, ProblemKind},
    cycle,
    index::Index,
    lint::{Addresses, Sent, Warning},
    rule::Rule,
};

/// Rules, ordered by name, no two of which claim a packet with equal rank.
#[derive(Clone, Debug)]
pub struct RuleSet {
    limit: u32,
    rules: BTreeMap<String, Rule>,
    index: Index,
    addresses: Addresses,
    sent: Sent,
}

/// A whole set, and what its author should know about it.
#[derive(Clone, Debug)]
pub struct Built {
    /// The rules.
    pub set: RuleSet,
    /// Each with the position of the rule that it is about.
    pub warnings: Vec<(usize, Warning)>,
}

/// One step from one set of rules to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A rule of a new name.
    Add(Rule),
    /// The rule of this name goes.
    Remove(String),
    /// A rule of the same name becomes another.
    Replace {
        /// What it was.
        old: Rule,
        /// What it becomes.
        new: Rule,
    },
}

impl Change {
    /// The name of the rule that changes.
    pub fn name(&self) -> &str {
        match self {
            Self::Add(rule) | Self::Replace { new: rule, .. } => &rule.name,
            Self::Remove(name) => name,
        }
    }
}

impl RuleSet {
    /// No rules yet, and at most `limit` ever.
    pub fn new(limit: u32) -> Self {
        let (index, addresses, sent) = Default::default();
        Self { limit, rules: BTreeMap::new(), index, addresses, sent }
    }

    /// All of `rules` at once.
    ///
    /// # Errors
    ///
    /// Every problem, each with the position in `rules` of the rule that has it.
    pub fn build(limit: u32, rules: Vec<Rule>) -> Result<Built, Vec<(usize, Problem)>> {
        let mut set = Self::new(limit);
        let (mut problems, mut warnings) = (Vec::new(), Vec::new());
        let names: Vec<String> = rules.iter().map(|rule| rule.name.clone()).collect();
        for (i, rule) in rules.into_iter().enumerate() {
            if i == limit as usize {
                problems.push((i, set.full(names.len())));
            }
            match set.admit(rule) {
                Ok(found) => warnings.extend(found.into_iter().map(|warning| (i, warning))),
                Err(problem) => problems.push((i, problem)),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        // So few are told that a search for each is quick.
        let position = |name: &str| names.iter().position(|known| known == name);
        warnings.extend(cycle::all(&set).into_iter().filter_map(|(name, warning)| Some((position(name)?, warning))));
        Ok(Built { set, warnings })
    }

    /// The rule of this name.
    pub fn get(&self, name: &str) -> Option<&Rule> {
        self.rules.get(name)
    }

    /// All rules by their names.
    pub fn by_name(&self) -> &BTreeMap<String, Rule> {
        &self.rules
    }

    /// All rules, in the order of their names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Rule> {
        self.rules.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Adds a rule and returns the warnings about it.
    ///
    /// # Errors
    ///
    /// The name is taken, another rule has an equal claim to some packets, or a limit is reached. Nothing changed then.
    pub fn insert(&mut self, rule: Rule) -> Result<Vec<Warning>, Problem> {
        if self.rules.len() >= self.limit as usize && !self.rules.contains_key(&rule.name) {
            return Err(self.full(self.len() + 1));
        }
        let name = rule.name.clone();
        let mut warnings = self.admit(rule)?;
        warnings.extend(cycle::through(self, &self.rules[&name]));
        Ok(warnings)
    }

    /// Puts `rule` in the place of the rule of its name, and returns that one and the warnings.
    ///
    /// # Errors
    ///
    /// There is none of that name, or the new one is refused as by [`insert`](Self::insert). Nothing changed then.
    pub fn replace(&mut self, rule: Rule) -> Result<(Rule, Vec<Warning>), Problem> {
        let Some(old) = self.remove(&rule.name) else {
            return Err(problem(
                ProblemKind::NotFound,
                "name",
                format!("there is no rule `{}` to replace; add it", rule.name),
            ));
        };
        match self.insert(rule) {
            Ok(warnings) => Ok((old, warnings)),
            Err(problem) => {
                self.enter(old);
                Err(problem)
            }
        }
    }

    /// Takes the rule of this name out, if there is one.
    pub fn remove(&mut self, name: &str) -> Option<Rule> {
        let rule = self.rules.remove(name)?;
        self.index.remove(&rule);
        self.addresses.remove(&rule);
        self.sent.remove(&rule);
        Some(rule)
    }

    /// What makes this set hold exactly `new`: removals, then replacements, then additions, each by name.
    ///
    /// The steps are for what is made to match the set. A set in between may hold two rules of equal rank (two
    /// rules that swap groups), so the set itself is replaced as a whole: see [`build`](Self::build).
    pub fn diff(&self, new: &[Rule]) -> Vec<Change> {
        let new: BTreeMap<&str, &Rule> = new.iter().map(|rule| (rule.name.as_str(), rule)).collect();
        let removed = self.rules.keys().filter(|name| !new.contains_key(name.as_str()));
        let mut changes: Vec<Change> = removed.cloned().map(Change::Remove).collect();
        let mut added = Vec::new();
        for (&name, &rule) in &new {
            match self.rules.get(name) {
                None => added.push(Change::Add(rule.clone())),
                Some(old) if old != rule => changes.push(Change::Replace { old: old.clone(), new: rule.clone() }),
                Some(_) => {}
            }
        }
        changes.append(&mut added);
        changes
    }

    /// The rules by where they match.
    pub(super) fn index(&self) -> &Index {
        &self.index
    }

    fn full(&self, wanted: usize) -> Problem {
        problem(
            ProblemKind::Limit,
            "",
            format!("{wanted} rules are more than the limit of {}; raise `rules` in [limits]", self.limit),
        )
    }

    /// Adds a rule without a look at the limit or at cycles, and returns the other warnings about it.
    fn admit(&mut self, rule: Rule) -> Result<Vec<Warning>, Problem> {
        if self.rules.contains_key(&rule.name) {
            return Err(problem(
                ProblemKind::Exists,
                "name",
                format!("there is already another rule `{}`; --replace puts this one in its place", rule.name),
            ));
        }
        if let Some(other) = self.index.conflict(&rule.matcher) {
            return Err(problem(
                ProblemKind::Exists,
                "match",
                format!(
                    "rule `{}` and rule `{other}` take the same packets of {} port {} on {} with equal rank; make one more specific, or delete one",
                    rule.name, rule.matcher.group, rule.matcher.ports, rule.matcher.interface
                ),
            ));
        }
        if !self.index.has_shape(&rule.matcher) && self.index.shapes() >= MAX_SHAPES {
            return Err(problem(
                ProblemKind::Limit,
                "match",
                format!(
                    "rule `{}` brings a {}th combination of source length, group length and kind of port; at most {MAX_SHAPES} \
                     keep lookups fast: use lengths that other rules use",
                    rule.name,
                    MAX_SHAPES + 1
                ),
            ));
        }
        Ok(self.enter(rule))
    }

    fn enter(&mut self, rule: Rule) -> Vec<Warning> {
        self.index.insert(&rule);
        let mut warnings = self.addresses.insert(&rule);
        warnings.extend(self.sent.insert(&rule));
        self.rules.insert(rule.name.clone(), rule);
        warnings
    }
}

fn problem(kind: ProblemKind, key: &str, message: String) -> Problem {
    Problem { key: key.to_owned(), message, kind }
}

#[cfg(test)]
mod tests;
