//! Which QEMU runs a machine: the one that is installed, or a newer one from Debian's backports, for devices that the former lacks.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use anyhow::Result;

use crate::cache::{Cache, OLDEST_SUITE};

/// QEMU's program for this kind of machine.
pub const QEMU: &str = "qemu-system-x86_64";

/// The suites to take the newer one from, which runs on the older of them.
const SUITES: [&str; 2] = ["bookworm-backports", OLDEST_SUITE];
/// The program, what it loads at run time, and the firmware of a machine.
const PACKAGES: [&str; 4] = ["qemu-system-x86", "qemu-system-common", "qemu-system-data", "seabios"];
/// What it is called in the cache.
const NAME: &str = "qemu";
/// Where its libraries are.
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";
/// Where its firmware is.
const FIRMWARE: [&str; 2] = ["usr/share/qemu", "usr/share/seabios"];

/// The root of the newer QEMU in the cache; fetched first where the cache lacks it.
pub fn fetched() -> Result<PathBuf> {
    Cache::lock()?.unpacked(NAME, &format!("usr/bin/{QEMU}"), &SUITES, |apt| apt.with_libraries(&PACKAGES))
}

/// The words that start the QEMU that is unpacked below `root`: with its own libraries, modules and firmware.
pub fn unpacked(root: &Path) -> Vec<OsString> {
    let variable = |name: &str, path: PathBuf| {
        let mut word = OsString::from(format!("{name}="));
        word.push(path);
        word
    };
    let libraries = root.join(LIBRARIES);
    let modules = variable("QEMU_MODULE_DIR", libraries.join("qemu"));
    // By `env`, which is the system's: `ip`, before it, must not meet these libraries.
    let mut words = vec!["env".into(), variable("LD_LIBRARY_PATH", libraries), modules];
    words.push(root.join("usr/bin").join(QEMU).into());
    for directory in FIRMWARE {
        words.extend(["-L".into(), root.join(directory).into()]);
    }
    words
}
