//! What was found, for people and for machines: tables, JSON, CSV, charts, and one HTML page.

pub mod chart;
pub mod charts;
pub mod csv;
pub mod html;
pub mod json;
pub mod table;
pub mod text;

use std::{fs, path::Path};

use anyhow::{Context, Result};

use crate::results::Results;

/// Writes results.json, results.csv, index.html and each chart, as SVG, into `directory`.
///
/// # Errors
/// The directory or a file cannot be written.
pub fn write(results: &Results, directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    let charts = charts::charts(results)?;
    let mut files = vec![
        ("results.json".to_owned(), json::json(results)?),
        ("results.csv".to_owned(), csv::csv(results)),
        ("index.html".to_owned(), html::page(results, &charts)?),
    ];
    files.extend(charts.into_iter().map(|chart| (format!("{}.svg", chart.name), chart.svg)));
    for (name, text) in files {
        let path = directory.join(name);
        fs::write(&path, text).with_context(|| path.display().to_string())?;
    }
    Ok(())
}
