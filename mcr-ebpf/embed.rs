//! For build scripts: builds one of this crate's programs for BPF and leaves the object in `OUT_DIR`, under the program's name.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

#[path = "../xtask/src/bpf.rs"]
mod bpf;

/// Builds program `name`, whose crate is in `ebpf`; what goes wrong is told to cargo.
pub fn embed(ebpf: &Path, name: &str) -> ExitCode {
    match build(ebpf, name) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("cargo::error={error}");
            ExitCode::FAILURE
        }
    }
}

fn build(ebpf: &Path, name: &str) -> Result<(), String> {
    for input in ["src", "Cargo.toml", "Cargo.lock", ".cargo/config.toml", "../mcr-common/src"] {
        println!("cargo::rerun-if-changed={}", ebpf.join(input).display());
    }
    println!("cargo::rerun-if-env-changed={}", bpf::OVERRIDE);

    let rustc = bpf::rustc().map_err(|why| format!("{why}. To install one: cargo xtask setup"))?;
    println!("cargo::rerun-if-changed={}", rustc.display());
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    // target/<profile>/build/<package>/out -> target/ebpf: one build for every profile and for clippy.
    let target = out.ancestors().nth(4).expect("OUT_DIR is in the target directory").join("ebpf");
    let status = bpf::cargo(ebpf, &rustc)
        .args(["build", "--quiet", "--locked", "--release", "--bin", name, "--target-dir"])
        .arg(&target)
        .status()
        .map_err(|why| format!("cargo did not start in {}: {why}", ebpf.display()))?;
    if !status.success() {
        return Err(format!(
            "{} did not build for BPF; its errors are below. When bpf-linker or core is missing: cargo xtask setup",
            ebpf.display()
        ));
    }
    let object = target.join("bpfel-unknown-none/release").join(name);
    fs::copy(&object, out.join(name)).map_err(|why| format!("{} was not copied: {why}", object.display()))?;
    Ok(())
}
