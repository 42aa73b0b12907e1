//! The control tool.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    mcr_userspace::ctl::run(mcr_userspace::ctl::Cli::parse())
}
