//! `cargo xtask test`: every test, through `cargo test`.

use std::ffi::OsString;
use std::process::Command;

use anyhow::{Context, Result, bail};
use netns_tests::{
    cache, prometheus, smcroute,
    vm::{kernel, qemu},
};

use crate::{build, root, slowest::Times, step, workspace};

/// Integration tests whose file name starts so measure a rate, and run when nothing else does.
const ALONE: &str = "rate_";
/// Integration tests whose file name starts so boot virtual machines, each one at a time.
const MACHINES: &str = "vm_";
/// So many of them run at once: each emulated machine keeps one CPU busy.
const LANES: usize = 2;

/// Arguments of `cargo xtask test`.
#[derive(clap::Args)]
pub struct Args {
    /// Run the tests in virtual machines, and only those
    #[arg(long, conflicts_with = "no_vm")]
    vm: bool,
    /// Leave out the tests in virtual machines
    #[arg(long)]
    no_vm: bool,
    /// Run only tests whose name contains one of these, and arguments of the test programs
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    filter: Vec<OsString>,
}

/// Builds everything once, then runs the parallel tests, the examples in the documentation, the tests in virtual machines, and one
/// by one those that measure a rate.
///
/// # Errors
///
/// A test fails, or does not build, or root is not to be had.
pub fn run(args: &Args) -> Result<()> {
    let variables = [
        ("MCR_BIN_DIR", build::debug()?.into_os_string()),
        // Root is had here, so a test that would skip for the lack of it fails.
        ("MCR_REQUIRE_ROOT", "1".into()),
        (cache::DIRECTORY, cache::directory()?.into_os_string()),
    ];
    let runner = root::prefix("to make network namespaces and load the XDP program in them")?;
    let (alone, others): (Vec<_>, Vec<_>) = test_files()?.into_iter().partition(|name| name.starts_with(ALONE));
    let (machines, together): (Vec<_>, Vec<_>) = others.into_iter().partition(|name| name.starts_with(MACHINES));
    let one_by_one = &["--test-threads=1"];

    let group = |selection: &[String], flags: &[&str]| -> Result<Command> {
        let mut cargo = workspace::cargo();
        cargo.args(["test", "--locked", "--workspace", "--no-fail-fast"]).args(selection);
        cargo.arg("--").args(flags).args(&args.filter).envs(variables.iter().cloned());
        if !runner.is_empty() {
            // Only the test programs become root: what cargo builds stays the user's.
            cargo.env(runner_variable()?, runner.join(" "));
        }
        Ok(cargo)
    };
    let select = |names: &[String]| -> Vec<String> { names.iter().map(|name| format!("--test={name}")).collect() };

    let (mut outcomes, mut times) = (Vec::new(), Times::default());
    // What tests fetch is fetched here, so that it is the user's own cache and no packet manager runs as root.
    if !args.vm {
        outcomes.push(step::timed("smcroute", || smcroute::fetched().map(drop)));
        outcomes.push(step::timed("Prometheus", || prometheus::fetched().map(drop)));
        let mut selection = vec!["--lib".to_owned(), "--bins".to_owned()];
        selection.extend(select(&together));
        outcomes.push(times.shown("tests", &mut group(&selection, &[])?));
        outcomes.push(step::shown("tests (documentation)", &mut group(&["--doc".to_owned()], &[])?));
    }
    if !args.no_vm && !machines.is_empty() {
        outcomes.push(step::timed("kernels for the virtual machines", || {
            kernel::all()?;
            kernel::fetched(&kernel::ORDINARY).map(drop)
        }));
        outcomes.push(step::timed("a newer QEMU, for Intel's NIC", || qemu::fetched().map(drop)));
        let all = [select(&machines), vec!["--no-run".to_owned()]].concat();
        outcomes.push(step::shown("the tests in virtual machines, built", &mut group(&all, &[])?));
        let commands = machines.iter().map(|name| group(&select(std::slice::from_ref(name)), one_by_one));
        outcomes.push(times.shown_in_lanes("tests (virtual machines)", commands.collect::<Result<_>>()?, LANES));
    }
    if !args.vm && !alone.is_empty() {
        outcomes.push(times.shown("tests (rates, alone)", &mut group(&select(&alone), one_by_one)?));
    }
    times.list();
    let failed: Vec<String> =
        outcomes.into_iter().filter_map(|outcome| outcome.err().map(|error| error.to_string())).collect();
    if !failed.is_empty() {
        bail!("{}", failed.join("\nerror: "));
    }
    Ok(())
}

/// The names of the workspace's integration test files.
fn test_files() -> Result<Vec<String>> {
    let metadata = workspace::metadata()?;
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    let targets = packages.iter().filter_map(|package| package["targets"].as_array()).flatten();
    let tests = targets.filter(|target| target["kind"].as_array().is_some_and(|kinds| kinds.contains(&"test".into())));
    Ok(tests.filter_map(|test| test["name"].as_str().map(str::to_owned)).collect())
}

/// The variable that names a program to start tests with: it has the host's triple in its name.
fn runner_variable() -> Result<String> {
    let host = crate::setup::rust::version(std::path::Path::new("rustc")).context("rustc -vV did not run")?.host;
    Ok(format!("CARGO_TARGET_{}_RUNNER", host.to_uppercase().replace('-', "_")))
}
