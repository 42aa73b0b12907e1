//! What is wrong with a file, and where.

use std::fmt;

/// One error of a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileProblem {
    /// The file, as it was named.
    pub file: String,
    /// From 1; 0 when the whole file is meant (it cannot be read).
    pub line: usize,
    /// Path of keys such as `rule[3].output[1].group`; empty where there is none.
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
