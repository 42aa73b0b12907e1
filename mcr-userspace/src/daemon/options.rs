//! The command line and the file as one: flags win.

use std::{num::NonZeroU32, path::PathBuf, str::FromStr};

use clap::{Parser, ValueEnum};

use crate::{
    config::{self, Config, CpuReserve, FileProblem, Listen, Membership, Mode, Profile},
    control::protocol::LogLevel,
    rules::value,
};

/// Forwards multicast between interfaces through AF_XDP.
#[derive(Clone, Debug, Parser)]
#[command(name = "mcrd", version, max_term_width = 100)]
pub struct Args {
    /// Configuration file (TOML); without one the daemon starts empty and waits for rules
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Interface to receive on, beyond those that rules name; may be repeated
    #[arg(long, value_name = "IF", value_parser = one_interface)]
    pub iface_in: Vec<String>,
    /// Interface to send on, beyond those that rules name; may be repeated
    #[arg(long, value_name = "IF", value_parser = one_interface)]
    pub iface_out: Vec<String>,
    /// What to ask of the kernel: anything but auto is a demand [default: auto]
    #[arg(long, value_enum)]
    pub mode: Option<Mode>,
    /// How workers wait: sleeping when idle, or spinning [default: efficient]
    #[arg(long, value_enum)]
    pub profile: Option<Profile>,
    /// Number of workers [default: auto]
    #[arg(long, value_name = "auto|N")]
    pub workers: Option<Workers>,
    /// What workers leave of their CPUs to others that want them, from 0% to 50% [default: 5%]
    #[arg(long, value_name = "PERCENT%")]
    pub cpu_reserve: Option<CpuReserve>,
    /// Where mcrctl finds the daemon [default: /run/mcr/mcrd.sock]
    #[arg(long, value_name = "PATH")]
    pub control_socket: Option<PathBuf>,
    /// Serve Prometheus metrics here; `:PORT` is all addresses
    #[arg(long, value_name = "ADDR:PORT")]
    pub metrics_listen: Option<Listen>,
    /// What to log [default: as RUST_LOG says, else info]; it wins over RUST_LOG, and `mcrctl log-level` changes it
    #[arg(long, value_name = "LEVEL", value_enum)]
    pub log_level: Option<LogLevel>,
    /// How log lines look
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// One interface; a list of them is told to be several flags.
fn one_interface(text: &str) -> Result<String, String> {
    let parts: Vec<&str> = text.split([',', ' ', ';']).filter(|part| !part.is_empty()).collect();
    if parts.len() > 1 && parts.iter().all(|part| value::interface(part).is_ok()) {
        return Err(format!("one interface for each flag; repeat it: {}", parts.join(", then ")));
    }
    value::rule_interface(text)
}

/// A number of workers as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workers(pub Option<NonZeroU32>);

impl FromStr for Workers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self(None)),
            _ => match text.parse::<NonZeroU32>() {
                Ok(n) if i64::from(n.get()) <= config::MAX_WORKERS => Ok(Self(Some(n))),
                _ => Err(format!("write auto or a number from 1 to {}", config::MAX_WORKERS)),
            },
        }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What the daemon was told.
#[derive(Clone, Debug)]
pub struct Options {
    /// The file's path, for reloads.
    pub file: Option<PathBuf>,
    /// The file, overridden by flags.
    pub config: Config,
    /// `--iface-in`.
    pub iface_in: Vec<String>,
    /// `--iface-out`.
    pub iface_out: Vec<String>,
    /// Whether `--mode` was given: then a mode that is not granted ends the start.
    pub mode_is_demanded: bool,
    /// The command line.
    flags: Args,
}

impl Args {
    /// The file's settings where no flag says otherwise.
    fn over(&self, mut config: Config) -> Config {
        if let Some(mode) = self.mode {
            config.datapath.mode = mode;
        }
        if let Some(profile) = self.profile {
            config.datapath.profile = profile;
        }
        if let Some(Workers(workers)) = self.workers {
            config.datapath.workers = workers;
        }
        if let Some(reserve) = self.cpu_reserve {
            config.datapath.cpu_reserve = reserve;
        }
        if let Some(path) = &self.control_socket {
            config.daemon.control_socket = path.clone();
        }
        if self.metrics_listen.is_some() {
            config.daemon.metrics_listen = self.metrics_listen;
        }
        config
    }
}

impl Options {
    /// Reads the file that `args` names and lets the flags win; logs its warnings.
    ///
    /// # Errors
    ///
    /// Every problem of the file, a line each. One that has a place in it begins with that, as `mcrctl check` tells it.
    pub fn from_args(args: Args) -> Result<Self, String> {
        let config = match &args.config {
            None => Config::default(),
            Some(path) => {
                let told = |problem: &FileProblem| match problem.line {
                    0 => format!("mcrd: {problem}"),
                    _ => problem.to_string(),
                };
                let loaded =
                    config::load(path).map_err(|problems| problems.iter().map(told).collect::<Vec<_>>().join("\n"))?;
                loaded.warnings.iter().for_each(|warning| log::warn!("{warning}"));
                loaded.config
            }
        };
        Ok(Self {
            file: args.config.clone(),
            config: args.over(config),
            iface_in: args.iface_in.clone(),
            iface_out: args.iface_out.clone(),
            mode_is_demanded: args.mode.is_some(),
            flags: args,
        })
    }

    /// What mcrd would run with, were it started now with this file.
    pub fn with_flags(&self, config: Config) -> Config {
        self.flags.over(config)
    }

    /// How the host becomes a member of the groups that rules match on an interface.
    pub fn membership(&self, interface: &str) -> Membership {
        let own = self.config.interfaces.iter().find(|own| own.name == interface);
        own.map(|own| own.membership).unwrap_or_default()
    }

    /// What is asked of the kernel for an interface.
    pub fn mode(&self, interface: &str) -> Mode {
        let own = self.config.interfaces.iter().find(|own| own.name == interface);
        own.and_then(|own| own.mode).unwrap_or(self.config.datapath.mode)
    }
}
