//! Steps that need root: through sudo for anyone else, saying once for what.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Result, bail};

use crate::programs::program;

/// What of our environment goes through sudo: all that the daemon, the tests and apt read, beside sudo's own PATH.
const KEPT: &str = "--preserve-env=MCR_BIN_DIR,MCR_REQUIRE_ROOT,MCR_VM_CACHE,MCR_SOCKET,RUST_LOG,RUST_BACKTRACE,\
                    DEBIAN_FRONTEND,CI";

/// The reasons that were given already.
static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// The words that, put before a command, run it as root. None for root.
///
/// # Errors
///
/// There is no sudo, and this is not root.
pub fn prefix(reason: &str) -> Result<&'static [&'static str]> {
    if fs::metadata("/proc/self").is_ok_and(|of| of.uid() == 0) {
        return Ok(&[]);
    }
    if program("sudo").is_none() {
        bail!("root is needed {reason}, and there is no sudo here: run it again as root");
    }
    if SAID.lock().expect("no holder panics").insert(reason.to_owned()) {
        eprintln!("sudo is asked for root {reason}");
    }
    Ok(&["sudo", KEPT, "--"])
}

/// `program` as root.
///
/// # Errors
///
/// As [`prefix`].
pub fn command(reason: &str, program: impl AsRef<OsStr>) -> Result<Command> {
    let mut words = prefix(reason)?.iter().map(OsStr::new).chain([program.as_ref()]);
    let mut command = Command::new(words.next().expect("the program is there"));
    command.args(words);
    Ok(command)
}
