//! One finding.

use std::fmt;

use serde::Serialize;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// In order.
    Ok,
    /// Works, and could be better, or is worth knowing.
    Note,
    /// Works, with something that will surprise.
    Warning,
    /// mcr will not run, or forward, so.
    Problem,
    /// Could not be learnt; why is said.
    NotChecked,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Problem => "problem",
            Self::NotChecked => "not checked",
        })
    }
}

/// What a check has found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// Which check; these names stay.
    pub id: &'static str,
    /// What is so, in one sentence.
    pub found: String,
    /// The command for a root shell that fixes it, where there is one.
    pub fix: Option<String>,
}

impl Finding {
    /// Without a remedy.
    pub fn new(severity: Severity, id: &'static str, found: impl Into<String>) -> Self {
        Self { severity, id, found: found.into(), fix: None }
    }

    /// In order.
    pub fn ok(id: &'static str, found: impl Into<String>) -> Self {
        Self::new(Severity::Ok, id, found)
    }

    /// See [`Severity::Note`].
    pub fn note(id: &'static str, found: impl Into<String>) -> Self {
        Self::new(Severity::Note, id, found)
    }

    /// See [`Severity::Warning`].
    pub fn warning(id: &'static str, found: impl Into<String>) -> Self {
        Self::new(Severity::Warning, id, found)
    }

    /// See [`Severity::Problem`].
    pub fn problem(id: &'static str, found: impl Into<String>) -> Self {
        Self::new(Severity::Problem, id, found)
    }

    /// See [`Severity::NotChecked`].
    pub fn not_checked(id: &'static str, why: impl Into<String>) -> Self {
        Self::new(Severity::NotChecked, id, why)
    }

    /// With a remedy.
    pub fn fix(mut self, command: impl Into<String>) -> Self {
        self.fix = Some(command.into());
        self
    }
}

/// A word as a shell takes it: an interface's name may have any character but blanks and `/`.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-@:/+,=".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// A name as it was typed, in a sentence of one line.
pub fn shown(name: &str) -> String {
    if name.is_empty() { "''".to_owned() } else { name.escape_default().to_string() }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn words_are_pasteable() {
        assert_eq!(quoted("eth0.100"), "eth0.100");
        assert_eq!(quoted("a;reboot"), "'a;reboot'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
