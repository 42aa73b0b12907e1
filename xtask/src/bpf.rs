//! The Rust that can build `core` for BPF, and cargo started with it in `mcr-ebpf`.
//!
//! Also part of `mcr-userspace/build.rs`, so that what setup finds is what the build uses. Only `std` is used here.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Names the rustc to use, ahead of every other choice.
pub const OVERRIDE: &str = "MCR_BPF_RUSTC";

/// Debian's rustc: packages `rustc-web` and `rust-web-src`, or `rustc` and `rust-src`.
pub const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// The rustc that has the source of `core` beside it: `MCR_BPF_RUSTC`, else the active toolchain's, else Debian's.
///
/// # Errors
///
/// None has it; the text says which were tried.
pub fn rustc() -> Result<PathBuf, String> {
    let active = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let candidates = match env::var_os(OVERRIDE) {
        Some(only) => vec![PathBuf::from(only)],
        None => vec![PathBuf::from(active), PathBuf::from(DEBIAN_RUSTC)],
    };
    let mut tried = Vec::new();
    for candidate in candidates {
        match sysroot(&candidate) {
            // The compiler itself, not rustup's stand-in for it: cargo is told exactly this one.
            Some(root) if has_source(&root) && !is_new_enough(&candidate) => {
                tried.push(format!("{} is older than {}", candidate.display(), env!("CARGO_PKG_RUST_VERSION")));
            }
            Some(root) if has_source(&root) => return Ok(root.join("bin/rustc")),
            Some(root) => tried.push(format!("{} lacks lib/rustlib/src/rust", root.display())),
            None => tried.push(format!("{} does not run", candidate.display())),
        }
    }
    Err(format!("no rustc with the source of core, which BPF needs: {}", tried.join("; ")))
}

/// Where `rustc` keeps its libraries.
pub fn sysroot(rustc: &Path) -> Option<PathBuf> {
    let output = Command::new(rustc).args(["--print", "sysroot"]).output().ok()?;
    let root = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| PathBuf::from(root.trim()))
}

fn has_source(sysroot: &Path) -> bool {
    sysroot.join("lib/rustlib/src/rust/library/Cargo.lock").is_file()
}

fn is_new_enough(rustc: &Path) -> bool {
    let Ok(output) = Command::new(rustc).arg("-V").output() else { return false };
    // rustc 1.95.0 (59807616e 2026-04-14)
    String::from_utf8_lossy(&output.stdout).split(' ').nth(1).is_some_and(new_enough)
}

/// True for a version, of rustc or of its Debian package, that is not before the `rust-version` of this workspace.
pub fn new_enough(version: &str) -> bool {
    let minor = |text: &str| {
        let mut numbers = text.split(['.', '~', '-', '+']).map(str::parse::<u32>);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    };
    minor(version) >= minor(env!("CARGO_PKG_RUST_VERSION"))
}

/// Cargo in `mcr-ebpf`, whose `.cargo/config.toml` names target and flags, with `rustc` as the compiler.
///
/// # Errors
///
/// There is no such rustc.
pub fn cargo(ebpf: &Path, rustc: &Path) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // What an outer cargo or the user sets for the host, and what would win over the configuration file.
    for host in [
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTDOC",
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_BUILD_TARGET",
    ] {
        cargo.env_remove(host);
    }
    // Lets a stable cargo and rustc build core. For this command alone: build scripts of the host's crates
    // would take it for a nightly compiler.
    cargo.current_dir(ebpf).env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1");
    cargo
}
