//! Rules chosen by their names: `feed-a`, `'ch-*'`, `'court-[12]'`.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use glob::{MatchOptions, Pattern};

use super::{order::natural, value::shown};

/// Why names cannot be chosen by patterns.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GlobError {
    /// A pattern that cannot be read, and why.
    #[error("`{0}` is not a pattern: {1}; write *, ? or [abc]")]
    Invalid(String, &'static str),
    /// A pattern or a name that no rule has; the name that comes nearest.
    #[error("no rule {}{}", if is_pattern(.0) { "matches " } else { "" }, asked(.0, .1))]
    NotFound(String, Option<String>),
}

/// Names in order, of which one is found without a look at the others: a batch may have a line for each.
pub trait Names<'a> {
    /// All names.
    fn all(&self) -> impl Iterator<Item = &'a str>;

    /// The name that is exactly `text`.
    fn whole(&self, text: &str) -> Option<&'a str>;
}

impl<'a, V> Names<'a> for &'a BTreeMap<String, V> {
    fn all(&self) -> impl Iterator<Item = &'a str> {
        self.keys().map(String::as_str)
    }

    fn whole(&self, text: &str) -> Option<&'a str> {
        self.get_key_value(text).map(|(name, _)| name.as_str())
    }
}

impl<'a> Names<'a> for &'a BTreeSet<String> {
    fn all(&self) -> impl Iterator<Item = &'a str> {
        self.iter().map(String::as_str)
    }

    fn whole(&self, text: &str) -> Option<&'a str> {
        self.get(text).map(String::as_str)
    }
}

/// Whether `text` has wildcards: `*`, `?` or `[`.
pub fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// The names that any of `patterns` matches, each once, in the order of [`natural`]. No pattern matches all names.
///
/// A text that is a name as a whole chooses that rule alone. Any other text must have wildcards: `*` matches any text, `?` one
/// character, `[abc]` and `[a-c]` one of these, `[!abc]` one other.
///
/// # Errors
///
/// A pattern cannot be read, or matches no name. Nothing is chosen then, so that a change applies to all or to none.
pub fn matching<'a>(patterns: &[String], names: impl Names<'a>) -> Result<Vec<&'a str>, GlobError> {
    let mut chosen = HashSet::new();
    if patterns.is_empty() {
        chosen.extend(names.all());
    }
    for text in patterns {
        if let Some(name) = names.whole(text) {
            chosen.insert(name);
            continue;
        }
        let mut matched = Vec::new();
        if is_pattern(text) {
            let matches = matcher(text)?;
            matched.extend(names.all().filter(|name| matches(name)));
        }
        if matched.is_empty() {
            return Err(GlobError::NotFound(text.clone(), nearest(text, names.all())));
        }
        chosen.extend(matched);
    }
    let mut chosen: Vec<&str> = chosen.into_iter().collect();
    chosen.sort_by(|a, b| natural(a, b));
    Ok(chosen)
}

/// Tells whether a pattern with wildcards matches a name.
///
/// # Errors
///
/// The pattern cannot be read.
pub fn matcher(text: &str) -> Result<impl Fn(&str) -> bool, GlobError> {
    // `**` means a path to the crate; in a name it is `*`.
    let mut single = text.to_owned();
    while single.contains("**") {
        single = single.replace("**", "*");
    }
    let pattern = Pattern::new(&single).map_err(|error| GlobError::Invalid(shown(text), error.msg))?;
    Ok(move |name: &str| pattern.matches_with(name, MatchOptions::new()))
}

/// The name that was probably meant by a text without wildcards.
fn nearest<'a>(text: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    if is_pattern(text) {
        return None;
    }
    let near = names.map(|name| (strsim::jaro_winkler(text, name), name));
    let (likeness, name) = near.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (likeness >= 0.85).then(|| name.to_owned())
}

fn asked(text: &str, near: &Option<String>) -> String {
    let text = if text.is_empty() { "''".to_owned() } else { shown(text) };
    match near {
        Some(near) => format!("{text}; did you mean {}?", shown(near)),
        None => format!("{text}; `mcrctl rule list` shows all"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 6] = ["ch-1", "ch-2", "ch-10", "eth0:239.1.0.0/16:any", "feed-a", "odd[1]"];

    fn chosen(patterns: &[&str]) -> Result<Vec<String>, String> {
        let patterns: Vec<String> = patterns.iter().map(|text| (*text).to_owned()).collect();
        let names: BTreeSet<String> = NAMES.map(str::to_owned).into();
        let chosen = matching(&patterns, &names).map_err(|error| error.to_string())?;
        Ok(chosen.into_iter().map(str::to_owned).collect())
    }

    fn named(names: &[&str]) -> Result<Vec<String>, String> {
        Ok(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn patterns_choose_names_once_in_their_order() {
        assert_eq!(chosen(&[]), named(&NAMES));
        assert_eq!(chosen(&["*"]), named(&NAMES));
        assert_eq!(chosen(&["feed-a", "ch-*", "ch-1"]), named(&["ch-1", "ch-2", "ch-10", "feed-a"]));
        assert_eq!(chosen(&["ch-?"]), named(&["ch-1", "ch-2"]));
        assert_eq!(chosen(&["ch-[!1]"]), named(&["ch-2"]));
        assert_eq!(chosen(&["eth0:*any", "**"]), named(&NAMES), "a slash and a full stop are no borders");
        assert_eq!(chosen(&["odd[1]"]), named(&["odd[1]"]), "a name as it is written chooses that rule");
    }

    #[test]
    fn one_that_matches_nothing_is_an_error_for_all() {
        for (patterns, said) in [
            (&["ch-*", "feed-z"][..], "no rule feed-z; did you mean feed-a?"),
            (&["nothing"], "no rule nothing; `mcrctl rule list` shows all"),
            (&["x-*"], "no rule matches x-*; `mcrctl rule list` shows all"),
            (&["ch-[1"], "`ch-[1` is not a pattern: invalid range pattern; write *, ? or [abc]"),
            (&[""], "no rule ''; `mcrctl rule list` shows all"),
        ] {
            assert_eq!(chosen(patterns), Err(said.to_owned()));
        }
    }
}
