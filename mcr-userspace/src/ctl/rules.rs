//! `mcrctl rule`: the requests that the arguments make.

use std::collections::{BTreeSet, HashSet};

use super::{
    cli::{AddArgs, Chosen, RuleArgs, RuleCommand},
    run::{Failure, prefixed},
};
use crate::{
    control::protocol::{ErrorCode, Request, Response},
    rules::{
        check::{Problem, check_rule},
        glob,
        order::natural,
        spec::RuleSpec,
    },
};

/// The request of a command about rules. What is wrong by itself is told by the flags that were typed.
pub(super) fn request(command: &RuleCommand) -> Result<Request, Failure> {
    match command {
        RuleCommand::Add(AddArgs { rule: args, replace, persist }) => {
            let (rule, mut problems) = args.spec();
            if let Err(wrong) = check_rule(&rule) {
                problems.extend(wrong);
            }
            let rule = Box::new(right(args, rule, &problems)?);
            Ok(Request::RuleAdd { rule, wait: args.wait, replace: *replace, persist: *persist })
        }
        RuleCommand::Set { rule: name, args, persist } => {
            let (change, mut problems) = args.spec();
            // What the rest of the rule is, the daemon knows: here it is one that nothing is wrong with.
            if let Err(wrong) = check_rule(&plausible(&change)) {
                let is_typed = |problem: &Problem| problem.key != "match" && !problem.key.is_empty();
                problems.extend(wrong.into_iter().filter(is_typed));
            }
            let change = Box::new(right(args, change, &problems)?);
            if change.name.as_ref().is_some_and(|new| new != name) {
                let message =
                    "--name: a rule keeps its name; add it under the new one, then `mcrctl rule del` this one";
                return Err(prefixed(ErrorCode::Invalid, message));
            }
            if !change.names_something() {
                let message =
                    format!("rule set {name}: nothing to change is named; `mcrctl rule set --help` lists what can be");
                return Err(prefixed(ErrorCode::Invalid, &message));
            }
            Ok(Request::RuleSet { name: name.clone(), change, wait: args.wait, persist: *persist })
        }
        RuleCommand::Del(chosen) => Ok(deletion(chosen)),
        RuleCommand::Enable(Chosen { names, persist }) => {
            Ok(Request::RuleSwitch { names: names.clone(), enabled: true, persist: *persist })
        }
        RuleCommand::Disable(Chosen { names, persist }) => {
            Ok(Request::RuleSwitch { names: names.clone(), enabled: false, persist: *persist })
        }
        RuleCommand::List { .. } => Ok(Request::RuleList {}),
        RuleCommand::Show { name } => Ok(Request::RuleShow { name: name.clone() }),
    }
}

fn right(args: &RuleArgs, spec: RuleSpec, problems: &[Problem]) -> Result<RuleSpec, Failure> {
    if problems.is_empty() {
        return Ok(spec);
    }
    let lines = problems.iter().map(|problem| format!("mcrctl: {}: {}", args.flag(&problem.key), problem.message));
    Err(Failure::Refused(ErrorCode::Invalid, lines.collect()))
}

/// A rule that has all that `change` names, and nothing else that may be wrong. What is judged by the match is left to the daemon,
/// where the match is not named.
fn plausible(change: &RuleSpec) -> RuleSpec {
    let mut spec = change.clone();
    let names_match = !spec.matcher.group.is_empty() && spec.matcher.port.is_some();
    if spec.matcher.interface.is_empty() {
        spec.matcher.interface = "-".to_owned();
    }
    if spec.matcher.group.is_empty() {
        spec.matcher.group = "224.0.2.0".to_owned();
    }
    if spec.output.is_empty() {
        spec.output.push(crate::rules::spec::OutputSpec {
            // Another one than its ingress, so that no output leads back to it.
            interface: "-o".to_owned(),
            ttl: Some("keep".into()),
            ..Default::default()
        });
    }
    for output in spec.output.iter_mut().filter(|_| !names_match) {
        (output.group, output.port) = (None, None);
    }
    spec
}

/// Deletes these rules.
pub(super) fn deletion(Chosen { names, persist }: &Chosen) -> Request {
    Request::RuleDel { name: None, names: names.clone(), persist: *persist }
}

/// Those of the rules that names and globs choose.
pub(super) fn listed(response: Response, patterns: &[String]) -> Result<Response, Failure> {
    let Response::Rules(mut rules) = response else { return Ok(response) };
    let names: BTreeSet<String> = rules.iter().map(|rule| rule.name.clone()).collect();
    let chosen = glob::matching(patterns, &names).map_err(|error| prefixed((&error).into(), &error.to_string()))?;
    let chosen: HashSet<&str> = chosen.into_iter().collect();
    rules.retain(|rule| chosen.contains(rule.name.as_str()));
    rules.sort_by(|a, b| natural(&a.name, &b.name));
    Ok(Response::Rules(rules))
}
