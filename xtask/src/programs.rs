//! Where programs of this machine are.

use std::path::{Path, PathBuf};
use std::{env, fs};

/// Where a program is: on PATH, or where a user's PATH on Debian does not look.
pub fn program(name: &str) -> Option<PathBuf> {
    directories().into_iter().map(|directory| directory.join(name)).find(|path| path.is_file())
}

/// Any clang, numbered or not: `.cargo/clang` takes the newest.
pub fn clang() -> Option<PathBuf> {
    let numbered = |path: &Path| {
        let number = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_prefix("clang-"));
        number.is_some_and(|number| number.parse::<u32>().is_ok())
    };
    program("clang").or_else(|| {
        let files = directories().into_iter().filter_map(|directory| fs::read_dir(directory).ok());
        files.flatten().flatten().map(|file| file.path()).find(|path| numbered(path))
    })
}

fn directories() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]).collect()
}
