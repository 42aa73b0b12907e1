//! The `[[rule]]` tables: as typed, then checked each by itself, then together.

use std::collections::HashMap;

use mcr_common::limits::MAX_OUTPUTS;

use super::{
    problem::Report,
    table::{At, Table},
};
use crate::rules::{
    check::{Checked, ProblemKind, check_rule},
    lint::Warning,
    rule::Rule,
    set::{Built, RuleSet},
    spec::{MatchSpec, OutputSpec, RuleSpec},
};

/// Outputs of a rule that are looked at: enough to tell that there are too many.
const OUTPUTS_READ: usize = 16 * MAX_OUTPUTS;

/// A rule that is right by itself, and where it stands.
pub(super) struct Placed<'a> {
    /// Its file's position in the report.
    pub(super) part: usize,
    rule: Rule,
    path: String,
    table: Table<'a>,
}

/// The rules of one file that are right by themselves.
pub(super) fn read_rules<'a>(tables: Vec<Table<'a>>, part: usize, report: &mut Report) -> Vec<Placed<'a>> {
    let tables = tables.into_iter().enumerate().filter(|(_, table)| table.is_table());
    tables.filter_map(|(i, table)| read_rule(part, format!("rule[{i}]"), table, report)).collect()
}

fn read_rule<'a>(part: usize, path: String, mut table: Table<'a>, report: &mut Report) -> Option<Placed<'a>> {
    let before = report.count();
    let spec = read_spec(&mut table, report);
    // A value of the wrong type was told of, and reads as missing in the check.
    let told = report.since(before);
    let checked = check_rule(&spec);
    table.finish(report);
    let placed = match checked {
        Ok(Checked { rule, warnings }) => {
            let placed = Placed { part, rule, path, table };
            for warning in warnings {
                let (at, key) = placed.place(&warning.key);
                report.warning(at, Warning { key, ..warning });
            }
            Some(placed)
        }
        Err(problems) => {
            for problem in problems {
                let key = format!("{path}.{}", problem.key);
                if told.covers(&key) {
                    continue;
                }
                match table.locate(&problem.key) {
                    (at, true) => report.problem(at, key, problem.message),
                    (at, false) => report.missing(at, key, problem.message),
                }
            }
            None
        }
    };
    report.bound();
    placed
}

impl Placed<'_> {
    /// Byte and full key of what stands at `key` of the rule, where it is empty of the rule itself.
    fn place(&self, key: &str) -> (usize, String) {
        match key {
            "" => (self.table.at(), self.path.clone()),
            key => (self.table.locate(key).0, self.table.key(key)),
        }
    }
}

fn read_spec(table: &mut Table<'_>, report: &mut Report) -> RuleSpec {
    let name = table.text("name", report).map(value);
    let description = table.text("description", report).map(value);
    let enabled = table.boolean("enabled", report).map(value);
    let stall_after = table.text("stall_after", report).map(value);
    let mut matcher = table.table("match", report);
    let output = table.tables("output", OUTPUTS_READ, report);
    let output = output.into_iter().map(|output| read_output(output, report)).collect();
    let spec = MatchSpec {
        interface: matcher.text("interface", report).map(value).unwrap_or_default(),
        group: matcher.text("group", report).map(value).unwrap_or_default(),
        port: matcher.scalar("port", report).map(value),
        source: matcher.text("source", report).map(value),
        vlan: matcher.scalar("vlan", report).map(value),
    };
    matcher.finish(report);
    RuleSpec { name, description, enabled, stall_after, matcher: spec, output }
}

fn read_output(mut table: Table<'_>, report: &mut Report) -> OutputSpec {
    let spec = OutputSpec {
        name: table.text("name", report).map(value),
        interface: table.text("interface", report).map(value).unwrap_or_default(),
        group: table.text("group", report).map(value),
        port: table.scalar("port", report).map(value),
        source: table.text("source", report).map(value),
        ttl: table.scalar("ttl", report).map(value),
        dscp: table.scalar("dscp", report).map(value),
        vlan: table.scalar("vlan", report).map(value),
    };
    table.finish(report);
    spec
}

fn value<T>(at: At<T>) -> T {
    at.value
}

/// Reports what the rules of all files have against each other, and returns them in their order.
pub(super) fn set_problems(placed: Vec<Placed<'_>>, limit: u32, report: &mut Report) -> Vec<Rule> {
    let rules: Vec<Rule> = placed.iter().map(|placed| placed.rule.clone()).collect();
    match RuleSet::build(limit, rules.clone()) {
        Ok(Built { warnings, .. }) => {
            for (i, warning) in warnings {
                let (at, key) = placed[i].place(&warning.key);
                report.turn_to(placed[i].part);
                report.warning(at, Warning { key, ..warning });
            }
        }
        Err(problems) => {
            let mut firsts: HashMap<&str, &Placed<'_>> = HashMap::new();
            for placed in &placed {
                firsts.entry(&placed.rule.name).or_insert(placed);
            }
            for (i, problem) in problems {
                let (at, key) = placed[i].place(&problem.key);
                let message = match firsts.get(placed[i].rule.name.as_str()) {
                    Some(first) if problem.kind == ProblemKind::Exists && problem.key == "name" => {
                        let place = report.place(first.part, first.table.at());
                        format!("`{}` is already the name of the rule at {place}; choose another", first.rule.name)
                    }
                    _ => problem.message,
                };
                report.turn_to(placed[i].part);
                report.problem(at, key, message);
            }
        }
    }
    rules
}
