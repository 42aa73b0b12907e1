//! The edits of one file's text.

use std::ops::Range;

use toml_edit::{Array, ArrayOfTables, Document, DocumentMut, InlineTable, Item, Table, TableLike, Value};

use super::{Edit, comments, inline, lines, merge, rule_table};
use crate::rules::{
    edit::{ANY, NONE},
    spec::{MatchSpec, RuleSpec},
};

const NO_ARRAY: &str = "`rule` is not an array of tables";

/// `text` with these edits; each has the position of its rule, where the file has it.
pub(super) fn edited(text: &str, edits: &[(Option<usize>, &Edit)]) -> Result<String, String> {
    let is_mixed = text.contains("\r\n") && text.replace("\r\n", "").contains('\n');
    // Where line ends differ, each change by itself leaves those of all other lines alone.
    let groups = if is_mixed { edits.chunks(1) } else { edits.chunks(edits.len().max(1)) };
    let mut text = text.to_owned();
    for group in groups {
        let mut document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| error.to_string())?;
        let before = document.to_string();
        for (at, edit) in group {
            match (edit, at) {
                (Edit::Put(spec), Some(at)) => {
                    merge::table(rule(&mut document, *at).ok_or(NO_ARRAY)?, &inline(&rule_table(spec)));
                }
                (Edit::Put(spec) | Edit::Change { whole: spec, .. }, None) => append(&mut document, spec)?,
                (Edit::Change { change, whole }, Some(at)) => {
                    keys(rule(&mut document, *at).ok_or(NO_ARRAY)?, change, whole);
                }
                // By itself below: what is around it stays to the byte.
                (Edit::Remove(_), _) => {}
            }
        }
        let after = document.to_string();
        if after != before {
            text = lines::keep(&text, &comments::keep(&before, &after));
        }
    }
    let mut gone: Vec<usize> =
        edits.iter().filter(|(_, edit)| matches!(edit, Edit::Remove(_))).filter_map(|(at, _)| *at).collect();
    gone.sort_unstable();
    removed(text, &gone)
}

/// The rule at this position.
fn rule(document: &mut DocumentMut, at: usize) -> Option<&mut dyn TableLike> {
    match document.get_mut("rule")? {
        Item::ArrayOfTables(tables) => tables.get_mut(at).map(|table| table as _),
        Item::Value(Value::Array(array)) => {
            array.get_mut(at).and_then(Value::as_inline_table_mut).map(|table| table as _)
        }
        _ => None,
    }
}

fn append(document: &mut DocumentMut, spec: &RuleSpec) -> Result<(), String> {
    let mut table = rule_table(spec);
    // Comments at the end of the file stay before it.
    let trailing = document.trailing().as_str().unwrap_or_default().to_owned();
    let gap = if document.is_empty() && trailing.is_empty() { "" } else { "\n" };
    table.decor_mut().set_prefix(format!("{trailing}{gap}"));
    match document.entry("rule").or_insert(Item::ArrayOfTables(ArrayOfTables::new())) {
        Item::ArrayOfTables(tables) => {
            tables.push(table);
            document.set_trailing("");
        }
        Item::Value(Value::Array(array)) => array.push(inline(&table)),
        _ => return Err(NO_ARRAY.to_owned()),
    }
    Ok(())
}

/// Makes the rule in `table` have what `change` names; its other keys, and all comments, stay.
fn keys(table: &mut dyn TableLike, change: &RuleSpec, whole: &RuleSpec) {
    let new = inline(&rule_table(change));
    // The name that it has by default would become another with the match.
    if table.get("name").is_none() && change.matcher != MatchSpec::default() {
        set(table, "name", whole.name.as_deref().map(Value::from).as_ref());
    }
    set_words(table, "description", change.description.as_deref(), "");
    set_words(table, "stall_after", change.stall_after.as_deref(), NONE);
    if let Some(enabled) = change.enabled {
        let value = (!enabled || table.get("enabled").is_some()).then(|| Value::from(enabled));
        set(table, "enabled", value.as_ref());
    }
    if let Some(old) = table.get("match").and_then(Item::as_table_like) {
        let mut matcher: InlineTable =
            old.iter().filter_map(|(key, item)| Some((key.to_owned(), item.as_value()?.clone()))).collect();
        let typed = &change.matcher;
        let port = typed.port.as_ref().map(ToString::to_string);
        let vlan = typed.vlan.as_ref().map(ToString::to_string);
        let words = [
            ("interface", Some(typed.interface.as_str()).filter(|text| !text.is_empty()), ""),
            ("group", Some(typed.group.as_str()).filter(|text| !text.is_empty()), ""),
            ("port", port.as_deref(), ANY),
            ("source", typed.source.as_deref(), ANY),
            ("vlan", vlan.as_deref(), NONE),
        ];
        words.into_iter().for_each(|(key, value, none)| set_words(&mut matcher, key, value, none));
        merge::key(table, "match", &Value::InlineTable(matcher));
    }
    if !change.output.is_empty() {
        set(table, "output", new.get("output"));
    }
}

/// Sets a key to what was typed, a number where it is one; `none` takes it away.
fn set_words(table: &mut dyn TableLike, key: &str, typed: Option<&str>, none: &str) {
    let Some(text) = typed else { return };
    let is_number = matches!(key, "port" | "vlan");
    let value = match text.parse::<i64>() {
        Ok(number) if is_number => Value::from(number),
        _ => Value::from(text),
    };
    set(table, key, Some(value).filter(|_| text != none).as_ref());
}

fn set(table: &mut dyn TableLike, key: &str, value: Option<&Value>) {
    match value {
        None => {
            table.remove(key);
        }
        Some(value) => merge::key(table, key, value),
    }
}

/// `text` without the rules at these positions.
fn removed(mut text: String, gone: &[usize]) -> Result<String, String> {
    if gone.is_empty() {
        return Ok(text);
    }
    let document = Document::parse(text.as_str()).map_err(|error| error.to_string())?;
    match document.get("rule") {
        Some(Item::ArrayOfTables(tables)) => {
            let spans: Option<Vec<Range<usize>>> = gone.iter().map(|at| extent(tables.get(*at)?)).collect();
            let spans: Vec<Range<usize>> =
                spans.ok_or(NO_ARRAY)?.into_iter().map(|span| whole_lines(&text, span)).collect();
            for span in spans.into_iter().rev() {
                text.replace_range(span, "");
            }
            Ok(text)
        }
        Some(Item::Value(Value::Array(_))) => {
            let mut document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| error.to_string())?;
            let array = document.get_mut("rule").and_then(Item::as_array_mut).ok_or(NO_ARRAY)?;
            gone.iter().rev().for_each(|at| take_out(array, *at));
            Ok(lines::keep(&text, &document.to_string()))
        }
        _ => Err(NO_ARRAY.to_owned()),
    }
}

/// From the header to the last byte of what stands under it.
fn extent(table: &Table) -> Option<Range<usize>> {
    fn end(item: &Item) -> usize {
        let own = item.span().map_or(0, |span| span.end);
        match item {
            Item::Table(table) => table.iter().map(|(_, item)| end(item)).max().unwrap_or(0).max(own),
            Item::ArrayOfTables(tables) => {
                let ends = tables.iter().flat_map(|table| {
                    let own = table.span().map_or(0, |span| span.end);
                    table.iter().map(|(_, item)| end(item)).chain([own])
                });
                ends.max().unwrap_or(0).max(own)
            }
            _ => own,
        }
    }
    let span = table.span()?;
    let end = table.iter().map(|(_, item)| end(item)).max().unwrap_or(0).max(span.end);
    Some(span.start..end)
}

/// The lines of a span; with an empty line after it where one is before it, too.
fn whole_lines(text: &str, span: Range<usize>) -> Range<usize> {
    let start = text[..span.start].rfind('\n').map_or(0, |at| at + 1);
    let mut end = text[span.end..].find('\n').map_or(text.len(), |at| span.end + at + 1);
    let before = text[..start].trim_end_matches(['\r', '\n', ' ', '\t']);
    let is_apart = before.is_empty() || text[before.len()..start].matches('\n').count() > 1;
    let next = text[end..].split_inclusive('\n').next().unwrap_or_default();
    if is_apart && next.trim().is_empty() {
        end += next.len();
    }
    start..end
}

/// Takes an element out of a list; comments before it stay.
fn take_out(array: &mut Array, at: usize) {
    let gone = array.remove(at);
    let comment = gone.decor().prefix().and_then(|raw| raw.as_str()).unwrap_or_default().to_owned();
    if !comment.contains('#') {
        return;
    }
    match array.get_mut(at) {
        Some(next) => {
            let own = next.decor().prefix().and_then(|raw| raw.as_str()).unwrap_or_default().to_owned();
            let gap = if own.starts_with('\n') { "" } else { "\n" };
            next.decor_mut().set_prefix(format!("{}{gap}{own}", comment.trim_end()));
        }
        None => {
            let own = array.trailing().as_str().unwrap_or_default().to_owned();
            let gap = if own.starts_with('\n') { "" } else { "\n" };
            array.set_trailing(format!("{}{gap}{own}", comment.trim_end()));
        }
    }
}
