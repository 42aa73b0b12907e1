//! A table of the file, read key by key: what is asked for is known, and what is left over is an error.

use toml::{
    Spanned,
    de::{DeArray, DeTable, DeValue},
};

use super::problem::Report;
use crate::rules::{spec::Scalar, value::shown};

/// Unknown keys of one table that are told.
const MAX_UNKNOWN: usize = 20;
/// Longest key for which one like it is looked for, in bytes.
const MAX_ALIKE: usize = 64;

/// A table, where it stands, and the keys asked for so far.
pub(super) struct Table<'a> {
    /// Its key in the file; empty for the root.
    path: String,
    /// Its first byte.
    at: usize,
    entries: Option<&'a DeTable<'a>>,
    known: Vec<&'static str>,
}

/// A value and its first byte.
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) at: usize,
}

impl<'a> Table<'a> {
    pub(super) fn root(entries: &'a DeTable<'a>) -> Self {
        Self { path: String::new(), at: 0, entries: Some(entries), known: Vec::new() }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Whether there is one at all.
    pub(super) fn is_table(&self) -> bool {
        self.entries.is_some()
    }

    /// The full path of a key of this table.
    pub(super) fn key(&self, key: &str) -> String {
        match self.path.as_str() {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        }
    }

    /// The byte where the value at `path` (as in `output[1].group`) starts, or that of the nearest table or array
    /// that holds it, and whether the value itself is there.
    pub(super) fn locate(&self, path: &str) -> (usize, bool) {
        let (mut at, mut table, mut array): (usize, _, Option<&DeArray<'_>>) = (self.at, self.entries, None);
        for part in path.split(['.', '[']).map(|part| part.trim_end_matches(']')) {
            let found = match (table, array, part.parse::<usize>()) {
                (_, Some(array), Ok(i)) => array.get(i),
                (Some(table), ..) => find(table, part),
                _ => None,
            };
            let Some(value) = found else { return (at, false) };
            at = value.span().start;
            (table, array) = match value.get_ref() {
                DeValue::Table(inner) => (Some(inner), None),
                DeValue::Array(inner) => (None, Some(inner)),
                _ => (None, None),
            };
        }
        (at, true)
    }

    fn get(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.known.push(key);
        find(self.entries?, key)
    }

    fn wrong<T>(&self, key: &str, value: &Spanned<DeValue<'_>>, wanted: &str, report: &mut Report) -> Option<T> {
        let message = format!("is {}; it must be {wanted}", kind(value.get_ref()));
        report.problem(value.span().start, self.key(key), message);
        None
    }

    /// A string; `None` when absent, or after a problem.
    pub(super) fn text(&mut self, key: &'static str, report: &mut Report) -> Option<At<String>> {
        let value = self.get(key)?;
        match value.get_ref() {
            DeValue::String(text) => Some(At { value: text.clone().into_owned(), at: value.span().start }),
            _ => self.wrong(key, value, "a string in quotes", report),
        }
    }

    /// `true` or `false`; `None` when absent, or after a problem.
    pub(super) fn boolean(&mut self, key: &'static str, report: &mut Report) -> Option<At<bool>> {
        let value = self.get(key)?;
        match value.get_ref() {
            DeValue::Boolean(is) => Some(At { value: *is, at: value.span().start }),
            _ => self.wrong(key, value, "true or false, without quotes", report),
        }
    }

    /// A number or a string; `None` when absent, or after a problem.
    pub(super) fn scalar(&mut self, key: &'static str, report: &mut Report) -> Option<At<Scalar>> {
        let value = self.get(key)?;
        let scalar = match value.get_ref() {
            DeValue::String(text) => Scalar::Text(text.clone().into_owned()),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Scalar::Number(number),
                Err(_) => Scalar::Text(number.to_string()),
            },
            _ => return self.wrong(key, value, "a number or a string", report),
        };
        Some(At { value: scalar, at: value.span().start })
    }

    /// `[key]`; an empty table when absent, or after a problem.
    pub(super) fn table(&mut self, key: &'static str, report: &mut Report) -> Table<'a> {
        let mut table = Table { path: self.key(key), at: self.at, entries: None, known: Vec::new() };
        let Some(value) = self.get(key) else { return table };
        table.at = value.span().start;
        table.entries = match value.get_ref() {
            DeValue::Table(entries) => Some(entries),
            _ => self.wrong(key, value, "a table", report),
        };
        table
    }

    /// The first `most` of `[[key]]`, or of `key = [ { ... } ]`. Of those that are no tables a problem was reported, and
    /// they are empty.
    pub(super) fn tables(&mut self, key: &'static str, most: usize, report: &mut Report) -> Vec<Table<'a>> {
        let path = self.key(key);
        let Some(value) = self.get(key) else { return Vec::new() };
        let DeValue::Array(array) = value.get_ref() else {
            self.wrong::<()>(key, value, "an array of tables", report);
            return Vec::new();
        };
        let mut tables = Vec::new();
        for (i, value) in array.iter().enumerate().take(most) {
            let (path, at) = (format!("{path}[{i}]"), value.span().start);
            let entries = match value.get_ref() {
                DeValue::Table(entries) => Some(entries),
                other => {
                    report.problem(at, path.as_str(), format!("is {}; it must be a table", kind(other)));
                    None
                }
            };
            tables.push(Table { path, at, entries, known: Vec::new() });
            if self.path.is_empty() {
                report.bound();
            }
        }
        tables
    }

    /// Reports the keys that nobody asked for.
    pub(super) fn finish(&self, report: &mut Report) {
        let keys = self.entries.into_iter().flat_map(DeTable::keys);
        let mut unknown = keys.filter(|key| !self.known.contains(&key.get_ref().as_ref()));
        for key in unknown.by_ref().take(MAX_UNKNOWN) {
            let name = key.get_ref().as_ref();
            // A long one is no slip of the pen, and slow to compare.
            let alike = self.known.iter().filter(|_| name.len() <= MAX_ALIKE);
            let nearest = alike.min_by_key(|known| strsim::osa_distance(known, name));
            let hint = match nearest.filter(|known| strsim::osa_distance(known, name) <= known.len().div_ceil(3)) {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("known here: {}", self.known.join(", ")),
            };
            report.problem(key.span().start, shown(&self.key(name)), format!("unknown key; {hint}"));
        }
        if let Some(key) = unknown.next() {
            let message = format!("and {} more unknown keys", 1 + unknown.count());
            report.problem(key.span().start, shown(&self.key(key.get_ref())), message);
        }
    }
}

fn find<'a>(table: &'a DeTable<'a>, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
    table.get(key)
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}
