//! Writing a rule into the user's file, or into the one that it includes for it, with all else left as it is.

mod comments;
mod lines;
mod merge;
mod part;
mod write;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::{Path, PathBuf},
};

use toml_edit::{Array, InlineTable, Item, Table, Value};

use super::{
    check::{Problem, check_rule},
    rule::Rule,
    spec::{RuleSpec, Scalar},
};
use crate::config::{self, FileProblem, Loaded};

/// Why a rule was not written: a line for each problem. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum PersistError {
    /// A file is wrong in itself, or would be then.
    #[error("{0}\nnothing was changed; correct the file, or leave --persist out")]
    Invalid(String),
    /// A file cannot be read, or written.
    #[error("{0}\nnothing was changed")]
    Unavailable(String),
}

/// What becomes of one rule of the files. Of several, each is about another name.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "one request holds few of them")]
pub enum Edit {
    /// It becomes exactly this, in the place of the one of its name, or at the end of the main file.
    Put(RuleSpec),
    /// These keys of it change, in the file that has it; where none has it, the whole rule is put.
    Change {
        /// What changes, as [`RuleSpec::changed_by`] takes it.
        change: RuleSpec,
        /// The rule as it is then.
        whole: RuleSpec,
    },
    /// The rule of this name goes, with what stands within it; comments before it stay.
    Remove(String),
}

impl Edit {
    fn name(&self) -> &str {
        match self {
            Self::Put(spec) | Self::Change { whole: spec, .. } => spec.name.as_deref().unwrap_or_default(),
            Self::Remove(name) => name,
        }
    }
}

/// Makes all these edits, each in the file that has the rule, or none; the names that were to be removed and that no file has.
///
/// `main` is the daemon's file. Every file is checked with all that it includes before any is written.
///
/// # Errors
///
/// A file cannot be read, would not be valid then, or cannot be written. All are unchanged then.
pub fn edit(main: &Path, edits: &[Edit]) -> Result<Vec<String>, PersistError> {
    let file = main.display().to_string();
    let text = config::text(main).map_err(|problems| file_lines(&problems))?;
    let loaded = config::parse(&file, &text).map_err(|problems| file_lines(&problems))?;
    let homes = homes(&loaded);
    let touched: HashSet<usize> = edits.iter().filter_map(|edit| Some(homes.get(edit.name())?.file)).collect();
    // With the texts that are edited: they may have changed since they were read with the others.
    let mut olds = Vec::new();
    for (_, path) in loaded.files.iter().enumerate().skip(1).filter(|(i, _)| touched.contains(i)) {
        olds.push((path.clone(), config::text(path).map_err(|problems| file_lines(&problems))?));
    }
    let loaded = config::parse_edited(&file, &text, &olds).map_err(|problems| file_lines(&problems))?;
    let homes = self::homes(&loaded);
    let mut parts: BTreeMap<usize, Vec<(Option<usize>, &Edit)>> = BTreeMap::new();
    let mut missing = Vec::new();
    for edit in edits {
        match (homes.get(edit.name()), edit) {
            (None, Edit::Remove(name)) => missing.push(name.clone()),
            (Some(home), Edit::Put(spec)) if is_rule(spec, &loaded.config.rules[home.index]) => {}
            (None, _) => parts.entry(0).or_default().push((None, edit)),
            (Some(home), _) => parts.entry(home.file).or_default().push((Some(home.position), edit)),
        }
    }
    let (mut new_main, mut news, mut writes) = (text.clone(), Vec::new(), Vec::new());
    for (i, edits) in parts {
        let path = &loaded.files[i];
        let old = match i {
            0 => &text,
            _ => match olds.iter().find(|(old, _)| old == path) {
                Some((_, old)) => old,
                None => {
                    return Err(PersistError::Unavailable(format!(
                        "{}: has changed meanwhile; try again",
                        path.display()
                    )));
                }
            },
        };
        let new =
            part::edited(old, &edits).map_err(|why| PersistError::Invalid(format!("{}: {why}", path.display())))?;
        if i == 0 {
            new_main.clone_from(&new);
        } else {
            news.push((path.clone(), new.clone()));
        }
        if new != *old {
            writes.push((path.clone(), old.clone(), new));
        }
    }
    // Files that are only read with these must be the same in both looks.
    let unchanged = olds.into_iter().filter(|(path, _)| news.iter().all(|(new, _)| new != path)).collect::<Vec<_>>();
    news.extend(unchanged);
    let then = config::parse_edited(&file, &new_main, &news).map_err(|problems| file_lines(&problems))?;
    verify(&loaded, &then, edits)?;
    write_all(&writes)?;
    Ok(missing)
}

/// Whether a rule of a file is exactly this one already, however it is written.
fn is_rule(spec: &RuleSpec, rule: &Rule) -> bool {
    check_rule(spec).is_ok_and(|checked| checked.rule == *rule)
}

/// That the files say what was asked for, and of all other rules what they said before.
fn verify(before: &Loaded, then: &Loaded, edits: &[Edit]) -> Result<(), PersistError> {
    let before: BTreeMap<&str, &Rule> = before.config.rules.iter().map(|rule| (rule.name.as_str(), rule)).collect();
    let mut wanted: BTreeMap<&str, Rule> = before.iter().map(|(name, rule)| (*name, (*rule).clone())).collect();
    for edit in edits {
        let spec = match edit {
            Edit::Remove(name) => {
                wanted.remove(name.as_str());
                continue;
            }
            Edit::Put(spec) => spec.clone(),
            Edit::Change { change, whole } => match before.get(edit.name()) {
                Some(old) => RuleSpec::from(*old).changed_by(change),
                None => whole.clone(),
            },
        };
        let checked = check_rule(&spec).map_err(|problems| problem_lines(&problems))?;
        wanted.insert(edit.name(), checked.rule);
    }
    let is: BTreeMap<&str, &Rule> = then.config.rules.iter().map(|rule| (rule.name.as_str(), rule)).collect();
    let differs = wanted.iter().find(|(name, rule)| is.get(*name) != Some(rule)).map(|(name, _)| *name);
    let extra = is.keys().find(|name| !wanted.contains_key(*name)).copied();
    match differs.or(extra) {
        None => Ok(()),
        Some(name) => Err(PersistError::Invalid(format!(
            "rule `{name}` is written in a way that cannot be edited without loss; edit the file by hand, then `mcrctl reload`"
        ))),
    }
}

/// Writes these files; where one cannot be written, those before it get their old text again.
fn write_all(writes: &[(PathBuf, String, String)]) -> Result<(), PersistError> {
    for (i, (path, _, new)) in writes.iter().enumerate() {
        if let Err(error) = write::write(path, new.as_bytes()) {
            for (path, old, _) in &writes[..i] {
                if let Err(error) = write::write(path, old.as_bytes()) {
                    log::error!("{}: putting its old text back: {error}", path.display());
                }
            }
            return Err(PersistError::Unavailable(format!("{}: {error}", path.display())));
        }
    }
    Ok(())
}

/// Where a rule stands.
struct Home {
    /// The position of its file among those that were read.
    file: usize,
    /// Its own among the rules of that file.
    position: usize,
    /// And among all.
    index: usize,
}

fn homes(loaded: &Loaded) -> HashMap<&str, Home> {
    let mut counts = vec![0; loaded.files.len()];
    let rules = loaded.config.rules.iter().zip(&loaded.homes).enumerate();
    rules
        .map(|(index, (rule, file))| {
            let position = counts[*file];
            counts[*file] += 1;
            (rule.name.as_str(), Home { file: *file, position, index })
        })
        .collect()
}

fn problem_lines(problems: &[Problem]) -> PersistError {
    PersistError::Invalid(problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n"))
}

fn file_lines(problems: &[FileProblem]) -> PersistError {
    let lines = problems.iter().map(FileProblem::to_string).collect::<Vec<_>>().join("\n");
    match problems.iter().any(|problem| problem.is_unread) {
        true => PersistError::Unavailable(lines),
        false => PersistError::Invalid(lines),
    }
}

/// A rule as a table of the file.
pub fn rule_table(spec: &RuleSpec) -> Table {
    let mut table = Table::new();
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            table.insert(key, Item::Value(value));
        }
    };
    put("name", text(&spec.name));
    put("description", text(&spec.description));
    put("enabled", spec.enabled.map(Value::from));
    put("stall_after", text(&spec.stall_after));
    let matcher = &spec.matcher;
    put(
        "match",
        Some(fields([
            ("interface", Some(matcher.interface.as_str().into())),
            ("group", Some(matcher.group.as_str().into())),
            ("port", scalar(&matcher.port)),
            ("source", text(&matcher.source)),
            ("vlan", scalar(&matcher.vlan)),
        ])),
    );
    let mut outputs = Array::new();
    for output in &spec.output {
        let mut value = fields([
            ("name", text(&output.name)),
            ("interface", Some(output.interface.as_str().into())),
            ("group", text(&output.group)),
            ("port", scalar(&output.port)),
            ("source", text(&output.source)),
            ("ttl", scalar(&output.ttl)),
            ("dscp", scalar(&output.dscp)),
            ("vlan", scalar(&output.vlan)),
        ]);
        value.decor_mut().set_prefix("\n  ");
        outputs.push_formatted(value);
    }
    outputs.set_trailing_comma(true);
    outputs.set_trailing("\n");
    put("output", Some(outputs.into()));
    table
}

fn fields<const N: usize>(fields: [(&str, Option<Value>); N]) -> Value {
    fields.into_iter().filter_map(|(key, value)| Some((key, value?))).collect::<InlineTable>().into()
}

fn inline(table: &Table) -> InlineTable {
    table.clone().into_inline_table()
}

fn text(value: &Option<String>) -> Option<Value> {
    value.as_deref().map(Value::from)
}

/// Typed on the command line a number is text: it is written as the number that it is.
fn scalar(value: &Option<Scalar>) -> Option<Value> {
    Some(match value.as_ref()? {
        Scalar::Number(number) => Value::from(*number),
        Scalar::Text(text) => text.parse::<i64>().map_or_else(|_| Value::from(text.as_str()), Value::from),
    })
}

#[cfg(test)]
mod tests;
