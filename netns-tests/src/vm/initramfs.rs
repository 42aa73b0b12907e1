//! What is in the guest: busybox, programs of this machine with their libraries, ours, and the kernel's modules.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::{cpio::Archive, kernel::Kernel, modules};
use crate::{process, programs};

/// The guest's first process, a script for busybox.
const INIT: &str = include_str!("init.sh");
/// Programs of this machine that the guest gets. Its shell too: busybox's takes its own small `ip`, whatever PATH says.
const PROGRAMS: [&str; 4] = ["sh", "ip", "ethtool", "tcpdump"];
/// Ours.
const OWN: [&str; 3] = ["mcrd", "mcrctl", "mcrprobe"];
/// Modules that are loaded at the start in every guest.
const MODULES: [&str; 7] = ["virtio_pci", "virtio_console", "virtio_net", "veth", "8021q", "bonding", "team"];

/// Makes the initramfs for `kernel`, which loads `drivers` besides.
pub fn build(kernel: &Kernel, drivers: &[&str]) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    archive.file("/init", 0o755, INIT.as_bytes());
    let busybox = program("busybox")?;
    archive.file("/bin/busybox", 0o755, &fs::read(&busybox).with_context(|| busybox.display().to_string())?);
    libraries(&mut archive, &busybox)?;
    archive.link("/bin/sh", "/usr/bin/sh");
    // For tcpdump, which is told to stay who it is, by name.
    archive.file("/etc/passwd", 0o644, b"root:x:0:0:root:/:/bin/sh\n");
    for name in PROGRAMS {
        let path = program(name)?;
        archive.file(&format!("/usr/bin/{name}"), 0o755, &fs::read(&path)?);
        libraries(&mut archive, &path)?;
    }
    for name in OWN {
        let path = programs::path(name)?;
        archive.file(&format!("/usr/bin/{name}"), 0o755, &stripped(&path)?);
        libraries(&mut archive, &path)?;
    }
    let mut list = String::new();
    for (name, module) in modules::load(kernel, &[&MODULES, drivers].concat())? {
        let path = format!("/lib/modules/{name}.ko");
        archive.file(&path, 0o644, &module);
        list += &format!("{path}\n");
    }
    archive.file("/etc/modules", 0o644, list.as_bytes());
    Ok(archive.finish())
}

/// The libraries that a program is linked with, and the loader, where it looks for them. A static program has none.
fn libraries(archive: &mut Archive, program: &Path) -> Result<()> {
    let listed = process::finish(Command::new("ldd").arg(program))?;
    for library in listed.stdout.split_whitespace().filter(|word| word.starts_with('/')) {
        if !archive.has(library) {
            archive.file(library, 0o755, &fs::read(library).with_context(|| library.to_owned())?);
        }
    }
    Ok(())
}

/// A program without what only a debugger reads: a third of the memory.
fn stripped(program: &Path) -> Result<Vec<u8>> {
    let file = tempfile::NamedTempFile::new()?;
    process::run(Command::new("strip").arg("-o").arg(file.path()).arg(program))?;
    Ok(fs::read(file.path())?)
}

/// A program of this machine, on PATH or where a user's PATH does not look.
fn program(name: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut directories = env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    let found = directories.find_map(|directory| Some(directory.join(name)).filter(|path| path.is_file()));
    found.with_context(|| format!("{name} is missing: `cargo xtask setup` installs it"))
}
