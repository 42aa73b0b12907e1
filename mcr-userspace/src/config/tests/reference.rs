//! docs/configuration.md and the examples beside the code.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::config::read::known_keys;

const REFERENCE: &str = include_str!("../../../../docs/configuration.md");
const EXAMPLE: &str = include_str!("../../../../examples/mcrd.toml");

/// Columns of the table of keys, by key.
fn documented() -> BTreeMap<&'static str, Vec<&'static str>> {
    let rows = REFERENCE.lines().skip_while(|line| !line.starts_with("| key |")).skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    let cells =
        |row: &'static str| row.trim_matches('|').split(" | ").map(|cell| cell.trim().trim_matches('`')).collect();
    let rows: Vec<Vec<&str>> = rows.map(cells).collect();
    let count = rows.len();
    let keys: BTreeMap<_, _> = rows.into_iter().map(|row| (row[0], row[1..].to_vec())).collect();
    assert_eq!(keys.len(), count, "a key is there twice");
    keys
}

/// The keys that are read, without the tables that hold them.
fn read() -> BTreeSet<String> {
    let all = known_keys();
    let is_table = |key: &str| all.iter().any(|other| other.starts_with(&format!("{key}.")));
    all.iter().filter(|key| !is_table(key)).cloned().collect()
}

/// A key as `settings` has it, without an interface's name.
fn plain(key: &str) -> String {
    let (head, rest) = key.split_once('[').unwrap_or((key, ""));
    head.to_owned() + rest.split_once(']').map_or("", |(_, rest)| rest)
}

#[test]
fn every_key_is_documented_and_no_other() {
    let documented: BTreeSet<String> = documented().into_keys().map(str::to_owned).collect();
    assert_eq!(documented, read());
}

#[test]
fn defaults_and_what_applies_them_are_as_documented() {
    let mut config = Config::default();
    config.interfaces.push(InterfaceConfig::of("e0"));
    let settings: BTreeMap<String, String> =
        config.settings().into_iter().map(|(key, value)| (plain(&key), value.unwrap_or("none".into()))).collect();
    for (key, row) in documented() {
        let [_, default, applied, _] = row[..] else { panic!("{key}: {row:?}") };
        match settings.get(key) {
            Some(value) => assert_eq!((default, applied), (value.as_str(), "restart"), "{key}"),
            // Which interface a table is about is no setting of its own.
            None if key == "interface.name" => assert_eq!((default, applied), ("required", "restart")),
            None => assert_eq!(applied, "reload", "{key}"),
        }
    }
    assert!(settings.keys().all(|key| documented().contains_key(key.as_str())));
}

#[test]
fn every_example_is_right_and_together_they_have_every_key() {
    let mut used = BTreeSet::new();
    for block in REFERENCE.split("```toml\n").skip(1) {
        let text = block.split("```").next().expect("its end");
        parse("docs", text).unwrap_or_else(|problems| panic!("{text}\n{problems:?}"));
        used.extend(leaves("", &text.parse().expect("TOML")));
    }
    assert_eq!(used, read());
}

/// Every key with a value, without positions in arrays.
fn leaves(path: &str, table: &toml::Table) -> Vec<String> {
    let key = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    let of_value = |(name, value): (&String, &toml::Value)| match value {
        toml::Value::Table(inner) => leaves(&key(name), inner),
        toml::Value::Array(array) if array.iter().all(toml::Value::is_table) => {
            array.iter().filter_map(toml::Value::as_table).flat_map(|inner| leaves(&key(name), inner)).collect()
        }
        _ => vec![key(name)],
    };
    table.iter().flat_map(of_value).collect()
}

/// Sections with their defaults, those that have none as comments; each key once, and no more.
#[test]
fn the_example_has_every_section_with_its_defaults() {
    let Config { rules, interfaces, .. } = parse("f", EXAMPLE).expect("right").config;
    assert!(!rules.is_empty() && interfaces == [InterfaceConfig::of("eth0")], "{interfaces:?}");
    let sections = EXAMPLE.split("[[").next().expect("a beginning");
    assert_eq!(parse("f", sections).expect("right").config, Config::default());
    for key in read() {
        let name = key.rsplit('.').next().expect("a key");
        let is_given = |line: &str| {
            let line = line.trim_start_matches(['#', ' ', '{']);
            line.strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with('='))
        };
        let given = EXAMPLE.lines().flat_map(|line| line.split([',', '{'])).any(is_given);
        assert!(given, "{key} is not in examples/mcrd.toml");
    }
}
