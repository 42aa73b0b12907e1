//! How much mcrd logs.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// The least important lines that are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum LogLevel {
    /// What failed.
    Error = 1,
    /// And what may become a failure.
    Warn,
    /// And what changed.
    Info,
    /// And why.
    Debug,
    /// All.
    Trace,
}

/// What is logged now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLevelView {
    /// The level; where `rust_log` is there, the most that it lets through.
    pub level: LogLevel,
    /// What `RUST_LOG` says, while that decides: until a level was set, by flag or by request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rust_log: Option<String>,
}

impl LogLevel {
    /// Every level, from the least lines to the most.
    pub const ALL: [Self; 5] = [Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];

    /// The word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
