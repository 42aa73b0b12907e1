//! The arguments of `mcrctl`.
#![allow(rustdoc::broken_intra_doc_links, reason = "help texts are syntax: brackets there are no links")]

use std::path::PathBuf;

use clap::{Arg, Args, Parser, Subcommand};

use super::{capture::CaptureArgs, completions::Shell, outspec::parse_output, stats::StatsArgs};
use crate::{
    control::protocol::LogLevel,
    rules::{
        check::Problem,
        spec::{MatchSpec, RuleSpec, Scalar},
        value::{self, shown},
    },
};

/// Controls mcrd, the multicast forwarder.
#[derive(Debug, Parser)]
#[command(name = "mcrctl", version)]
pub struct Cli {
    /// The daemon's control socket [default: $MCR_SOCKET, else /run/mcr/mcrd.sock]
    #[arg(long, global = true, value_name = "PATH")]
    pub(super) socket: Option<PathBuf>,
    /// Answer in JSON
    #[arg(long, global = true)]
    pub(super) json: bool,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Add, delete and show rules
    #[command(subcommand)]
    Rule(RuleCommand),
    /// Apply many rule commands as one: all of them, or none
    ///
    /// A line is a `rule` command without the word mcrctl, such as `rule add --in eth0 ...`, in words as a shell splits them. Empty
    /// lines and comments (#) are left out. Every error is printed with its line.
    Batch {
        /// The file; - is standard input
        file: PathBuf,
        /// Only show what would change
        #[arg(long)]
        dry_run: bool,
    },
    /// Print what runs as a complete configuration file
    Export,
    /// Show one rule: the same as `rule show`
    #[command(hide = true)]
    Show {
        /// The rule's name
        name: String,
    },
    /// Delete rules: the same as `rule del`
    #[command(hide = true, visible_aliases = ["del", "delete"])]
    Rm(Chosen),
    /// List rules: the same as `rule list`
    #[command(hide = true, visible_alias = "list")]
    Ls {
        /// Names or globs
        #[arg(value_name = "NAME|GLOB")]
        names: Vec<String>,
    },
    /// Read the daemon's file again and apply the difference
    Reload {
        /// Only show the difference
        #[arg(long)]
        dry_run: bool,
        /// Keep rules that were added at run time and that the file lacks
        #[arg(long)]
        keep: bool,
        /// Take the change back after this time, such as 60s, unless `mcrctl confirm` follows
        #[arg(long, value_name = "DUR", conflicts_with = "dry_run", allow_hyphen_values = true)]
        confirm: Option<String>,
    },
    /// Keep what `reload --confirm` has applied
    Confirm,
    /// Check a configuration file, with no daemon
    Check {
        /// The file
        file: PathBuf,
    },
    /// Show counters, or with --watch rates: pps, and Mbit/s of Ethernet frames without FCS
    Stats(StatsArgs),
    /// Show every rule with its rates, full screen: sort, filter, look into one
    Top,
    /// Show the daemon, its interfaces and its workers
    Status {
        /// Print one line as monitoring plugins do: exit 2 where mcrd does not answer or a rule is degraded, stalled or waiting, 1 for
        /// any warning, else 0
        #[arg(long)]
        check: bool,
    },
    /// Show why a rule delivers, or not; or which rule matches a packet, and what would leave where
    ///
    /// Exit code 0 where all is well or a rule matches, 1 otherwise.
    #[command(
        override_usage = "mcrctl explain <NAME> [--seconds <N>]\n       mcrctl explain --in <IF> --source <S> --group <G> --port <P> [--vlan <V>] [--ttl <N>] [--size <N>]"
    )]
    Explain(super::explain::ExplainArgs),
    /// Show the multicast that arrives and no rule matches, and what the nearest rule lacks
    Unmatched {
        /// Interfaces [default: all on which mcrd receives]
        #[arg(value_name = "IF")]
        interfaces: Vec<String>,
        /// For so many seconds
        #[arg(long, value_name = "N", default_value_t = crate::control::protocol::default_seconds())]
        seconds: u32,
    },
    /// Capture packets of rules: as they came in, as each output sent them, and what was dropped
    ///
    /// Shows a line for each packet, or writes pcapng: `mcrctl capture feed-a -w - | tshark -r -`.
    Capture(CaptureArgs),
    /// Show or change what mcrd logs, until it restarts
    LogLevel {
        /// The least important lines to log [default: only show the level]
        #[arg(value_enum)]
        level: Option<LogLevel>,
    },
    /// Print a script that completes mcrctl's words: `mcrctl completions bash > /etc/bash_completion.d/mcrctl`
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Show what has happened: states, links, reloads, who changed what
    Events {
        /// Go on showing what happens; when mcrd stops, say so on stderr, wait for it, and go on with what happens then
        #[arg(long, short)]
        follow: bool,
        /// Only the last 10m, 2h, 1d [default: all that mcrd keeps]
        #[arg(long, value_name = "DUR", value_parser = duration, allow_hyphen_values = true)]
        since: Option<std::time::Duration>,
    },
    /// Examine interfaces and this host, with or without a daemon: what keeps mcr from working, and the command that fixes it
    ///
    /// Exit code 0 where there is no problem, 1 where there is one. Commands are for a root shell.
    Doctor {
        /// Interfaces [default: the daemon's, or all that are up]
        #[arg(value_name = "IF")]
        interfaces: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum RuleCommand {
    /// Add one rule, live, and print its name
    #[command(override_usage = "mcrctl rule add [OPTIONS] --in <IF> --group <G[/LEN]> --out <SPEC>...")]
    Add(AddArgs),
    /// Change a rule: each value is unchanged unless given; its counters go on, and no packet is lost
    ///
    /// --out replaces all outputs. A value is taken away with --port any, --source any, --vlan none, --stall-after none or
    /// --description ''. The rule keeps its name, even where that is the one of its old interface and group.
    #[command(override_usage = "mcrctl rule set <NAME> [OPTIONS]", mut_args = without_default)]
    Set {
        /// The rule's name
        #[arg(value_name = "NAME")]
        rule: String,
        #[command(flatten)]
        args: RuleArgs,
        /// Change the rule in the daemon's file too: what is named, or the whole rule where the file lacks it
        #[arg(long)]
        persist: bool,
    },
    /// Delete rules, all or none
    #[command(visible_aliases = ["rm", "delete"], alias = "remove")]
    Del(Chosen),
    /// Switch rules on, all or none
    Enable(Chosen),
    /// Switch rules off, all or none: they keep their names and their matches
    Disable(Chosen),
    /// List rules
    #[command(visible_alias = "ls")]
    List {
        /// Names or globs such as 'ch-*' [default: all]
        #[arg(value_name = "NAME|GLOB")]
        names: Vec<String>,
    },
    /// Show one rule
    Show {
        /// The rule's name
        name: String,
    },
}

fn duration(text: &str) -> Result<std::time::Duration, String> {
    humantime::parse_duration(text)
        .map_err(|_| value::negative(text).unwrap_or_else(|| "write a duration such as 10m, 2h or 1d".to_owned()))
}

/// An argument of `rule add`, for `rule set`: what is not given has no default there.
fn without_default(arg: Arg) -> Arg {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    match help.split_once(" [default: ") {
        Some((help, _)) => arg.help(help.to_owned()),
        None => arg,
    }
}

/// Rules, and whether the file is changed with them.
#[derive(Debug, Args)]
pub(super) struct Chosen {
    /// Names or globs such as 'ch-*'
    #[arg(required = true, value_name = "NAME|GLOB")]
    pub(super) names: Vec<String>,
    /// Change the daemon's file too
    #[arg(long)]
    pub(super) persist: bool,
}

// What is missing is told by the check of the rule, with all else that is wrong, and not by clap before it.
#[derive(Debug, Args)]
pub(super) struct AddArgs {
    #[command(flatten)]
    pub(super) rule: RuleArgs,
    /// Take the place of the rule of that name, with no packet lost; each key that is lost is warned of
    #[arg(long)]
    pub(super) replace: bool,
    /// Write the rule into the daemon's file too
    #[arg(long)]
    pub(super) persist: bool,
}

/// A rule as typed.
#[derive(Debug, Args)]
pub(super) struct RuleArgs {
    /// Name of the rule [default: IF:GROUP:PORT[:SOURCE]]
    #[arg(long)]
    name: Option<String>,
    /// Ingress interface
    #[arg(long = "in", value_name = "IF", default_value = "", hide_default_value = true)]
    interface: String,
    /// Multicast group or group prefix
    #[arg(long, value_name = "G[/LEN]", default_value = "", hide_default_value = true)]
    group: String,
    /// UDP port or range of ports [default: any]
    #[arg(long, value_name = "P[-Q]", allow_negative_numbers = true)]
    port: Option<String>,
    /// Source or source prefix [default: any]
    #[arg(long, value_name = "S[/LEN]")]
    source: Option<String>,
    /// VLAN of the packets [default: untagged]
    #[arg(long, value_name = "VID", allow_negative_numbers = true)]
    vlan: Option<String>,
    /// Where packets go; once for each output:
    /// IF[,name=N][,group=G][,port=P][,source=interface|keep|A.B.C.D][,ttl=decrement|keep|N][,dscp=N|EF|AF41|..][,vlan=none|keep|VID]
    #[arg(long, value_name = "SPEC", verbatim_doc_comment)]
    out: Vec<String>,
    /// Time without a packet after which the rule is `stalled`, such as 5s
    #[arg(long, value_name = "DUR", allow_hyphen_values = true)]
    stall_after: Option<String>,
    /// What the rule is for, in one line
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Switch the rule off; `rule enable` switches it on
    #[arg(long)]
    disabled: bool,
    /// Let the rule wait for interfaces, addresses or frames that are not there yet
    #[arg(long)]
    pub(super) wait: bool,
}

impl RuleArgs {
    /// The rule as typed, and what in `--out` could not be read.
    pub(super) fn spec(&self) -> (RuleSpec, Vec<Problem>) {
        let mut problems = Vec::new();
        let mut output = Vec::new();
        for (i, text) in self.out.iter().enumerate() {
            let (spec, wrong) = parse_output(text);
            output.push(spec);
            problems.extend(wrong.into_iter().map(|message| Problem::invalid(format!("output[{i}]"), message)));
        }
        let matcher = MatchSpec {
            interface: self.interface.clone(),
            group: self.group.clone(),
            port: self.port.clone().map(Scalar::Text),
            source: self.source.clone(),
            vlan: self.vlan.clone().map(Scalar::Text),
        };
        let spec = RuleSpec {
            name: self.name.clone(),
            description: self.description.clone(),
            enabled: self.disabled.then_some(false),
            stall_after: self.stall_after.clone(),
            matcher,
            output,
        };
        (spec, problems)
    }

    /// The flag by which the value at a key of the file was typed.
    pub(super) fn flag(&self, key: &str) -> String {
        let output = |key: &str| {
            let (index, field) = key.strip_prefix("output[")?.split_once(']')?;
            let spec = shown(self.out.get(index.parse::<usize>().ok()?)?);
            Some(match field.strip_prefix('.') {
                Some("interface") | None => format!("--out {spec}"),
                Some(field) => format!("--out {spec}: {field}"),
            })
        };
        match key {
            "match.interface" => "--in".to_owned(),
            "output" => "--out".to_owned(),
            "match" => "rule".to_owned(),
            "stall_after" => "--stall-after".to_owned(),
            key => match key.strip_prefix("match.") {
                Some(field) => format!("--{field}"),
                None => output(key).unwrap_or_else(|| format!("--{key}")),
            },
        }
    }
}
