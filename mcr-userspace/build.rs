//! Builds the XDP program, to be embedded as `OUT_DIR/mcr`.

use std::{path::Path, process::ExitCode};

#[path = "../mcr-ebpf/embed.rs"]
mod embed;

fn main() -> ExitCode {
    embed::embed(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../mcr-ebpf"), "mcr")
}
