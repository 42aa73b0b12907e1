//! Where the workspace is, and the cargo that works on it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

/// The workspace's root directory.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a directory of the workspace")
}

/// The XDP program's crate, a workspace of its own.
pub fn ebpf() -> PathBuf {
    root().join("mcr-ebpf")
}

/// The cargo that started this program, in the workspace's root.
pub fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    cargo
}

/// What cargo says about the workspace's own packages.
///
/// # Errors
///
/// A manifest of the workspace cannot be read.
pub fn metadata() -> Result<Value> {
    metadata_of(root())
}

/// The same of the workspace in `directory`.
///
/// # Errors
///
/// As [`metadata`].
pub fn metadata_of(directory: &Path) -> Result<Value> {
    let output = cargo()
        .current_dir(directory)
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .output()
        .context("cargo metadata did not start")?;
    if !output.status.success() {
        anyhow::bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    serde_json::from_slice(&output.stdout).context("cargo metadata gave something other than JSON")
}

/// Cargo's target directory.
///
/// # Errors
///
/// As [`metadata`].
pub fn target() -> Result<PathBuf> {
    let metadata = metadata()?;
    metadata["target_directory"].as_str().map(PathBuf::from).context("cargo metadata names no target directory")
}
