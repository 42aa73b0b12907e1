//! `cargo xtask build`: every program, with the BPF object in it.

use std::path::PathBuf;

use anyhow::Result;

use crate::{step, workspace};

/// Arguments of `cargo xtask build`.
#[derive(clap::Args)]
pub struct Args {
    /// Build the profile that the tests use
    #[arg(long)]
    debug: bool,
}

/// Builds and says where the programs are.
///
/// # Errors
///
/// Something does not compile.
pub fn run(args: &Args) -> Result<()> {
    let programs = if args.debug { debug()? } else { release()? };
    println!("built: mcrd mcrctl mcrprobe in {}", programs.display());
    Ok(())
}

/// Builds the release profile; gives the directory of the programs.
///
/// # Errors
///
/// Something does not compile.
pub fn release() -> Result<PathBuf> {
    let mut cargo = workspace::cargo();
    step::quiet("build (release)", cargo.args(["build", "--locked", "--release", "--package=mcr-userspace"]))?;
    Ok(workspace::target()?.join("release"))
}

/// Builds programs and tests in the dev profile, in one go so that each crate is built once.
///
/// # Errors
///
/// Something does not compile.
pub fn debug() -> Result<PathBuf> {
    let mut cargo = workspace::cargo();
    step::quiet("build (programs and tests)", cargo.args(["build", "--locked", "--workspace", "--bins", "--tests"]))?;
    Ok(workspace::target()?.join("debug"))
}
