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
    /// Keys that were reported already.
    refused: &'static [&'static str],
}

/// A value and its first byte.
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) at: usize,
}

impl<'a> Table<'a> {
    pub(super) fn root(entries: &'a DeTable<'a>) -> Self {
        Self { path: String::new(), at: 0, entries: Some(entries), known: Vec::new(), refused: &[] }
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

    /// The first `most` of an array of strings; empty when absent. Of those that are none a problem was reported.
    pub(super) fn texts(&mut self, key: &'static str, most: usize, report: &mut Report) -> Vec<At<String>> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let DeValue::Array(array) = value.get_ref() else {
            self.wrong::<()>(key, value, "an array of strings in quotes, such as [\"conf.d/*.toml\"]", report);
            return Vec::new();
        };
        if array.len() > most {
            report.problem(
                value.span().start,
                self.key(key),
                format!("has {} elements; write at most {most}", array.len()),
            );
        }
        let mut texts = Vec::new();
        for (i, value) in array.iter().enumerate().take(most) {
            let at = value.span().start;
            match value.get_ref() {
                DeValue::String(text) => texts.push(At { value: text.clone().into_owned(), at }),
                other => {
                    let key = format!("{}[{i}]", self.key(key));
                    report.problem(at, key, format!("is {}; it must be a string in quotes", kind(other)));
                }
            }
        }
        texts
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
        let mut table = Table { path: self.key(key), at: self.at, entries: None, known: Vec::new(), refused: &[] };
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
            let wanted = match (value.get_ref(), self.path.as_str()) {
                (DeValue::Table(_), "") => {
                    format!("write [[{key}]] in two brackets, as each {key} has a table of its own")
                }
                _ => format!("it must be a list of tables: {}", example(key)),
            };
            let message = format!("is {}; {wanted}", kind(value.get_ref()));
            report.problem(value.span().start, path, message);
            return Vec::new();
        };
        let mut tables = Vec::new();
        for (i, value) in array.iter().enumerate().take(most) {
            let (path, at) = (format!("{path}[{i}]"), value.span().start);
            let entries = match value.get_ref() {
                DeValue::Table(entries) => Some(entries),
                other => {
                    let message = match other {
                        DeValue::String(text) if key == "output" => {
                            format!("is a string; it must be a table: write [{{ interface = \"{}\" }}]", shown(text))
                        }
                        _ => format!("is {}; it must be a table: {}", kind(other), example(key)),
                    };
                    report.problem(at, path.as_str(), message);
                    None
                }
            };
            tables.push(Table { path, at, entries, known: Vec::new(), refused: &[] });
            if self.path.is_empty() {
                report.bound();
            }
        }
        tables
    }

    /// Reports these keys where they are there: what `message` says of each. Called once for a table.
    pub(super) fn refuse(
        &mut self,
        keys: &'static [&'static str],
        message: impl Fn(&str) -> String,
        report: &mut Report,
    ) {
        self.refused = keys;
        for key in self.entries.into_iter().flat_map(DeTable::keys) {
            let name = key.get_ref().as_ref();
            if keys.contains(&name) {
                report.problem(key.span().start, self.key(name), message(name));
            }
        }
    }

    /// Reports the keys that nobody asked for.
    pub(super) fn finish(&self, report: &mut Report) {
        #[cfg(test)]
        report.known.extend(self.known.iter().map(|key| without_positions(&self.key(key))));
        let keys = self.entries.into_iter().flat_map(DeTable::keys);
        let is_told = |name: &str| self.known.contains(&name) || self.refused.contains(&name);
        let mut unknown = keys.filter(|key| !is_told(key.get_ref()));
        for key in unknown.by_ref().take(MAX_UNKNOWN) {
            let name = key.get_ref().as_ref();
            let hint = if name == "include" && !self.path.is_empty() {
                "write it at the top of the file, before the first [section]".to_owned()
            } else {
                match alike(name, &self.known) {
                    Some(known) => format!("did you mean `{known}`?"),
                    None => format!("known here: {}", self.known.join(", ")),
                }
            };
            report.problem(key.span().start, shown(&self.key(name)), format!("unknown key; {hint}"));
        }
        if let Some(key) = unknown.next() {
            let message = format!("and {} more unknown keys", 1 + unknown.count());
            report.problem(key.span().start, shown(&self.key(key.get_ref())), message);
        }
    }
}

/// How a list of tables is written.
fn example(key: &str) -> String {
    match key {
        "output" => "write output = [{ interface = \"eth1\" }]".to_owned(),
        key => format!("write [[{key}]]"),
    }
}

/// What other tools, and mcr's own flags, call the same thing.
const ALSO_CALLED: [(&str, &[&str]); 11] = [
    ("interface", &["in", "iface", "if", "ifname", "ingress", "dev", "device", "nic", "out", "egress"]),
    ("output", &["out", "egress", "to", "dst", "destination"]),
    ("match", &["from", "input", "ingress"]),
    ("group", &["dst", "dest", "destination", "address", "addr", "ip", "mcast", "multicast", "grp"]),
    ("source", &["src", "from", "sender", "source_ip", "source-ip"]),
    ("port", &["dport", "udp_port"]),
    ("vlan", &["vid", "vlan_id", "tag"]),
    ("dscp", &["tos", "qos"]),
    ("description", &["comment", "remark", "note"]),
    ("enabled", &["enable", "disabled", "disable", "active"]),
    ("stall_after", &["stall-after", "timeout"]),
];

/// The key of `known` that was meant by `name`, most likely.
fn alike<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    // A long one is no slip of the pen, and slow to compare.
    if name.len() > MAX_ALIKE {
        return None;
    }
    let lower = name.to_ascii_lowercase();
    let called = ALSO_CALLED.iter().filter(|(_, others)| others.contains(&lower.as_str()));
    let called = called.filter_map(|(key, _)| known.iter().find(|known| *known == key));
    let distance = |known: &&&str| strsim::osa_distance(known, &lower);
    let near = known.iter().min_by_key(distance).filter(|known| distance(known) <= known.len().div_ceil(3));
    called.chain(near).next().copied()
}

/// `rule[3].output[1].group` as `rule.output.group`.
#[cfg(test)]
fn without_positions(key: &str) -> String {
    let mut parts = key.split('[');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |key, part| key + part.split_once(']').map_or("", |(_, rest)| rest))
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
