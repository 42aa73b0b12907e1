//! The arguments of `mcrctl`.
#![allow(rustdoc::broken_intra_doc_links, reason = "help texts are syntax: brackets there are no links")]

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::outspec::parse_output;
use crate::rules::{
    check::Problem,
    spec::{MatchSpec, RuleSpec, Scalar},
    value::shown,
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
    /// Read the daemon's file again and apply the difference
    Reload {
        /// Only show the difference
        #[arg(long)]
        dry_run: bool,
    },
    /// Check a configuration file, with no daemon
    Check {
        /// The file
        file: PathBuf,
    },
    /// Show counters
    Stats {
        /// Only this rule
        name: Option<String>,
        /// Refresh each second, with rates
        #[arg(long)]
        watch: bool,
    },
    /// Show the daemon, its interfaces and its workers
    Status,
    /// Show what has happened: states, links, reloads, who changed what
    Events {
        /// Go on showing what happens
        #[arg(long, short)]
        follow: bool,
        /// Only the last 10m, 2h, 1d [default: all that mcrd keeps]
        #[arg(long, value_name = "DUR", value_parser = humantime::parse_duration)]
        since: Option<std::time::Duration>,
    },
    /// Examine interfaces and this host, with or without a daemon: what stands in the way, and the command that mends it
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
    /// Delete a rule
    Del {
        /// The rule's name
        name: String,
    },
    /// List all rules
    List,
    /// Show one rule
    Show {
        /// The rule's name
        name: String,
    },
}

// What is missing is told by the check of the rule, with all else that is wrong, and not by clap before it.
#[derive(Debug, Args)]
pub(super) struct AddArgs {
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
    /// IF[,name=N][,group=G][,port=P][,source=interface|keep|A.B.C.D][,ttl=decrement|keep|N][,dscp=N][,vlan=none|keep|VID]
    #[arg(long, value_name = "SPEC", verbatim_doc_comment)]
    out: Vec<String>,
    /// Time without a packet after which the rule is `stalled`, such as 5s
    #[arg(long, value_name = "DUR")]
    stall_after: Option<String>,
    /// What the rule is for, in one line
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Add the rule switched off; `rule enable` switches it on
    #[arg(long)]
    disabled: bool,
    /// Let the rule wait for interfaces, addresses or frames that are not there yet
    #[arg(long)]
    pub(super) wait: bool,
    /// Take the place of the rule of that name, with no packet lost
    #[arg(long)]
    pub(super) replace: bool,
    /// Write the rule into the daemon's file too
    #[arg(long)]
    pub(super) persist: bool,
}

impl AddArgs {
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
