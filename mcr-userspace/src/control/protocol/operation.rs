//! What a batch is made of, and where a rule comes from.

use serde::{Deserialize, Serialize};

use super::Request;

/// One line of a batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    /// The line's number, from 1, by which errors name it.
    pub line: u64,
    /// One that changes rules: `rule_add`, `rule_set`, `rule_del` or `rule_switch`.
    pub request: Request,
}

/// Where a rule comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The daemon's file has a rule of this name.
    File,
    /// It was added at run time, and lives until the next reload.
    #[default]
    Runtime,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // For `pad`: columns.
        f.pad(match self {
            Self::File => "file",
            Self::Runtime => "runtime",
        })
    }
}
