//! Builds the bench's own BPF programs, to be embedded as `OUT_DIR/bench`.

use std::{path::Path, process::ExitCode};

#[path = "../../mcr-ebpf/embed.rs"]
mod embed;

fn main() -> ExitCode {
    embed::embed(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../mcr-ebpf"), "bench")
}
