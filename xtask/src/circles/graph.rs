//! The circles among imports.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use petgraph::{algo::tarjan_scc, graphmap::DiGraphMap};

use super::paths::Import;
use crate::workspace;

/// Each circle as text: its files, and for each import among them the first name with its place.
pub fn circles(imports: &[Import]) -> Vec<String> {
    let mut graph = DiGraphMap::<&PathBuf, ()>::new();
    for import in imports {
        graph.add_edge(&import.from, &import.to, ());
    }
    let circles = tarjan_scc(&graph).into_iter().filter(|files| files.len() > 1);
    circles.map(|files| text(&files.into_iter().collect(), imports)).collect()
}

fn text(files: &BTreeSet<&PathBuf>, imports: &[Import]) -> String {
    let mut arrows: BTreeMap<(&PathBuf, &PathBuf), &Import> = BTreeMap::new();
    for import in imports.iter().filter(|import| files.contains(&import.from) && files.contains(&import.to)) {
        arrows.entry((&import.from, &import.to)).or_insert(import);
    }
    let lines = arrows.into_values().map(|import| {
        format!("  {}:{} uses {} of {}", shown(&import.from), import.line, import.name, shown(&import.to))
    });
    let head = format!("{} files import each other:", files.len());
    std::iter::once(head).chain(lines).collect::<Vec<_>>().join("\n")
}

fn shown(file: &Path) -> String {
    file.strip_prefix(workspace::root()).unwrap_or(file).display().to_string()
}
