//! What is wrong with a file, and where.

use std::fmt;

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

/// What has been found in a file so far.
pub(super) struct Report {
    file: String,
    /// Where each line but the first starts, in bytes.
    lines: Vec<usize>,
    problems: Vec<FileProblem>,
    warnings: Vec<FileProblem>,
    broken: bool,
}

impl Report {
    pub(super) fn new(file: &str, text: &str) -> Self {
        let lines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1).collect();
        Self { file: file.to_owned(), lines, problems: Vec::new(), warnings: Vec::new(), broken: false }
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

    pub(super) fn warning(&mut self, at: usize, key: impl Into<String>, message: impl Into<String>) {
        let warning = self.place(at, key.into(), message.into());
        self.warnings.push(warning);
    }

    /// A warning about the file as a whole.
    pub(super) fn remark(&mut self, message: String) {
        self.warnings.push(FileProblem { file: self.file.clone(), line: 0, key: String::new(), message });
    }

    /// The value, or a problem.
    pub(super) fn take<T>(&mut self, at: usize, key: &str, result: Result<T, String>) -> Option<T> {
        result.map_err(|message| self.problem(at, key, message)).ok()
    }

    /// How many problems there are; with [`told_since`](Self::told_since), what a part of the file had.
    pub(super) fn count(&self) -> usize {
        self.problems.len()
    }

    /// Whether a problem about `key`, or about what holds it, was reported after there were `count`.
    pub(super) fn told_since(&self, count: usize, key: &str) -> bool {
        self.problems[count..].iter().any(|problem| {
            key.strip_prefix(problem.key.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        })
    }

    pub(super) fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    pub(super) fn into_problems(mut self) -> Vec<FileProblem> {
        self.problems.sort_by_key(|problem| problem.line);
        self.problems
    }

    pub(super) fn into_warnings(mut self) -> Vec<String> {
        self.warnings.sort_by_key(|warning| warning.line);
        self.warnings.iter().map(FileProblem::to_string).collect()
    }
}
