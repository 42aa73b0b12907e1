//! The `[[rule]]` tables: as typed, then checked each by itself, then together.

use super::{
    problem::Report,
    table::{At, Table},
};
use crate::rules::{
    check::{Checked, check_rule},
    rule::Rule,
    set::{Built, RuleSet},
    spec::{MatchSpec, OutputSpec, RuleSpec},
};

/// A rule that is right by itself, and where it stands.
pub(super) struct Placed {
    rule: Rule,
    path: String,
    at: usize,
}

/// The rules that are right by themselves.
pub(super) fn read_rules(tables: Vec<Table<'_>>, report: &mut Report) -> Vec<Placed> {
    tables.into_iter().enumerate().filter_map(|(i, table)| read_rule(format!("rule[{i}]"), table, report)).collect()
}

fn read_rule(path: String, mut table: Table<'_>, report: &mut Report) -> Option<Placed> {
    let before = report.count();
    let spec = read_spec(&mut table, report);
    match check_rule(&spec) {
        Ok(Checked { rule, warnings }) => {
            for warning in warnings {
                report.warning(table.at(), path.as_str(), warning);
            }
            let placed = Placed { rule, at: table.at(), path };
            table.finish(report);
            Some(placed)
        }
        Err(problems) => {
            for problem in problems {
                let key = format!("{path}.{}", problem.key);
                // A value of the wrong type was told of, and reads as missing here.
                if report.told_since(before, &key) || report.told_since(before, &path) {
                    continue;
                }
                match table.locate(&problem.key) {
                    (at, true) => report.problem(at, key, problem.message),
                    (at, false) => report.missing(at, key, problem.message),
                }
            }
            table.finish(report);
            None
        }
    }
}

fn read_spec(table: &mut Table<'_>, report: &mut Report) -> RuleSpec {
    let name = table.text("name", report).map(value);
    let stall_after = table.text("stall_after", report).map(value);
    let mut matcher = table.table("match", report);
    let output = table.tables("output", report).into_iter().map(|output| read_output(output, report)).collect();
    let spec = MatchSpec {
        interface: matcher.text("interface", report).map(value).unwrap_or_default(),
        group: matcher.text("group", report).map(value).unwrap_or_default(),
        port: matcher.scalar("port", report).map(value),
        source: matcher.text("source", report).map(value),
        vlan: matcher.scalar("vlan", report).map(value),
    };
    matcher.finish(report);
    RuleSpec { name, stall_after, matcher: spec, output }
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

/// Reports what the rules have against each other, and returns them in the file's order.
pub(super) fn set_problems(placed: Vec<Placed>, limit: u32, report: &mut Report) -> Vec<Rule> {
    let rules: Vec<Rule> = placed.iter().map(|placed| placed.rule.clone()).collect();
    match RuleSet::build(limit, rules.clone()) {
        Ok(Built { warnings, .. }) => warnings.into_iter().for_each(|warning| report.remark(warning)),
        Err(problems) => {
            for (i, problem) in problems {
                report.problem(placed[i].at, format!("{}.{}", placed[i].path, problem.key), problem.message);
            }
        }
    }
    rules
}
