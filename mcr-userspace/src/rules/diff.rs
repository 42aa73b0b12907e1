//! What differs between two rules of the same name, field by field.

use std::time::Duration;

use super::{
    rule::{Match, Output, Ports, Prefix, Rule},
    spec::OutputSpec,
};

/// A field of a rule that becomes another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldChange {
    /// Its path of the file's keys within the rule, outputs counted from 0: `match.port`, `output[1].ttl`.
    pub field: String,
    /// What it was; `None`: it was not set.
    pub old: Option<String>,
    /// What it becomes; `None`: it is not set any more.
    pub new: Option<String>,
}

/// A field and its value.
type Field = (&'static str, Option<String>);

/// The fields in which `new` is not like `old`, in the file's order. Outputs are counted as in `new`, those that are gone as in `old`.
pub fn fields(old: &Rule, new: &Rule) -> Vec<FieldChange> {
    let mut changes = Vec::new();
    compare("", of_rule(old), of_rule(new), &mut changes);
    compare("match.", of_match(&old.matcher), of_match(&new.matcher), &mut changes);
    let pairs = partners(&old.outputs, &new.outputs);
    for (i, (output, partner)) in new.outputs.iter().zip(&pairs).enumerate() {
        match partner {
            Some(at) => {
                let before = of_output(&old.outputs[*at]);
                compare(&format!("output[{i}]."), before, of_output(output), &mut changes);
            }
            None => changes.push(FieldChange { field: format!("output[{i}]"), old: None, new: Some(line(output)) }),
        }
    }
    for (i, output) in old.outputs.iter().enumerate().filter(|(i, _)| !pairs.contains(&Some(*i))) {
        changes.push(FieldChange { field: format!("output[{i}]"), old: Some(line(output)), new: None });
    }
    // All the same, and in another order.
    if changes.is_empty() && old.outputs != new.outputs {
        let all = |rule: &Rule| Some(rule.outputs.iter().map(line).collect::<Vec<_>>().join(" "));
        changes.push(FieldChange { field: "output".to_owned(), old: all(old), new: all(new) });
    }
    changes
}

fn compare<const N: usize>(path: &str, old: [Field; N], new: [Field; N], changes: &mut Vec<FieldChange>) {
    for ((key, old), (_, new)) in old.into_iter().zip(new).filter(|((_, old), (_, new))| old != new) {
        changes.push(FieldChange { field: format!("{path}{key}"), old, new });
    }
}

fn of_rule(rule: &Rule) -> [Field; 3] {
    let Rule { name: _, matcher: _, outputs: _, stall_after, description, enabled } = rule;
    let after = |after: Duration| humantime::format_duration(after).to_string();
    [
        ("description", description.as_ref().map(|text| format!("{text:?}"))),
        ("enabled", Some(enabled.to_string())),
        ("stall_after", stall_after.map(after)),
    ]
}

fn of_match(matcher: &Match) -> [Field; 5] {
    let Match { interface, group, ports, source, vlan } = matcher;
    [
        ("interface", Some(interface.clone())),
        ("group", Some(group.to_string())),
        ("port", (*ports != Ports::Any).then(|| ports.to_string())),
        ("source", (*source != Prefix::ANY).then(|| source.to_string())),
        ("vlan", vlan.map(|id| id.to_string())),
    ]
}

/// Defaults that have a word are written out.
fn of_output(output: &Output) -> [Field; 8] {
    let OutputSpec { name, interface, group, port, source, ttl, dscp, vlan } = OutputSpec::from(output);
    let or = |value: Option<String>, default: &str| Some(value.unwrap_or_else(|| default.to_owned()));
    let text = |value: Option<super::spec::Scalar>| value.map(|value| value.to_string());
    [
        ("name", name),
        ("interface", Some(interface)),
        ("group", group),
        ("port", text(port)),
        ("source", or(source, "interface")),
        ("ttl", or(text(ttl), "decrement")),
        ("dscp", text(dscp)),
        ("vlan", or(text(vlan), "none")),
    ]
}

/// As `--out` takes it.
fn line(output: &Output) -> String {
    let fields = of_output(output).into_iter().filter(|(key, _)| *key != "interface");
    let given = fields.filter_map(|(key, value)| Some(format!(",{key}={}", value?)));
    given.fold(output.interface.clone(), |line, part| line + &part)
}

/// For each of `new` the position of the output that it was: the same in all, or else the one most like it.
fn partners(old: &[Output], new: &[Output]) -> Vec<Option<usize>> {
    let mut found = vec![None; new.len()];
    let mut taken = vec![false; old.len()];
    let tests: [fn(&Output, &Output) -> bool; 5] = [
        |a, b| a == b,
        |a, b| a.name.is_some() && a.name == b.name,
        |a, b| (&a.interface, a.group, a.port) == (&b.interface, b.group, b.port),
        |a, b| a.interface == b.interface,
        |a, b| (a.group, a.port, a.vlan) == (b.group, b.port, b.vlan),
    ];
    for is_alike in tests {
        for (found, output) in found.iter_mut().zip(new).filter(|(found, _)| found.is_none()) {
            *found = (0..old.len()).find(|at| !taken[*at] && is_alike(&old[*at], output));
            if let Some(at) = *found {
                taken[at] = true;
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn rule(text: &str) -> Rule {
        let matcher = "match = { interface = \"e0\", group = \"239.1.1.1\", port = 5001 }\n";
        let matcher = if text.contains("match") { "" } else { matcher };
        config::parse("f", &format!("[[rule]]\nname = \"a\"\n{matcher}{text}")).expect("right").config.rules.remove(0)
    }

    fn told(old: &str, new: &str) -> Vec<String> {
        let shown = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        let line = |change: FieldChange| format!("{}: {} > {}", change.field, shown(change.old), shown(change.new));
        fields(&rule(old), &rule(new)).into_iter().map(line).collect()
    }

    #[test]
    fn each_field_is_told_and_no_other() {
        let old =
            "match = { interface = \"e0\", group = \"239.1.1.1\", port = 5001 }\noutput = [{ interface = \"e1\" }]";
        let new = "match = { interface = \"e2\", group = \"239.1.1.0/28\", source = \"10.0.0.1\", vlan = 7 }\noutput = [{ interface = \"e1\", ttl = \"keep\", dscp = 3 }]\nenabled = false\nstall_after = \"5s\"\ndescription = \"to be\"";
        assert_eq!(told(old, old), [""; 0]);
        let wanted = [
            "description: - > \"to be\"",
            "enabled: true > false",
            "stall_after: - > 5s",
            "match.interface: e0 > e2",
            "match.group: 239.1.1.1 > 239.1.1.0/28",
            "match.port: 5001 > -",
            "match.source: - > 10.0.0.1",
            "match.vlan: - > 7",
            "output[0].ttl: decrement > keep",
            "output[0].dscp: - > 3",
        ];
        assert_eq!(told(old, new), wanted);
        assert_eq!(told(new, old).len(), wanted.len());
    }

    #[test]
    fn outputs_that_come_go_and_move() {
        let (a, b, c) =
            ("{ interface = \"e1\" }", "{ interface = \"e2\", ttl = 9 }", "{ interface = \"e3\", port = 7 }");
        let of = |outputs: &[&str]| format!("output = [{}]", outputs.join(", "));
        assert_eq!(
            told(&of(&[a, b]), &of(&[c, a, b])),
            ["output[0]: - > e3,port=7,source=interface,ttl=decrement,vlan=none"]
        );
        assert_eq!(told(&of(&[a, b, c]), &of(&[c, a])), ["output[1]: e2,source=interface,ttl=9,vlan=none > -"]);
        let moved = told(&of(&[a, b]), &of(&[b, a]));
        assert!(moved.len() == 1 && moved[0].starts_with("output: e1,"), "{moved:?}");
        assert_eq!(told(&of(&[a]), &of(&[&a.replace("e1", "e9")])), ["output[0].interface: e1 > e9"]);
    }
}
