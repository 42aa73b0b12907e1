//! Why a request is refused, in a word for programs and a sentence for people.

use serde::{Deserialize, Serialize};

use super::Response;
use crate::rules::{
    check::{Problem, ProblemKind},
    glob::GlobError,
    persist::PersistError,
};

/// Kinds of refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// Something of that name, or with an equal claim to the same packets, is there already.
    Exists,
    /// The request, or the file, is wrong in itself, whatever the daemon holds.
    Invalid,
    /// No rule has that name, or nothing of the kind is there.
    NotFound,
    /// An interface or an address is missing.
    Missing,
    /// No daemon, no frames, a limit is reached: it may pass.
    Unavailable,
    /// Permissions.
    Denied,
}

impl ErrorCode {
    /// The exit code of `mcrctl`: 2 for what is wrong in itself, 1 for all else.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Invalid => 2,
            _ => 1,
        }
    }
}

impl From<&PersistError> for ErrorCode {
    fn from(error: &PersistError) -> Self {
        match error {
            PersistError::Invalid(_) => Self::Invalid,
            PersistError::Unavailable(_) => Self::Unavailable,
        }
    }
}

impl From<&GlobError> for ErrorCode {
    fn from(error: &GlobError) -> Self {
        match error {
            GlobError::Invalid(..) => Self::Invalid,
            GlobError::NotFound(..) => Self::NotFound,
        }
    }
}

impl From<ProblemKind> for ErrorCode {
    fn from(kind: ProblemKind) -> Self {
        match kind {
            ProblemKind::Invalid => Self::Invalid,
            ProblemKind::Exists => Self::Exists,
            ProblemKind::NotFound => Self::NotFound,
            ProblemKind::Limit => Self::Unavailable,
        }
    }
}

impl Response {
    /// A request refused for what the daemon holds or the machine has; nothing changed.
    pub fn refused(code: ErrorCode, message: impl ToString) -> Self {
        Self::Error { code, message: message.to_string(), usage: code == ErrorCode::Invalid }
    }

    /// A request that is wrong in itself.
    pub fn usage(message: impl ToString) -> Self {
        Self::refused(ErrorCode::Invalid, message)
    }

    /// A rule that [`check_rule`](crate::rules::check::check_rule) found wrong.
    pub fn problems(problems: &[Problem]) -> Self {
        Self::usage(problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n"))
    }
}
