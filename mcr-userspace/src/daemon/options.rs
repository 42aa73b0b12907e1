//! The command line and the file as one: flags win.

use std::{net::SocketAddr, num::NonZeroU32, path::PathBuf, str::FromStr};

use clap::{Parser, ValueEnum};

use crate::{
    config::{self, Config, CpuReserve, Membership, Mode, Profile},
    rules::value,
};

/// Forwards multicast between interfaces through AF_XDP.
#[derive(Clone, Debug, Parser)]
#[command(name = "mcrd", version, about, max_term_width = 100)]
pub struct Args {
    /// Configuration file (TOML); without one the daemon starts empty and waits for rules
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Interface to receive on, beyond those that rules name
    #[arg(long, value_name = "IF", value_parser = value::interface)]
    pub iface_in: Vec<String>,
    /// Interface to send on, beyond those that rules name
    #[arg(long, value_name = "IF", value_parser = value::interface)]
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
    /// Serve Prometheus metrics here
    #[arg(long, value_name = "ADDR:PORT")]
    pub metrics_listen: Option<SocketAddr>,
    /// How log lines look
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// A number of workers as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workers(pub Option<NonZeroU32>);

impl FromStr for Workers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self(None)),
            _ => text.parse().map(|n| Self(Some(n))).map_err(|_| "neither `auto` nor a number from 1".to_owned()),
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
}

impl Options {
    /// Reads the file that `args` names and lets the flags win; logs its warnings.
    ///
    /// # Errors
    ///
    /// Every problem of the file, a line each.
    pub fn from_args(args: Args) -> Result<Self, String> {
        let mut config = match &args.config {
            None => Config::default(),
            Some(path) => {
                let loaded = config::load(path)
                    .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
                loaded.warnings.iter().for_each(|warning| log::warn!("{warning}"));
                loaded.config
            }
        };
        let mode_is_demanded = args.mode.is_some();
        if let Some(mode) = args.mode {
            config.datapath.mode = mode;
        }
        if let Some(profile) = args.profile {
            config.datapath.profile = profile;
        }
        if let Some(Workers(workers)) = args.workers {
            config.datapath.workers = workers;
        }
        if let Some(reserve) = args.cpu_reserve {
            config.datapath.cpu_reserve = reserve;
        }
        if let Some(path) = args.control_socket {
            config.daemon.control_socket = path;
        }
        if args.metrics_listen.is_some() {
            config.daemon.metrics_listen = args.metrics_listen;
        }
        Ok(Self { file: args.config, config, iface_in: args.iface_in, iface_out: args.iface_out, mode_is_demanded })
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
