//! `completions`: what a shell needs to complete mcrctl's words.

use std::io::{self, Write};

use clap::{CommandFactory, ValueEnum};
use clap_complete::{generate, shells};

use super::cli::Cli;

/// Shells whose completions there are.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Writes the script for a shell.
pub(super) fn write(shell: Shell, out: &mut dyn Write) -> io::Result<()> {
    let mut command = Cli::command();
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    match shell {
        Shell::Bash => generate(shells::Bash, &mut command, name, &mut script),
        Shell::Zsh => generate(shells::Zsh, &mut command, name, &mut script),
        Shell::Fish => generate(shells::Fish, &mut command, name, &mut script),
    }
    out.write_all(&script)
}
