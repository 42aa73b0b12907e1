//! What is wrong with a file, and where.

use std::{collections::HashSet, fmt};

use crate::rules::lint::{Warning, told};

/// Most problems that are kept and told: a person mends no more of them at once.
const MOST: usize = 1000;

/// One error of a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileProblem {
    /// The file, as it was named.
    pub file: String,
    /// From 1; 0 when the whole file is meant (it cannot be read).
    pub line: usize,
    /// Path of keys, counted from 0, such as `rule[3].output[1].group`; empty where there is none.
    pub key: String,
    /// What is wrong and what to do.
    pub message: String,
}

/// `FILE:LINE: key: message`, without what does not apply.
impl fmt::Display for FileProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file)?;
        if self.line > 0 {
            write!(f, "{}:", self.line)?;
        }
        if !self.key.is_empty() {
            write!(f, " {}:", self.key)?;
        }
        write!(f, " {}", self.message)
    }
}

/// Keys that problems were reported about.
pub(super) struct Told(HashSet<String>);

impl Told {
    /// Whether `key`, or what holds it, is among them.
    pub(super) fn covers(&self, key: &str) -> bool {
        let holders = key.match_indices(['.', '[']).map(|(end, _)| &key[..end]);
        holders.chain([key]).any(|key| self.0.contains(key))
    }
}

/// What has been found in a file so far.
pub(super) struct Report {
    file: String,
    /// Where each line but the first starts, in bytes.
    lines: Vec<usize>,
    problems: Vec<FileProblem>,
    /// Found, and not kept.
    more: usize,
    /// Each with the byte where it stands, and its full key.
    warnings: Vec<(usize, Warning)>,
    broken: bool,
}

impl Report {
    pub(super) fn new(file: &str, text: &str) -> Self {
        let lines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1).collect();
        Self { file: file.to_owned(), lines, problems: Vec::new(), more: 0, warnings: Vec::new(), broken: false }
    }

    fn place(&self, at: usize, key: String, message: String) -> FileProblem {
        let line = 1 + self.lines.partition_point(|start| *start <= at);
        FileProblem { file: self.file.clone(), line, key, message }
    }

    /// The text is not TOML at byte `at`.
    pub(super) fn syntax(&mut self, at: usize, message: &str) {
        self.broken = true;
        let problem = self.place(at, String::new(), message.to_owned());
        self.problems.push(problem);
    }

    /// The value at `key`, which starts at byte `at`, is wrong.
    pub(super) fn problem(&mut self, at: usize, key: impl Into<String>, message: impl Into<String>) {
        let problem = self.place(at, key.into(), message.into());
        self.problems.push(problem);
    }

    /// `key` is missing from what starts at byte `at`; where the syntax is broken, it may only be out of sight.
    pub(super) fn missing(&mut self, at: usize, key: impl Into<String>, message: impl Into<String>) {
        if !self.broken {
            self.problem(at, key, message);
        }
    }

    /// `warning`, whose key is a full one, is about what starts at byte `at`.
    pub(super) fn warning(&mut self, at: usize, warning: Warning) {
        self.warnings.push((at, warning));
    }

    /// Keeps no more problems than are told. Called between the parts of a file, so that what [`since`](Self::since) asks
    /// for is there.
    pub(super) fn bound(&mut self) {
        self.more += self.problems.len().saturating_sub(MOST);
        self.problems.truncate(MOST);
    }

    /// The value, or a problem.
    pub(super) fn take<T>(&mut self, at: usize, key: &str, result: Result<T, String>) -> Option<T> {
        result.map_err(|message| self.problem(at, key, message)).ok()
    }

    /// How many problems there are; with [`since`](Self::since), what a part of the file had.
    pub(super) fn count(&self) -> usize {
        self.problems.len()
    }

    /// What was reported after there were `count` problems.
    pub(super) fn since(&self, count: usize) -> Told {
        Told(self.problems[count..].iter().map(|problem| problem.key.clone()).collect())
    }

    pub(super) fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    pub(super) fn into_problems(mut self) -> Vec<FileProblem> {
        self.bound();
        self.problems.sort_by_key(|problem| problem.line);
        if self.more > 0 {
            let message = format!("and {} more errors; mend these first", self.more);
            self.problems.push(FileProblem { file: self.file, line: 0, key: String::new(), message });
        }
        self.problems
    }

    pub(super) fn into_warnings(mut self) -> Vec<String> {
        let mut warnings = std::mem::take(&mut self.warnings);
        warnings.sort_by_key(|(at, _)| *at);
        let placed = told(warnings).into_iter().map(|(at, warning)| self.place(at, warning.key, warning.message));
        placed.map(|warning| warning.to_string()).collect()
    }
}
