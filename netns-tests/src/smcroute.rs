//! Debian's smcroute as the other party: a multicast router with static routes, which also joins groups as it is told.
//!
//! Its package would start a service, so it is unpacked and not installed. The libraries that it needs, apt and iproute2 need too.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::{
    apt::Apt,
    cache::{Cache, OLDEST_SUITE},
    deadline::{SOON, until},
    netns::Namespace,
    process::{self, Process},
};

/// Its package, and what it is called in the cache.
const PACKAGE: &str = "smcroute";

/// A running `smcrouted`; dropping it kills it.
pub struct Smcroute {
    process: Process,
    programs: PathBuf,
    directory: TempDir,
}

/// The directory of smcroute's programs in the cache; fetched first where the cache lacks them.
pub fn fetched() -> Result<PathBuf> {
    let packages = |_: &Apt| Ok(vec![PACKAGE.to_owned()]);
    let root = Cache::lock()?.unpacked(PACKAGE, "usr/sbin/smcrouted", &[OLDEST_SUITE], packages)?;
    Ok(root.join("usr/sbin"))
}

impl Smcroute {
    /// Starts it in `namespace` with `flags`, and waits until it answers.
    pub fn start(namespace: &Namespace, flags: &[&str]) -> Result<Self> {
        let programs = fetched()?;
        let directory = tempfile::Builder::new().prefix("mcrt-").tempdir()?;
        let file = |name: &str| directory.path().join(name);
        let mut command = namespace.command(programs.join("smcrouted"));
        // In the foreground; without a file of the machine's own.
        command.args(["-n", "-l", "debug", "-f"]).arg(file("conf")).arg("-P").arg(file("pid"));
        command.arg("-u").arg(socket(directory.path())).args(flags);
        let process = Process::spawn(&mut command)?;
        let smcroute = Self { process, programs, directory };
        until("an answer of smcrouted", SOON, || {
            if let Some(status) = smcroute.process.ended()? {
                bail!("smcrouted ended at its start: {status}");
            }
            Ok(process::finish(&mut smcroute.control("show interfaces"))?.status.success().then_some(()))
        })
        .with_context(|| smcroute.process.stderr())?;
        Ok(smcroute)
    }

    /// Runs `smcroutectl` with a line of words, which must succeed, and returns what it shows.
    pub fn done(&self, line: &str) -> Result<String> {
        process::run(&mut self.control(line))
    }

    fn control(&self, line: &str) -> Command {
        let mut command = Command::new(self.programs.join("smcroutectl"));
        command.arg("-p").arg("-u").arg(socket(self.directory.path())).args(line.split(' '));
        command
    }
}

fn socket(directory: &Path) -> PathBuf {
    directory.join("sock")
}
