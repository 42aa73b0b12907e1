//! Where the real programs are: those of this workspace, and those of the system.

use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

/// Names a directory with `mcrd`, `mcrctl` and `mcrprobe`, in place of the running executable's own.
pub const DIRECTORY: &str = "MCR_BIN_DIR";

/// The path of `mcrd`, `mcrctl` or `mcrprobe`: in [`DIRECTORY`], else `target/<profile>` of the running executable.
pub fn path(name: &str) -> Result<PathBuf> {
    let directory = match env::var_os(DIRECTORY) {
        Some(directory) => PathBuf::from(directory),
        None => {
            let own = env::current_exe()?;
            let directory = own.parent().context("an executable lies in a directory")?;
            // Tests lie one further down, in target/<profile>/deps.
            if directory.ends_with("deps") { directory.parent().unwrap_or(directory) } else { directory }.to_owned()
        }
    };
    let path = directory.join(name);
    ensure!(path.is_file(), "{} is missing: `cargo build -p mcr-userspace` builds it", path.display());
    Ok(path)
}

/// `command`, started by `words` that execute it in place, such as `nice`.
pub fn before(words: &[&str], command: &Command) -> Command {
    let mut all = words.iter().map(OsStr::new).chain([command.get_program()]).chain(command.get_args());
    let mut started = Command::new(all.next().expect("the program is there"));
    started.args(all);
    started
}

/// Whether `name` is on `PATH`.
pub fn installed(name: &str) -> bool {
    let paths = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&paths).any(|directory: PathBuf| Path::is_file(&directory.join(name)))
}
