//! Installs what lacks: Rust for BPF first, since clang and bpf-linker follow its LLVM.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, bail};

use super::inventory::{self, Lack};
use super::{apt, rust};
use crate::programs::program;
use crate::{bpf, step, workspace};

/// Builds with LLVM 21 to 23; its features name them.
const BPF_LINKER: &str = "0.13.0";

/// Checks licences, sources and advisories.
const CARGO_DENY: &str = "0.20.2";

/// Debian's Rust of the browsers' updates: the newest it has.
const DEBIAN_PAIR: [&str; 3] = ["rustc-web", "rust-web-src", "rust-web-clippy"];

/// Installs all of it as far as possible. A failure is told and does not stop the rest.
pub fn all() {
    let lacks = |state: fn(&Lack) -> bool| -> Vec<Lack> {
        inventory::take().into_iter().filter_map(|item| item.state.err()).filter(state).collect()
    };
    for lack in lacks(|lack| matches!(lack, Lack::Component(_))) {
        if let Lack::Component(name) = lack {
            tell(component(name));
        }
    }
    if !lacks(|lack| matches!(lack, Lack::BpfRust(_))).is_empty() {
        tell(bpf_rust());
    }
    tell(packages(&lacks(|lack| matches!(lack, Lack::Packages(_)))));
    for lack in lacks(|lack| matches!(lack, Lack::BpfLinker(..) | Lack::CargoDeny)) {
        match lack {
            Lack::BpfLinker(rustc, _) => tell(bpf_linker(&rustc)),
            _ => tell(cargo_deny()),
        }
    }
}

fn tell(outcome: Result<()>) {
    if let Err(error) = outcome {
        eprintln!("{error:#}");
    }
}

/// Adds a component to the active toolchain.
fn component(name: &str) -> Result<()> {
    if program("rustup").is_none() {
        bail!("there is no rustup to add {name} to the toolchain");
    }
    step::quiet(&format!("rustup: {name}"), Command::new("rustup").args(["component", "add", name]))
}

/// rust-src from rustup, or, where its server is out of reach, a second Rust from Debian.
fn bpf_rust() -> Result<()> {
    let Err(error) = component("rust-src") else { return Ok(()) };
    if !apt::is_here() {
        return Err(error);
    }
    eprintln!("rustup has no rust-src for us; Debian's packages bring a Rust with its source");
    let new_enough = || apt::candidate(DEBIAN_PAIR[0]).is_some_and(|version| bpf::new_enough(&version));
    if !new_enough() {
        apt::update()?;
    }
    if !new_enough() {
        apt::add_security()?;
    }
    if !new_enough() {
        bail!("apt has no {} of {} or later", DEBIAN_PAIR[0], env!("CARGO_PKG_RUST_VERSION"));
    }
    apt::install(&DEBIAN_PAIR.map(str::to_owned))
}

/// Installs packages, the lists fetched first when one of them is not known.
///
/// # Errors
///
/// apt-get fails, or root is not to be had.
pub fn packages(lacks: &[Lack]) -> Result<()> {
    let lists: Vec<&[String]> = lacks
        .iter()
        .filter_map(|lack| match lack {
            Lack::Packages(lists) => Some(lists.as_slice()),
            _ => None,
        })
        .collect();
    if lists.is_empty() || !apt::is_here() {
        return Ok(());
    }
    // A later choice is good only when fresh lists have not the first.
    if lists.iter().any(|lists| apt::choose(&lists[..1]).is_none()) {
        apt::update()?;
    }
    let mut packages: Vec<String> = lists.iter().filter_map(|lists| apt::choose(lists)).flatten().collect();
    packages.sort();
    packages.dedup();
    if packages.is_empty() {
        return Ok(());
    }
    apt::install(&packages)
}

/// Builds bpf-linker with the LLVM of `rustc`.
fn bpf_linker(rustc: &Path) -> Result<()> {
    let llvm = rust::version(rustc).with_context(|| format!("{} -vV", rustc.display()))?.llvm;
    let library = rust::llvm_library(rustc)
        .with_context(|| format!("{} has no shared libLLVM to build bpf-linker with", rustc.display()))?;
    // All that LLVM's development package would give is this one name, for -lLLVM.
    let prefix = workspace::target()?.join(format!("llvm-{llvm}"));
    let link = prefix.join("lib/libLLVM.so");
    fs::create_dir_all(prefix.join("lib")).with_context(|| prefix.display().to_string())?;
    let _ = fs::remove_file(&link); // an older one; when it cannot be removed the next line says so
    symlink(&library, &link).with_context(|| link.display().to_string())?;

    let mut cargo = cargo_install("bpf-linker", BPF_LINKER);
    // A number that is not the library's builds too, without a word, so it is always named.
    cargo.args(["--force", "--features", &format!("llvm-{llvm}")]).env("LLVM_PREFIX", &prefix);
    if let Some(toolchain) = library.parent().filter(|directory| !directory.starts_with("/usr/lib")) {
        // rustup's library is not where the loader looks.
        cargo.env("RUSTFLAGS", format!("-Clink-arg=-Wl,-rpath,{}", toolchain.display()));
    }
    step::quiet(&format!("cargo install: bpf-linker (LLVM {llvm})"), &mut cargo)
}

/// Builds cargo-deny without optimisation: a third of the time, and it runs for a second.
fn cargo_deny() -> Result<()> {
    let mut cargo = cargo_install("cargo-deny", CARGO_DENY);
    cargo.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0").env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
    cargo.env("CARGO_PROFILE_RELEASE_LTO", "false");
    step::quiet("cargo install: cargo-deny", &mut cargo)
}

fn cargo_install(name: &str, version: &str) -> Command {
    let mut cargo = workspace::cargo();
    cargo.args(["install", "--quiet", "--locked", "--no-default-features", "--version", version, name]);
    cargo.env("CARGO_PROFILE_RELEASE_DEBUG", "false").env("CARGO_PROFILE_RELEASE_STRIP", "true");
    cargo
}
