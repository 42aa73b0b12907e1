//! Every developer action: `cargo xtask setup`, `build`, `run`, `test`, `check`, `circles`, `picture` and `bench`.

mod bench;
mod bpf;
mod build;
mod check;
mod circles;
mod demo;
mod picture;
mod programs;
mod root;
mod run;
mod setup;
mod slowest;
mod step;
mod test;
mod workspace;

use std::process::ExitCode;

use clap::Parser;

/// Every developer action of mcr.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
enum Action {
    /// Install what the build and the tests need and this machine lacks
    Setup(setup::Args),
    /// Build every program, in release unless told otherwise
    Build(build::Args),
    /// Run the demonstration, or mcrd on real interfaces: run -- --iface-in IF --iface-out IF
    Run(run::Args),
    /// What `run` becomes, as root
    #[command(hide = true)]
    Demo {
        /// As of `run`
        #[arg(long)]
        soak: bool,
    },
    /// Draw the screen of `mcrctl top` anew: docs/charts/top.svg
    Picture,
    /// What `picture` becomes, as root
    #[command(hide = true)]
    PictureAsRoot,
    /// Run every test; those that need a rate run last, alone
    Test(test::Args),
    /// Check format, lints, documentation, licences and advisories
    Check,
    /// List the files of each crate that import each other in circles
    Circles,
    /// Measure mcr and what else forwards multicast, side by side: docs/performance.md
    Bench(bench::Args),
}

fn main() -> ExitCode {
    match act(Action::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn act(action: Action) -> anyhow::Result<()> {
    // The demonstration is started by `run`, which has looked.
    if !matches!(action, Action::Setup(_) | Action::Demo { .. } | Action::PictureAsRoot) {
        setup::ensure()?;
    }
    match action {
        Action::Setup(args) => setup::run(&args),
        Action::Build(args) => build::run(&args),
        Action::Run(args) => run::run(args),
        Action::Demo { soak } => demo::demo(soak),
        Action::Picture => picture::run(),
        Action::PictureAsRoot => picture::take(),
        Action::Test(args) => test::run(&args),
        Action::Check => check::run(),
        Action::Circles => circles::run(),
        Action::Bench(args) => bench::run(args),
    }
}
