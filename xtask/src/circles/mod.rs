//! Circles of files: files of one crate that import each other, directly or through others.
//!
//! A file imports another when a path in it names an item that the other defines; re-exports are followed. `mod x;` imports nothing, nor
//! does a `pub use` of what is below the file's own module. Tests may look at the modules that they stand in.

mod graph;
mod names;
mod paths;
mod source;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use self::source::Tree;
use crate::workspace;

/// Checks every crate of the workspace, and the XDP program's.
///
/// # Errors
///
/// There are circles: the text has the files of each, and the names that tie them. Or a file cannot be read.
pub fn run() -> Result<()> {
    let mut crates = Vec::new();
    for metadata in [workspace::metadata()?, workspace::metadata_of(&workspace::ebpf())?] {
        let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
        let targets = packages.iter().filter_map(|package| package["targets"].as_array()).flatten();
        let named = |target: &Value| Some((target["name"].as_str()?.to_owned(), target["src_path"].as_str()?.into()));
        crates.extend(targets.filter_map(named));
    }
    check(&crates)
}

fn check(crates: &[(String, PathBuf)]) -> Result<()> {
    let mut circles = Vec::new();
    for (name, root) in crates {
        let tree = Tree::read(root).map_err(|error| error.context(format!("crate {name}")))?;
        circles.extend(graph::circles(&paths::imports(&tree)));
    }
    if circles.is_empty() {
        return Ok(());
    }
    bail!("{} circles of files:\n{}", circles.len(), circles.join("\n"))
}

#[cfg(test)]
mod tests;
