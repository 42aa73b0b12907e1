//! What is wrong with a file, and where.

use std::{collections::HashSet, fmt, mem};

use crate::rules::lint::{Warning, told};

/// Most problems that are kept and told: a person corrects no more of them at once.
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
    /// Whether the file could not be read, so that nothing is known of what it says.
    pub is_unread: bool,
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

/// What has been found so far in the files that are read as one.
#[derive(Default)]
pub(super) struct Report {
    parts: Vec<Part>,
    /// The file that is read: what is reported is about it.
    current: usize,
    /// Each with its file's position in `parts`.
    problems: Vec<(usize, FileProblem)>,
    /// Found, and not kept.
    more: usize,
    /// Each with its file, the byte where it stands, and its full key.
    warnings: Vec<((usize, usize), Warning)>,
    /// The keys that were asked for, without positions in arrays.
    #[cfg(test)]
    pub(super) known: std::collections::BTreeSet<String>,
}

/// One file.
struct Part {
    file: String,
    /// Where each line but the first starts, in bytes.
    lines: Vec<usize>,
    is_broken: bool,
}

impl Part {
    fn line(&self, at: usize) -> usize {
        1 + self.lines.partition_point(|start| *start <= at)
    }
}

impl Report {
    /// Goes on to another file; its position among the files.
    pub(super) fn enter(&mut self, file: &str, text: &str) -> usize {
        let lines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1).collect();
        self.parts.push(Part { file: file.to_owned(), lines, is_broken: false });
        self.current = self.parts.len() - 1;
        self.current
    }

    /// Goes back to the file at this position.
    pub(super) fn turn_to(&mut self, part: usize) {
        self.current = part;
    }

    /// `FILE:LINE` of a byte of a file.
    pub(super) fn place(&self, part: usize, at: usize) -> String {
        let part = &self.parts[part];
        format!("{}:{}", part.file, part.line(at))
    }

    fn push(&mut self, line: usize, key: String, message: String, is_unread: bool) {
        let file = self.parts[self.current].file.clone();
        self.problems.push((self.current, FileProblem { file, line, key, message, is_unread }));
    }

    /// The file could not be read, or is no text at this line (0: none).
    pub(super) fn unread(&mut self, line: usize, message: String) {
        self.push(line, String::new(), message, line == 0);
    }

    /// The text is not TOML at byte `at`.
    pub(super) fn syntax(&mut self, at: usize, message: &str) {
        self.parts[self.current].is_broken = true;
        self.problem(at, String::new(), message);
    }

    /// The value at `key`, which starts at byte `at`, is wrong.
    pub(super) fn problem(&mut self, at: usize, key: impl Into<String>, message: impl Into<String>) {
        let line = self.parts[self.current].line(at);
        self.push(line, key.into(), message.into(), false);
    }

    /// `key` is missing from what starts at byte `at`; where the syntax is broken, it may only be out of sight.
    pub(super) fn missing(&mut self, at: usize, key: impl Into<String>, message: impl Into<String>) {
        if !self.parts[self.current].is_broken {
            self.problem(at, key, message);
        }
    }

    /// `warning`, whose key is a full one, is about what starts at byte `at`.
    pub(super) fn warning(&mut self, at: usize, warning: Warning) {
        self.warnings.push(((self.current, at), warning));
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
        Told(self.problems[count..].iter().map(|(_, problem)| problem.key.clone()).collect())
    }

    pub(super) fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    pub(super) fn into_problems(mut self) -> Vec<FileProblem> {
        self.bound();
        self.problems.sort_by_key(|(part, problem)| (*part, problem.line));
        let mut problems: Vec<FileProblem> = self.problems.into_iter().map(|(_, problem)| problem).collect();
        if self.more > 0 {
            let message = format!("and {} more errors; fix these first", self.more);
            let file = self.parts.swap_remove(0).file;
            problems.push(FileProblem { file, line: 0, key: String::new(), message, is_unread: false });
        }
        problems
    }

    pub(super) fn into_warnings(mut self) -> Vec<String> {
        let mut warnings = mem::take(&mut self.warnings);
        warnings.sort_by_key(|(place, _)| *place);
        let line = |((part, at), warning): ((usize, usize), Warning)| match warning.key.as_str() {
            "" => format!("{}: {}", self.place(part, at), warning.message),
            key => format!("{}: {key}: {}", self.place(part, at), warning.message),
        };
        told(warnings).into_iter().map(line).collect()
    }
}
