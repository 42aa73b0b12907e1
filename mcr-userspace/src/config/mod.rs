//! The configuration file: read, checked as a whole, and typed.

mod include;
mod listen;
mod problem;
mod read;
mod reserve;
mod rule;
mod sections;
mod settings;
mod source;
mod table;

pub use listen::Listen;
pub use problem::FileProblem;
pub use read::{load, parse, parse_edited, text};
pub use reserve::CpuReserve;
pub use sections::MAX_WORKERS;
pub use settings::Difference;

use std::{
    num::NonZeroU32,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::ValueEnum;
use mcr_common::limits::DEFAULT_RULES;
use serde::{Deserialize, Serialize};

use crate::rules::rule::Rule;

/// Where the daemon listens unless it is told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/mcr/mcrd.sock";

/// A file that is right, with those that it includes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// What it says.
    pub config: Config,
    /// What its author should know, each one line that begins `FILE:LINE: `.
    pub warnings: Vec<String>,
    /// The file, and those that it includes.
    pub files: Vec<PathBuf>,
    /// For each of `config.rules` the position in `files` of the one that has it; a file's rules stand in its order.
    pub homes: Vec<usize>,
}

/// All that a file can say; `default()` is an empty file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// `[daemon]`
    pub daemon: Daemon,
    /// `[datapath]`
    pub datapath: Datapath,
    /// `[limits]`
    pub limits: Limits,
    /// `[[interface]]`, in the file's order.
    pub interfaces: Vec<InterfaceConfig>,
    /// `[[rule]]`, in the file's order; together they make a [`RuleSet`](crate::rules::set::RuleSet).
    pub rules: Vec<Rule>,
}

/// `[daemon]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Daemon {
    /// The control socket.
    pub control_socket: PathBuf,
    /// Where metrics are served; `None`: nowhere.
    pub metrics_listen: Option<Listen>,
}

impl Default for Daemon {
    fn default() -> Self {
        Self { control_socket: Path::new(DEFAULT_SOCKET).to_owned(), metrics_listen: None }
    }
}

/// `[datapath]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Datapath {
    /// For each interface that does not say otherwise.
    pub mode: Mode,
    /// How workers wait.
    pub profile: Profile,
    /// Number of workers; `None` is `auto`.
    pub workers: Option<NonZeroU32>,
    /// What they leave of their CPUs to others that want them.
    pub cpu_reserve: CpuReserve,
}

/// `[limits]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most rules at once.
    pub rules: u32,
    /// UMEM frames of each worker; `None` is `auto`.
    pub frames: Option<u32>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { rules: DEFAULT_RULES, frames: None }
    }
}

/// `[[interface]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceConfig {
    /// Its name; it need not exist.
    pub name: String,
    /// `None`: that of `[datapath]`.
    pub mode: Option<Mode>,
    /// How its groups are asked for.
    pub membership: Membership,
    /// How often its memberships are reported without a query; `None`: never.
    pub rejoin: Option<Duration>,
}

/// What is asked of the kernel for an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The fastest that is granted.
    #[default]
    Auto,
    /// Driver XDP and zero-copy sockets, or refuse.
    Zerocopy,
    /// Driver XDP where there is one, copying sockets.
    Copy,
    /// Generic XDP, copying sockets.
    Skb,
}

/// What workers spend to be quick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// Sleep when there is nothing to do.
    #[default]
    Efficient,
    /// Spin: a whole core each, and the least latency.
    LowLatency,
}

/// How the groups of an interface's rules are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Membership {
    /// Join each group (IGMP).
    #[default]
    Join,
    /// Take all multicast from the segment, ask for none.
    Allmulticast,
    /// Neither: someone else sees to it.
    None,
}

#[cfg(test)]
mod tests;
