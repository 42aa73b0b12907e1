//! What a rustc says of itself, and where its LLVM is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::bpf;

/// From `rustc -vV`.
pub struct Version {
    /// The host's target triple.
    pub host: String,
    /// LLVM's major number.
    pub llvm: u32,
}

/// Asks `rustc`; none when it does not run or answers something else.
pub fn version(rustc: &Path) -> Option<Version> {
    let output = Command::new(rustc).arg("-vV").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let llvm = field("LLVM version:")?.split('.').next()?.parse().ok()?;
    Some(Version { host: field("host:")?.to_owned(), llvm })
}

/// The shared library of LLVM that `rustc` runs with: rustup keeps one in each toolchain, Debian one in /usr/lib.
pub fn llvm_library(rustc: &Path) -> Option<PathBuf> {
    let llvm = version(rustc)?.llvm;
    let lib = bpf::sysroot(rustc)?.join("lib");
    // Debian's directory is named x86_64-linux-gnu, so each directory there is looked through.
    let below = fs::read_dir(&lib).ok()?.flatten().map(|entry| entry.path()).filter(|path| path.is_dir());
    let name = format!("libLLVM.so.{llvm}.");
    std::iter::once(lib.clone()).chain(below).find_map(|directory| {
        let files = fs::read_dir(directory).ok()?.flatten();
        files
            .map(|file| file.path())
            .find(|path| path.file_name().and_then(|file| file.to_str()).is_some_and(|file| file.starts_with(&name)))
    })
}
