//! `cargo xtask run`: the daemon on real interfaces.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;

use anyhow::{Result, bail};

use crate::{build, root, step};

/// Arguments of `cargo xtask run`.
#[derive(clap::Args)]
pub struct Args {
    /// One stream of 150,000 packets a second for a minute, in place of fifty for ten seconds
    #[arg(long)]
    pub soak: bool,
    /// Flags of mcrd: with --iface-in and --iface-out it runs on those interfaces
    #[arg(last = true, value_name = "MCRD FLAGS")]
    pub mcrd: Vec<OsString>,
}

/// Builds mcrd and becomes it.
///
/// # Errors
///
/// It does not build, root is not to be had, or no interface is named.
pub fn run(args: Args) -> Result<()> {
    if args.mcrd.is_empty() {
        bail!("no interface is named: cargo xtask run -- --iface-in IF --iface-out IF");
    }
    let mcrd = build::release()?.join("mcrd");
    let mut command = root::command("to load the XDP program and open its sockets", mcrd)?;
    command.args(args.mcrd);
    let error = command.exec();
    Err(error).map_err(|error| anyhow::anyhow!("{}: {error}", step::line(&command)))
}
