//! The control tool.

use std::process::ExitCode;

fn main() -> ExitCode {
    let in_json = std::env::args_os().any(|word| word == "--json");
    mcr_userspace::ctl::run(mcr_userspace::usage::parse(in_json))
}
