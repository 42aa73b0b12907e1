//! Where rules come from: the file, or a request at run time that the file knows nothing of.

use std::collections::BTreeMap;

use crate::rules::{check::check_rule, persist::Edit, rule::Rule, spec::RuleSpec};

/// The rules that the daemon's file has, by name, as mcrd last applied it or wrote it.
///
/// A rule of the set that is not among them lives until the next reload. A rule stays here while it is deleted or changed at run time
/// alone: the file still has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins {
    from_file: BTreeMap<String, Rule>,
}

impl Origins {
    /// What a file has that was just applied.
    pub fn of_file(rules: impl IntoIterator<Item = Rule>) -> Self {
        Self { from_file: rules.into_iter().map(|rule| (rule.name.clone(), rule)).collect() }
    }

    /// Whether the file has a rule of this name.
    pub fn is_from_file(&self, name: &str) -> bool {
        self.from_file.contains_key(name)
    }

    /// Whether the file has a rule of this name that is another: the next reload brings that one back.
    pub fn differs(&self, rule: &Rule) -> bool {
        self.from_file.get(&rule.name).is_some_and(|of_file| of_file != rule)
    }

    /// A rule was edited in the file.
    pub fn follow(&mut self, edit: &Edit) {
        let written = match edit {
            Edit::Remove(name) => return drop(self.from_file.remove(name)),
            Edit::Put(spec) => spec.clone(),
            // Only what was named was written.
            Edit::Change { change, whole } => match whole.name.as_ref().and_then(|name| self.from_file.get(name)) {
                Some(of_file) => RuleSpec::from(of_file).changed_by(change),
                None => whole.clone(),
            },
        };
        // It was checked before it was written.
        if let Ok(checked) = check_rule(&written) {
            self.from_file.insert(checked.rule.name.clone(), checked.rule);
        }
    }

    /// These, with what has become different since they were `from`, which is what they are `now`.
    pub fn with_changes(mut self, from: &Self, now: &Self) -> Self {
        let has = |origins: &Self, name: &str, rule: &Rule| origins.from_file.get(name) == Some(rule);
        self.from_file.retain(|name, _| !from.is_from_file(name) || now.is_from_file(name));
        let new = now.from_file.iter().filter(|(name, rule)| !has(from, name, rule));
        self.from_file.extend(new.map(|(name, rule)| (name.clone(), rule.clone())));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: &str) -> RuleSpec {
        let typed =
            r#"{"match": {"interface": "v1", "group": "239.1.1.1", "port": 5001}, "output": [{"interface": "v2"}]}"#;
        let spec: RuleSpec = serde_json::from_str(typed).expect("a rule");
        RuleSpec { name: Some(name.to_owned()), ..spec }
    }

    fn rule(name: &str) -> Rule {
        check_rule(&spec(name)).expect("a rule").rule
    }

    #[test]
    fn a_rule_is_the_files_from_when_it_is_written_until_it_is_erased() {
        let mut origins = Origins::of_file([rule("a")]);
        assert!(origins.is_from_file("a") && !origins.is_from_file("b"));
        origins.follow(&Edit::Put(spec("b")));
        origins.follow(&Edit::Remove("a".to_owned()));
        assert_eq!(origins, Origins::of_file([rule("b")]));
    }

    #[test]
    fn only_what_was_named_is_written() {
        let mut origins = Origins::of_file([rule("a")]);
        let disabled = RuleSpec { enabled: Some(false), ..spec("a") };
        let runs = check_rule(&disabled).expect("a rule").rule;
        assert!(origins.differs(&runs) && !origins.differs(&rule("a")) && !origins.differs(&rule("b")));
        let change = RuleSpec { description: Some("why".to_owned()), ..RuleSpec::default() };
        let whole = disabled.changed_by(&change);
        origins.follow(&Edit::Change { change, whole: whole.clone() });
        assert!(origins.differs(&check_rule(&whole).expect("a rule").rule), "the file has it enabled");
        let enabled = RuleSpec { enabled: Some(true), ..whole };
        assert!(!origins.differs(&check_rule(&enabled).expect("a rule").rule));
    }

    #[test]
    fn what_was_written_since_is_the_files_after_a_change_is_taken_back() {
        let of = |names: &str| Origins::of_file(names.split_whitespace().map(rule));
        assert_eq!(of("a b c").with_changes(&of("a b d"), &of("a d e")), of("a c e"));
    }
}
