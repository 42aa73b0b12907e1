//! Writing a rule into the user's file, with all else in it left as it is.

use std::{fs, io::Write, path::Path};

use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, Value};

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

/// Puts `spec` in the place of the file's rule of that name; comments above it stay.
///
/// # Errors
///
/// As [`append_rule`], and when the file has no rule of that name.
pub fn replace_rule(path: &Path, spec: &RuleSpec) -> Result<(), PersistError> {
    let checked = check_rule(spec).map_err(|problems| lines(&problems))?;
    edit(path, |document, names| {
        let name = &checked.rule.name;
        let Some(i) = names.iter().position(|known| known == name) else {
            return Err(format!("has no rule `{name}` to replace"));
        };
        let mut table = rule_table(spec);
        match document.get_mut("rule") {
            Some(Item::ArrayOfTables(tables)) => {
                if let Some(old) = tables.get_mut(i) {
                    *table.decor_mut() = old.decor().clone();
                    table.set_position(old.position());
                    *old = table;
                }
            }
            Some(Item::Value(Value::Array(array))) => {
                array.replace(i, inline(&table));
            }
            _ => return Err("`rule` is not an array of tables".to_owned()),
        }
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
    let text = fs::read_to_string(path).map_err(|error| failed(&error))?;
    let old = config::parse(&file, &text).map_err(|problems| file_lines(&problems))?;
    let names: Vec<String> = old.config.rules.into_iter().map(|rule| rule.name).collect();
    let mut document: DocumentMut = text.parse().map_err(|error| failed(&error))?;
    change(&mut document, &names).map_err(|error| failed(&error))?;
    let text = document.to_string();
    config::parse(&file, &text).map_err(|problems| file_lines(&problems))?;
    write(path, text.as_bytes()).map_err(|error| failed(&format!("cannot be written: {error}")))
}

/// In one step: a reader, and a crash, finds the old file or the new one.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    // A link to the file stays a link.
    let path = fs::canonicalize(path)?;
    let mut new = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(Path::new("/")))?;
    let old = fs::metadata(&path)?;
    new.write_all(bytes)?;
    new.as_file().set_permissions(old.permissions())?;
    let (user, group) = (std::os::unix::fs::MetadataExt::uid(&old), std::os::unix::fs::MetadataExt::gid(&old));
    std::os::unix::fs::fchown(new.as_file(), Some(user), Some(group))?;
    new.as_file().sync_all()?;
    new.persist(path)?;
    Ok(())
}

fn lines(problems: &[Problem]) -> PersistError {
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
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const FILE: &str = "# mine\n[limits]   # few\nrules = 3\n\n# the first\n[[rule]]\nname=\"a\"\nmatch  = { interface = \"e0\", group = \"239.1.1.1\" } # why\noutput = [{ interface = \"e1\" }]\n\n# the second\n[[rule]]\nmatch = { interface = \"e0\", group = \"239.1.1.2\", port = 5 }\noutput = [{ interface = \"e1\" }]\n";

    fn spec(name: Option<&str>, group: &str) -> RuleSpec {
        let json = format!(
            r#"{{"match":{{"interface":"e0","group":"{group}","port":"5"}},"output":[{{"interface":"e2","port":"6","ttl":"keep"}},{{"interface":"e3"}}]}}"#
        );
        RuleSpec { name: name.map(str::to_owned), ..serde_json::from_str(&json).expect("a rule") }
    }

    fn file(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("mcrd.toml");
        fs::write(&path, text).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("a mode");
        (directory, path)
    }

    #[test]
    fn a_rule_is_appended_and_the_rest_kept() {
        let (directory, path) = file(FILE);
        let link = directory.path().join("link.toml");
        std::os::unix::fs::symlink(&path, &link).expect("a link");
        append_rule(&link, &spec(Some("b"), "239.1.1.3")).expect("appended");
        let text = fs::read_to_string(&path).expect("the file");
        assert!(text.starts_with(FILE), "{text}");
        assert!(text[FILE.len()..].starts_with("\n[[rule]]\nname = \"b\"\n"), "{text}");
        assert!(text.contains("port = 5") && !text.contains("port = \"5\""), "a number stays one: {text}");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o640);
        assert!(fs::symlink_metadata(&link).expect("there").is_symlink());
        let rules = config::load(&path).expect("right").config.rules;
        assert_eq!(rules[2], check_rule(&spec(Some("b"), "239.1.1.3")).expect("right").rule);
        // The limit of the file is 3.
        let error = append_rule(&path, &spec(Some("c"), "239.1.1.4")).expect_err("full").to_string();
        assert!(error.contains("limit of 3"), "{error}");
        assert_eq!(fs::read_to_string(&path).expect("the file"), text);
        assert_eq!(fs::read_dir(directory.path()).expect("entries").count(), 2, "nothing is left behind");
    }

    #[test]
    fn a_rule_is_replaced_where_it_stands() {
        let (_directory, path) = file(FILE);
        // The second has no name of its own.
        replace_rule(&path, &spec(None, "239.1.1.2")).expect("replaced");
        let text = fs::read_to_string(&path).expect("the file");
        let second = FILE.find("# the second").expect("there");
        assert!(text.starts_with(&FILE[..second]), "{text}");
        assert!(text[second..].starts_with("# the second\n[[rule]]\nmatch = { interface = \"e0\""), "{text}");
        let rules = config::load(&path).expect("right").config.rules;
        assert_eq!((rules.len(), rules[1].outputs.len()), (2, 2));
        let error = replace_rule(&path, &spec(Some("zz"), "239.1.1.9")).expect_err("none").to_string();
        assert!(error.contains("no rule `zz`"), "{error}");
    }

    #[test]
    fn other_ways_to_write_rules() {
        for text in [
            "",
            "rule = []\n",
            "[daemon]\n",
            "rule = [{ name = \"a\", match = { interface = \"e0\", group = \"239.1.1.1\" }, output = [{ interface = \"e1\" }] }]\n",
        ] {
            let (_directory, path) = file(text);
            append_rule(&path, &spec(Some("b"), "239.1.1.3")).expect("appended");
            replace_rule(&path, &spec(Some("b"), "239.1.1.4")).expect("replaced");
            let rules = config::load(&path).expect("right").config.rules;
            assert_eq!(rules.last(), Some(&check_rule(&spec(Some("b"), "239.1.1.4")).expect("right").rule), "{text}");
        }
    }

    #[test]
    fn a_bad_file_and_a_bad_rule_change_nothing() {
        let (_directory, path) = file("rules = 1\n");
        assert!(append_rule(&path, &spec(Some("b"), "239.1.1.3")).is_err());
        assert_eq!(fs::read_to_string(&path).expect("the file"), "rules = 1\n");
        let (_directory, path) = file(FILE);
        assert!(append_rule(&path, &spec(Some("a"), "239.1.1.3")).is_err(), "the name is taken");
        assert!(append_rule(&path, &spec(Some("b"), "10.1.1.3")).is_err());
        assert_eq!(fs::read_to_string(&path).expect("the file"), FILE);
    }
}
