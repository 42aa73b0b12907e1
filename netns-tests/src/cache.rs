//! What is fetched once and kept: what tests run and what must not be installed for that.

use std::{
    env, fs,
    fs::File,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::apt::Apt;

/// Names the directory in place of `~/.cache/mcr/vm`, which is called so since kernels are most of it.
pub const DIRECTORY: &str = "MCR_VM_CACHE";

/// Debian's oldest suite that is tested: what is made for it runs on the later ones too.
pub const OLDEST_SUITE: &str = "bookworm";

/// The directory, while no other process changes it.
pub struct Cache {
    directory: PathBuf,
    _lock: File,
}

/// Where it is.
pub fn directory() -> Result<PathBuf> {
    if let Some(directory) = env::var_os(DIRECTORY) {
        return Ok(directory.into());
    }
    let home = || env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    let caches = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home);
    Ok(caches.with_context(|| format!("neither {DIRECTORY} nor HOME is set"))?.join("mcr/vm"))
}

impl Cache {
    /// Waits until it is this process's alone.
    pub fn lock() -> Result<Self> {
        let directory = directory()?;
        fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
        let lock = File::create(directory.join("lock"))?;
        lock.lock()?;
        Ok(Self { directory, _lock: lock })
    }

    /// An apt root with lists of Debian's `suites`, the first preferred.
    pub fn apt(&self, suites: &[&str]) -> Result<Apt> {
        Apt::update(self.directory.join("apt"), suites)
    }

    /// Where `name` is, once it is [kept](Self::keep).
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The directory `name` with packages of Debian's `suites` unpacked in it; they are fetched first where it lacks `file`.
    pub fn unpacked(
        &self,
        name: &str,
        file: &str,
        suites: &[&str],
        packages: impl FnOnce(&Apt) -> Result<Vec<String>>,
    ) -> Result<PathBuf> {
        if !self.path(name).join(file).is_file() {
            let apt = self.apt(suites)?;
            let packages = packages(&apt)?;
            let unpacked = self.empty("unpacked")?;
            apt.unpack(&packages, &unpacked)?;
            self.keep(&unpacked, name)?;
        }
        Ok(self.path(name))
    }

    /// An empty directory to make something in.
    pub fn empty(&self, name: &str) -> Result<PathBuf> {
        let directory = self.directory.join(name);
        let _ = fs::remove_dir_all(&directory); // what a killed run left
        fs::create_dir_all(&directory)?;
        Ok(directory)
    }

    /// Keeps what was made in `directory` under `name`, in place of what is not whole there.
    pub fn keep(&self, directory: &Path, name: &str) -> Result<()> {
        let _ = fs::remove_dir_all(self.path(name));
        Ok(fs::rename(directory, self.path(name))?)
    }
}
