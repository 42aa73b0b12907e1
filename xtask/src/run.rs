//! `cargo xtask run`: the demonstration, or the daemon on real interfaces.

use std::env;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;

use anyhow::{Context, Result};

use crate::{build, root, step};

/// Arguments of `cargo xtask run`.
#[derive(clap::Args)]
pub struct Args {
    /// One stream of 150,000 packets a second for a minute, in place of fifty for ten seconds
    #[arg(long, conflicts_with = "mcrd")]
    pub soak: bool,
    /// Flags of mcrd: with --iface-in and --iface-out it runs on those interfaces
    #[arg(last = true, value_name = "MCRD FLAGS")]
    pub mcrd: Vec<OsString>,
}

/// Builds the programs, and becomes mcrd on the interfaces that are named, or else the demonstration.
///
/// # Errors
///
/// They do not build, or root is not to be had.
pub fn run(args: Args) -> Result<()> {
    let programs = build::release()?;
    let mut command = if args.mcrd.is_empty() {
        let mut demo = root::command("to make network namespaces and run mcrd in them", env::current_exe()?)?;
        demo.arg("demo").args(args.soak.then_some("--soak")).env(netns_tests::programs::DIRECTORY, programs);
        demo
    } else {
        let mut mcrd = root::command("to load the XDP program and open its sockets", programs.join("mcrd"))?;
        mcrd.args(args.mcrd);
        mcrd
    };
    let error = command.exec();
    Err(error).with_context(|| step::line(&command))
}
