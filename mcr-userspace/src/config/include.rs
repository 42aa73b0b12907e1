//! `include`: the further files whose rules are read with those of the main file.

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use glob::{MatchOptions, Pattern, glob_with};

use super::{
    problem::Report,
    source::{Budget, read},
    table::{At, Table},
};
use crate::rules::{
    lint::{Kind, Warning},
    value::shown,
};

/// Most patterns of a file, and most files that they name together.
const MAX_PATTERNS: usize = 100;
const MAX_FILES: usize = 1000;
/// What a pattern is told by.
const WILDCARDS: [char; 3] = ['*', '?', '['];
/// As a shell matches: a file whose name begins with a dot, which editors make, is named by its dot only.
const LIKE_A_SHELL: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// A file that `include` names.
pub(super) struct Included {
    /// The file.
    pub(super) path: PathBuf,
    /// As it is named to people.
    pub(super) file: String,
    /// What it says, or a line of it (0: none) and why it cannot be read.
    pub(super) text: Result<String, (usize, String)>,
}

/// Device and number of a file, inode(7).
type FileId = (u64, u64);

/// The files that `include` of `root`, the table of the file `main`, names: each once, in the order of the patterns, and of the names
/// within each. What is wrong with a pattern is reported; what is wrong with a file stands in its place.
pub(super) fn included(
    root: &mut Table<'_>,
    main: &Path,
    budget: &mut Budget,
    edited: &[(PathBuf, String)],
    report: &mut Report,
) -> Vec<Included> {
    let patterns = root.texts("include", MAX_PATTERNS, report);
    let mut found: Vec<Included> = Vec::new();
    let mut ids: HashMap<FileId, String> = HashMap::new();
    let own = id(main);
    for (i, At { value, at }) in patterns.into_iter().enumerate() {
        let key = format!("include[{i}]");
        let paths = match named(&value, main, MAX_FILES - found.len()) {
            Ok(paths) => paths,
            Err(why) => {
                report.problem(at, key, format!("`{}` {why}", shown(&value)));
                continue;
            }
        };
        if paths.is_empty() {
            let message = format!("`{}` matches no file; no rule comes from it", shown(&value));
            report.warning(at, Warning { kind: Kind::Include, key: key.clone(), message });
        }
        for path in paths {
            let file = path.display().to_string();
            let id = id(&path);
            if id.is_some() && id == own {
                report.problem(at, key.as_str(), format!("`{}` is this file itself; leave it out", shown(&file)));
                continue;
            }
            match id.and_then(|id| ids.insert(id, file.clone())) {
                // Two patterns match it.
                Some(before) if before == file => continue,
                Some(before) => {
                    let message = format!("`{}` is the same file as {before}; it is read once", shown(&file));
                    report.warning(at, Warning { kind: Kind::Include, key: key.clone(), message });
                    continue;
                }
                None => {}
            }
            let text = match edited.iter().find(|(edited, _)| *edited == path) {
                Some((_, text)) => Ok(text.clone()),
                None => text_of(&path, budget),
            };
            found.push(Included { path, file, text });
        }
    }
    found
}

fn id(path: &Path) -> Option<FileId> {
    fs::metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

/// The files that a pattern names, sorted; relative to the directory of `main`.
fn named(pattern: &str, main: &Path, most: usize) -> Result<Vec<PathBuf>, String> {
    if pattern.is_empty() {
        return Err("is empty; name files, such as \"conf.d/*.toml\"".to_owned());
    }
    if pattern.contains("**") {
        return Err("has `**`, which walks whole trees; name each directory, such as \"conf.d/*.toml\"".to_owned());
    }
    let directory = main.parent().unwrap_or(Path::new(""));
    if !pattern.contains(WILDCARDS) {
        let path = directory.join(pattern);
        return match fs::symlink_metadata(&path) {
            Ok(_) if most == 0 => Err(too_many()),
            Ok(_) => Ok(vec![path]),
            Err(error) => Err(format!("names a file that cannot be read: {}: {error}", path.display())),
        };
    }
    let directory = directory.to_str().ok_or("stands in a directory whose name is not UTF-8 text; name each file")?;
    let whole = match pattern.starts_with('/') || directory.is_empty() {
        true => pattern.to_owned(),
        false => format!("{}/{pattern}", Pattern::escape(directory)),
    };
    let entries = glob_with(&whole, LIKE_A_SHELL).map_err(|error| format!("is no pattern: {error}"))?;
    let mut paths = Vec::new();
    for entry in entries {
        paths
            .push(entry.map_err(|error| format!("cannot be followed: {}: {}", error.path().display(), error.error()))?);
        if paths.len() > most {
            return Err(too_many());
        }
    }
    paths.sort();
    Ok(paths)
}

fn too_many() -> String {
    format!("brings more than {MAX_FILES} files; put their rules into fewer")
}

/// Only a file is read, or a link to one: a pattern may match anything.
fn text_of(path: &Path, budget: &mut Budget) -> Result<String, (usize, String)> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => {
            Err((0, "is a directory; write a pattern for the files in it, such as \"conf.d/*.toml\"".to_owned()))
        }
        Ok(found) if !found.is_file() => Err((0, "is not a regular file; only those are included".to_owned())),
        _ => read(path, budget),
    }
}
