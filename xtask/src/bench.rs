//! `cargo xtask bench`: builds what it measures and what measures, and becomes the latter.

use std::env;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use netns_tests::{cache, dpdk, programs::DIRECTORY, smcroute};

use crate::{build, root, setup, step, workspace};

/// Arguments of `cargo xtask bench`.
#[derive(clap::Args)]
pub struct Args {
    /// Under three minutes in place of half an hour: fewer sizes, one repeat
    #[arg(long)]
    quick: bool,
    /// Only these contenders: wire xdp-limit nftables smcroute testpmd mcr-low-latency mcr-efficient socat
    #[arg(long, num_args = 1.., value_name = "NAME")]
    only: Vec<String>,
    /// Only these measures: throughput outputs latency cpu rules control rest overload founding
    #[arg(long, num_args = 1.., value_name = "NAME")]
    measure: Vec<String>,
    /// Where the results go [default: target/bench/<seconds since 1970>]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Builds, and runs the bench as root.
///
/// # Errors
///
/// Something does not build, or root is not to be had.
pub fn run(args: Args) -> Result<()> {
    setup::ensure_bench();
    // Here, so that it is the user's own cache and no packet manager runs as root. Whoever lacks its packages is left out, in
    // words.
    for (name, fetch) in [("smcroute", smcroute::fetched as fn() -> Result<PathBuf>), ("DPDK", dpdk::fetched)] {
        if let Err(error) = step::timed(name, || fetch().map(drop)) {
            eprintln!("{error:#}");
        }
    }
    let programs = build::release()?;
    step::quiet(
        "build (release, bench)",
        workspace::cargo().args(["build", "--quiet", "--locked", "--release", "--package=mcr-bench"]),
    )?;
    let out = match args.out {
        // Of the user's directory, not of the one in which the bench runs.
        Some(out) => env::current_dir()?.join(out),
        None => {
            workspace::target()?.join("bench").join(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs().to_string())
        }
    };
    let mut bench =
        root::command("to make network namespaces, load BPF programs and run forwarders", programs.join("mcr-bench"))?;
    bench.args(args.quick.then_some("--quick")).arg("--out").arg(out);
    for (flag, names) in [("--only", args.only), ("--measure", args.measure)] {
        if !names.is_empty() {
            bench.arg(flag).args(names);
        }
    }
    let error = bench.env(DIRECTORY, programs).env(cache::DIRECTORY, cache::directory()?).exec();
    Err(error).with_context(|| step::line(&bench))
}
