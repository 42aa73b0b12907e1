//! What was found, for people and for machines: tables, JSON, CSV, and one HTML page.

pub mod chart;
pub mod csv;
pub mod html;
pub mod json;
pub mod table;
pub mod text;

use std::{fs, path::Path};

use anyhow::{Context, Result};

use crate::results::Results;

/// Writes results.json, results.csv and index.html into `directory`.
///
/// # Errors
/// The directory or a file cannot be written.
pub fn write(results: &Results, directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    let files = [
        ("results.json", json::json(results)?),
        ("results.csv", csv::csv(results)),
        ("index.html", html::page(results)?),
    ];
    for (name, text) in files {
        let path = directory.join(name);
        fs::write(&path, text).with_context(|| path.display().to_string())?;
    }
    Ok(())
}
