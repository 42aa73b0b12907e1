//! Rules chosen by their names: `feed-a`, `'ch-*'`, `'court-[12]'`.

use std::collections::HashSet;

use glob::{MatchOptions, Pattern};

use super::value::shown;

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

/// Whether `text` has wildcards: `*`, `?` or `[`.
pub fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// Those of `names` that any of `patterns` matches, each once, in the order of `names`. No pattern matches all names.
///
/// A text that is a name as a whole chooses that rule alone. Any other text must have wildcards: `*` matches any text, `?` one
/// character, `[abc]` and `[a-c]` one of these, `[!abc]` one other.
///
/// # Errors
///
/// A pattern cannot be read, or matches no name. Nothing is chosen then, so that a change applies to all or to none.
pub fn matching<'a>(patterns: &[String], names: impl IntoIterator<Item = &'a str>) -> Result<Vec<&'a str>, GlobError> {
    let names: Vec<&str> = names.into_iter().collect();
    if patterns.is_empty() {
        return Ok(names);
    }
    let known: HashSet<&str> = names.iter().copied().collect();
    let mut chosen = HashSet::new();
    for text in patterns {
        if let Some(name) = known.get(text.as_str()) {
            chosen.insert(*name);
            continue;
        }
        let mut matched = Vec::new();
        if is_pattern(text) {
            let pattern = read(text)?;
            matched.extend(names.iter().copied().filter(|name| pattern.matches_with(name, MatchOptions::new())));
        }
        if matched.is_empty() {
            return Err(GlobError::NotFound(text.clone(), nearest(text, &names)));
        }
        chosen.extend(matched);
    }
    Ok(names.into_iter().filter(|name| chosen.contains(name)).collect())
}

/// `**` means a path to the crate; in a name it is `*`.
fn read(text: &str) -> Result<Pattern, GlobError> {
    let mut single = text.to_owned();
    while single.contains("**") {
        single = single.replace("**", "*");
    }
    Pattern::new(&single).map_err(|error| GlobError::Invalid(shown(text), error.msg))
}

/// The name that was probably meant by a text without wildcards.
fn nearest(text: &str, names: &[&str]) -> Option<String> {
    if is_pattern(text) {
        return None;
    }
    let near = names.iter().map(|name| (strsim::jaro_winkler(text, name), *name));
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

    const NAMES: [&str; 6] = ["ch-1", "ch-10", "ch-2", "eth0:239.1.0.0/16:any", "feed-a", "odd[1]"];

    fn chosen(patterns: &[&str]) -> Result<Vec<&'static str>, String> {
        let patterns: Vec<String> = patterns.iter().map(|text| (*text).to_owned()).collect();
        matching(&patterns, NAMES).map_err(|error| error.to_string())
    }

    #[test]
    fn patterns_choose_names_once_in_their_order() {
        assert_eq!(chosen(&[]), Ok(NAMES.to_vec()));
        assert_eq!(chosen(&["*"]), Ok(NAMES.to_vec()));
        assert_eq!(chosen(&["feed-a", "ch-*", "ch-1"]), Ok(vec!["ch-1", "ch-10", "ch-2", "feed-a"]));
        assert_eq!(chosen(&["ch-?"]), Ok(vec!["ch-1", "ch-2"]));
        assert_eq!(chosen(&["ch-[!1]"]), Ok(vec!["ch-2"]));
        assert_eq!(chosen(&["eth0:*any", "**"]), Ok(NAMES.to_vec()), "a slash and a full stop are no borders");
        assert_eq!(chosen(&["odd[1]"]), Ok(vec!["odd[1]"]), "a name as it is written chooses that rule");
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
