//! A rule that is changed in part, and what a rule loses by its replacement.

use super::{
    rule::Rule,
    spec::{MatchSpec, OutputSpec, RuleSpec, Scalar},
};

/// Takes a port or a source away: any matches then.
pub const ANY: &str = "any";
/// Takes a VLAN or a `stall_after` away.
pub const NONE: &str = "none";

impl RuleSpec {
    /// This rule with what `change` names; outputs are replaced as a whole. The name stays.
    pub fn changed_by(&self, change: &Self) -> Self {
        let named = |new: &str, old: &str| if new.is_empty() { old } else { new }.to_owned();
        let (matcher, new) = (&self.matcher, &change.matcher);
        let matcher = MatchSpec {
            interface: named(&new.interface, &matcher.interface),
            group: named(&new.group, &matcher.group),
            port: new.port.clone().or_else(|| matcher.port.clone()),
            source: new.source.clone().or_else(|| matcher.source.clone()),
            vlan: new.vlan.clone().or_else(|| matcher.vlan.clone()),
        };
        Self {
            name: self.name.clone(),
            description: change.description.clone().or_else(|| self.description.clone()),
            enabled: change.enabled.or(self.enabled),
            stall_after: change.stall_after.clone().or_else(|| self.stall_after.clone()),
            matcher,
            output: if change.output.is_empty() { self.output.clone() } else { change.output.clone() },
        }
    }

    /// Whether it names anything that a rule can be changed by.
    pub fn names_something(&self) -> bool {
        Self { name: None, ..self.clone() } != Self::default()
    }

    /// Without the words that stand for a default, and without what is the default.
    pub fn plain(mut self) -> Self {
        self.description = self.description.filter(|text| !text.is_empty());
        self.enabled = self.enabled.filter(|enabled| !enabled);
        self.stall_after = self.stall_after.filter(|text| text != NONE);
        let matcher = &mut self.matcher;
        matcher.port = matcher.port.take().filter(|port| port.to_string() != ANY);
        matcher.source = matcher.source.take().filter(|source| source != ANY);
        matcher.vlan = matcher.vlan.take().filter(|vlan| !matches!(vlan.to_string().as_str(), NONE | "0"));
        for output in &mut self.output {
            output.source = output.source.take().filter(|source| source != "interface");
            output.ttl = output.ttl.take().filter(|ttl| ttl.to_string() != "decrement");
            output.vlan = output.vlan.take().filter(|vlan| vlan.to_string() != NONE);
        }
        self
    }
}

/// What `old` has and `new`, which takes its place, has not: a key and its value each, as the file has them, and the flag of
/// `rule set` that brings it back, where one does.
pub fn lost(old: &Rule, new: &Rule) -> Vec<(String, Option<String>)> {
    let (old, new) = (RuleSpec::from(old).plain(), RuleSpec::from(new).plain());
    let mut lost = Vec::new();
    let mut look = |key: &str, flag: &str, old: Option<String>, new: bool| {
        if let Some(value) = old.filter(|_| !new) {
            let flag = (!flag.is_empty()).then(|| format!("--{flag} {}", quoted(&value)));
            lost.push((format!("{key} = {value}"), flag));
        }
    };
    let text = |value: &Option<Scalar>| value.as_ref().map(ToString::to_string);
    look("description", "description", old.description, new.description.is_some());
    look("stall_after", "stall-after", old.stall_after, new.stall_after.is_some());
    if old.enabled == Some(false) && new.enabled.is_none() {
        lost.push(("enabled = false".to_owned(), Some("--disabled".to_owned())));
    }
    let (was, is) = (old.matcher, new.matcher);
    let mut look = |key: &str, old: Option<String>, new: bool| {
        if let Some(value) = old.filter(|_| !new) {
            lost.push((format!("match.{key} = {value}"), Some(format!("--{key} {value}"))));
        }
    };
    look("port", text(&was.port), is.port.is_some());
    look("source", was.source, is.source.is_some());
    look("vlan", text(&was.vlan), is.vlan.is_some());
    for (i, old) in old.output.iter().enumerate() {
        // The one that goes on from it: in its place, to the same interface.
        let Some(new) = new.output.get(i).filter(|new| new.interface == old.interface) else { continue };
        let gone = keys(old).into_iter().zip(keys(new)).filter_map(|((key, old), (_, new))| match new {
            None => Some((format!("output[{i}].{key} = {}", old?), None)),
            Some(_) => None,
        });
        lost.extend(gone);
    }
    lost
}

/// Each key of an output but its interface, and its value.
fn keys(output: &OutputSpec) -> [(&'static str, Option<String>); 7] {
    let text = |value: &Option<Scalar>| value.as_ref().map(ToString::to_string);
    [
        ("name", output.name.clone()),
        ("group", output.group.clone()),
        ("port", text(&output.port)),
        ("source", output.source.clone()),
        ("ttl", text(&output.ttl)),
        ("dscp", text(&output.dscp)),
        ("vlan", text(&output.vlan)),
    ]
}

/// As a shell takes it for one word.
pub fn quoted(text: &str) -> String {
    shlex::try_quote(text).map_or_else(|_| text.to_owned(), |quoted| quoted.into_owned())
}

/// As a shell and a command take it for a name: one that begins with a hyphen is no flag behind `--`.
pub fn argument(name: &str) -> String {
    format!("{}{}", if name.starts_with('-') { "-- " } else { "" }, quoted(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::check::check_rule;

    fn spec(json: &str) -> RuleSpec {
        serde_json::from_str(json).expect("a rule")
    }

    fn rule(spec: &RuleSpec) -> Rule {
        check_rule(spec).expect("right").rule
    }

    #[test]
    fn defaults_are_left_out() {
        let written = spec(OLD);
        assert_eq!(RuleSpec::from(&rule(&written)).plain(), written);
        let words = spec(
            r#"{"enabled":true,"match":{"interface":"e0","group":"239.1.1.1","vlan":0},
            "output":[{"interface":"e1","source":"interface","ttl":"decrement","vlan":"none"}]}"#,
        );
        let bare = spec(r#"{"match":{"interface":"e0","group":"239.1.1.1"},"output":[{"interface":"e1"}]}"#);
        assert_eq!(words.plain(), bare);
    }

    const OLD: &str = r#"{"name":"a","description":"d","stall_after":"5s","enabled":false,
        "match":{"interface":"e0","group":"239.1.1.1","port":5001,"source":"10.0.0.1","vlan":7},
        "output":[{"interface":"e1","ttl":16,"name":"x"},{"interface":"e2"}]}"#;

    #[test]
    fn what_is_not_named_stays() {
        let old = spec(OLD);
        assert_eq!(old.changed_by(&RuleSpec::default()), old);
        assert!(!RuleSpec { name: Some("b".into()), ..RuleSpec::default() }.names_something());
        let moved = rule(&old.changed_by(&spec(r#"{"match":{"interface":"e9"}}"#)));
        assert_eq!(
            moved,
            Rule { matcher: crate::rules::rule::Match { interface: "e9".into(), ..rule(&old).matcher }, ..rule(&old) }
        );
        let outputs = rule(&old.changed_by(&spec(r#"{"output":[{"interface":"e3"}]}"#)));
        assert_eq!((outputs.outputs.len(), outputs.outputs[0].interface.as_str()), (1, "e3"));
    }

    #[test]
    fn words_take_away() {
        let change = spec(
            r#"{"description":"","stall_after":"none","enabled":true,"match":{"port":"any","source":"any","vlan":"none"}}"#,
        );
        let bare = spec(
            r#"{"name":"a","match":{"interface":"e0","group":"239.1.1.1"},
            "output":[{"interface":"e1","ttl":16,"name":"x"},{"interface":"e2"}]}"#,
        );
        let changed = spec(OLD).changed_by(&change);
        assert_eq!(rule(&changed), rule(&bare));
        assert_eq!(changed.plain(), bare);
    }

    #[test]
    fn what_a_replacement_loses_is_named_with_its_flag() {
        let new = spec(
            r#"{"name":"a","match":{"interface":"e0","group":"239.1.1.1","port":5002},"output":[{"interface":"e1","ttl":17}]}"#,
        );
        let lost = lost(&rule(&spec(OLD)), &rule(&new));
        let found: Vec<(&str, Option<&str>)> = lost.iter().map(|(key, flag)| (key.as_str(), flag.as_deref())).collect();
        assert_eq!(
            found,
            [
                ("description = d", Some("--description d")),
                ("stall_after = 5s", Some("--stall-after 5s")),
                ("enabled = false", Some("--disabled")),
                ("match.source = 10.0.0.1", Some("--source 10.0.0.1")),
                ("match.vlan = 7", Some("--vlan 7")),
                ("output[0].name = x", None),
            ]
        );
    }
}
