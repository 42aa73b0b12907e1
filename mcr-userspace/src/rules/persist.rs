//! Writing a rule into the user's file, with all else in it left as it is.

mod lines;
mod merge;
mod write;

use std::{io, path::Path};

use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, TableLike, Value};

use super::{
    check::{Problem, check_rule},
    spec::{RuleSpec, Scalar},
};
use crate::config::{self, FileProblem};

/// Why a rule was not written: a line for each problem.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct PersistError(String);

/// Appends a `[[rule]]` to the file.
///
/// # Errors
///
/// The file cannot be read, would not be valid with the rule, or cannot be written. It is unchanged then.
pub fn append_rule(path: &Path, spec: &RuleSpec) -> Result<(), PersistError> {
    edit(path, |document, _| {
        let mut table = rule_table(spec);
        if !document.is_empty() {
            table.decor_mut().set_prefix("\n");
        }
        match document.entry("rule").or_insert(Item::ArrayOfTables(ArrayOfTables::new())) {
            Item::ArrayOfTables(tables) => tables.push(table),
            Item::Value(Value::Array(array)) => array.push(inline(&table)),
            _ => return Err("`rule` is not an array of tables".to_owned()),
        }
        Ok(())
    })
}

/// Puts `spec` in the place of the file's rule of that name; comments above it stay, and those inside it
/// beside keys that it still has.
///
/// # Errors
///
/// As [`append_rule`], and when the file has no rule of that name.
pub fn replace_rule(path: &Path, spec: &RuleSpec) -> Result<(), PersistError> {
    let checked = check_rule(spec).map_err(|problems| problem_lines(&problems))?;
    edit(path, |document, names| {
        let name = &checked.rule.name;
        let Some(i) = names.iter().position(|known| known == name) else {
            return Err(format!("has no rule `{name}` to replace"));
        };
        let old: Option<&mut dyn TableLike> = match document.get_mut("rule") {
            Some(Item::ArrayOfTables(tables)) => tables.get_mut(i).map(|table| table as _),
            Some(Item::Value(Value::Array(array))) => {
                array.get_mut(i).and_then(Value::as_inline_table_mut).map(|table| table as _)
            }
            _ => None,
        };
        merge::table(old.ok_or("`rule` is not an array of tables")?, &inline(&rule_table(spec)));
        Ok(())
    })
}

/// Reads the file, changes it, sees that it is valid still, and puts it in the old one's place.
///
/// `change` is given the names of the file's rules, in its order.
fn edit(
    path: &Path,
    change: impl FnOnce(&mut DocumentMut, &[String]) -> Result<(), String>,
) -> Result<(), PersistError> {
    let file = path.display().to_string();
    let failed = |what: &dyn std::fmt::Display| PersistError(format!("{file}: {what}"));
    let text = config::text(path).map_err(|problems| file_lines(&problems))?;
    let old = config::parse(&file, &text).map_err(|problems| file_lines(&problems))?;
    let names: Vec<String> = old.config.rules.into_iter().map(|rule| rule.name).collect();
    let mut document: DocumentMut = text.parse().map_err(|error| failed(&error))?;
    change(&mut document, &names).map_err(|error| failed(&error))?;
    let text = lines::keep(&text, &document.to_string());
    config::parse(&file, &text).map_err(|problems| file_lines(&problems))?;
    write::write(path, text.as_bytes()).map_err(|error| failed(&unwritten(&error)))
}

/// Why it was not written, and what to do.
fn unwritten(error: &io::Error) -> String {
    let remedy = match error.raw_os_error() {
        Some(libc::EROFS) => "; it is mounted read-only: change it where it comes from, then `mcrctl reload`",
        Some(libc::EACCES | libc::EPERM) => "; mcrd needs write access to it, and it must not be immutable (`lsattr`)",
        _ => "",
    };
    format!("cannot be written: {error}{remedy}")
}

fn problem_lines(problems: &[Problem]) -> PersistError {
    PersistError(problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n"))
}

fn file_lines(problems: &[FileProblem]) -> PersistError {
    PersistError(problems.iter().map(FileProblem::to_string).collect::<Vec<_>>().join("\n"))
}

fn rule_table(spec: &RuleSpec) -> Table {
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
