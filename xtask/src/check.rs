//! `cargo xtask check`: format, lints, documentation, licences and advisories, for the workspace and for mcr-ebpf.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow};

use crate::{bpf, step, workspace};

/// Runs every check, those after a failure too.
///
/// # Errors
///
/// One of them fails; the text names each.
pub fn run() -> Result<()> {
    let ebpf = workspace::ebpf();
    let ebpf_manifest = ebpf.join("Cargo.toml");
    let rustc = bpf::rustc().map_err(|why| anyhow!("{why}: cargo xtask setup"))?;

    let mut bpf_clippy = bpf::cargo(&ebpf, &rustc);
    // What `cargo clippy -- -D warnings` does, with the clippy of this rustc: Debian's has no cargo beside it.
    bpf_clippy.args(["check", "--locked", "--release", "--target-dir"]).arg(workspace::target()?.join("ebpf"));
    bpf_clippy.env("RUSTC_WORKSPACE_WRAPPER", rustc.with_file_name("clippy-driver"));
    bpf_clippy.env("CLIPPY_ARGS", "-D__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__");

    let mut ebpf_format = workspace::cargo();
    ebpf_format.args(["fmt", "--check", "--manifest-path"]).arg(&ebpf_manifest);

    let mut documentation = workspace::cargo();
    documentation.args(["doc", "--locked", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-Dwarnings");

    let mut outcomes = vec![
        step::quiet("rustfmt", workspace::cargo().args(["fmt", "--all", "--check"])),
        step::quiet("rustfmt (BPF)", &mut ebpf_format),
        step::quiet(
            "clippy",
            workspace::cargo().args(["clippy", "--locked", "--workspace", "--all-targets", "--", "-Dwarnings"]),
        ),
        step::quiet("clippy (BPF)", &mut bpf_clippy),
        step::quiet("documentation", &mut documentation),
        step::quiet("licences and sources", &mut deny("", &["bans", "licenses", "sources"])),
        step::quiet("licences and sources (BPF)", &mut deny("mcr-ebpf", &["bans", "licenses", "sources"])),
    ];
    match unreachable()? {
        Some(why) => eprintln!("advisories: NOT CHECKED, the database is out of reach: {why}"),
        None => {
            outcomes.push(step::quiet("advisories", &mut deny("", &["advisories"])));
            outcomes.push(step::quiet("advisories (BPF)", &mut deny("mcr-ebpf", &["advisories"])));
        }
    }
    let failed: Vec<String> =
        outcomes.into_iter().filter_map(|outcome| outcome.err().map(|error| error.to_string())).collect();
    if !failed.is_empty() {
        return Err(anyhow!("{}", failed.join("\nerror: ")));
    }
    Ok(())
}

/// cargo-deny's checks of the workspace in `directory` against deny.toml.
fn deny(directory: &str, checks: &[&str]) -> Command {
    let mut cargo = workspace::cargo();
    cargo.current_dir(workspace::root().join(directory));
    cargo.args(["deny", "--locked", "--config"]).arg(workspace::root().join("deny.toml")).arg("check").args(checks);
    cargo
}

/// Why the database of advisories cannot be fetched; none when it was.
fn unreachable() -> Result<Option<String>> {
    let mut cargo = workspace::cargo();
    let fetch = cargo.args(["deny", "fetch", "db"]).stdin(Stdio::null()).env("GIT_TERMINAL_PROMPT", "0");
    let output = fetch.output().context("cargo deny fetch did not start")?;
    if output.status.success() {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&output.stderr);
    // git's own reason is last, and the shortest.
    Ok(Some(text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("no reason given").to_owned()))
}
