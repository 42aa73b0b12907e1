//! A private apt root: Debian's suites beside the machine's own sources, which stay as they are.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};

use crate::process;

/// The keys of Debian's archive, as its package `debian-archive-keyring` has them.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// What every system has, in the version that goes with its loader.
const SYSTEM: [&str; 5] = ["libc6", "libc-", "libgcc", "libcrypt1", "libstdc++"];
/// Against hangs: some forty megabytes of lists, or of packages.
const LIMIT: Duration = Duration::from_secs(600);

/// A directory in which apt has lists of its own; deleted at drop.
pub struct Apt {
    root: PathBuf,
}

impl Apt {
    /// Fetches the lists of Debian's `suites` into `root`; where several have a package, the first is preferred. Proxies and the like
    /// are the machine's own.
    pub fn update(root: PathBuf, suites: &[&str]) -> Result<Self> {
        let _ = fs::remove_dir_all(&root); // what a killed run left
        for directory in ["lists/partial", "archives/partial"] {
            fs::create_dir_all(root.join(directory)).with_context(|| root.display().to_string())?;
        }
        let archive = archive()?;
        let signed = if Path::new(KEYRING).exists() { format!("[signed-by={KEYRING}] ") } else { String::new() };
        let sources: String = suites.iter().map(|suite| format!("deb {signed}{archive} {suite} main\n")).collect();
        fs::write(root.join("sources.list"), sources)?;
        fs::write(root.join("status"), "")?;
        fs::write(root.join("apt.conf"), configuration(&root, suites.first().context("no suite is named")?))?;
        let apt = Self { root };
        apt.run("apt-get", &["update", "-qq"])?;
        Ok(apt)
    }

    /// The names of all packages that start with `prefix`.
    pub fn names(&self, prefix: &str) -> Result<Vec<String>> {
        let text = self.run("apt-cache", &["pkgnames", prefix])?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// The names of packages and of all that they need, directly or not.
    fn needed(&self, packages: &[&str]) -> Result<Vec<String>> {
        let kinds = ["recommends", "suggests", "conflicts", "breaks", "replaces", "enhances"];
        let without: Vec<String> = kinds.iter().map(|kind| format!("--no-{kind}")).collect();
        let words = ["depends", "--recurse"].into_iter().chain(without.iter().map(String::as_str));
        let text = self.run("apt-cache", &words.chain(packages.iter().copied()).collect::<Vec<_>>())?;
        // A package's own line begins at the margin; a virtual one stands in brackets.
        Ok(text
            .lines()
            .filter(|line| line.starts_with(|c: char| c.is_ascii_alphanumeric()))
            .map(str::to_owned)
            .collect())
    }

    /// `packages`, and the libraries that they need besides what goes with every system's loader.
    pub fn with_libraries(&self, packages: &[&str]) -> Result<Vec<String>> {
        let is_library = |name: &str| {
            name.starts_with("lib") && !name.ends_with("-dev") && !SYSTEM.iter().any(|of| name.starts_with(of))
        };
        let mut needed = self.needed(packages)?;
        needed.retain(|name| packages.contains(&name.as_str()) || is_library(name));
        Ok(needed)
    }

    /// Downloads packages and unpacks them, one over the other, into `directory`.
    pub fn unpack(&self, packages: &[String], directory: &Path) -> Result<()> {
        let debs = self.root.join("debs");
        fs::create_dir_all(&debs)?;
        let words: Vec<&str> = std::iter::once("download").chain(packages.iter().map(String::as_str)).collect();
        self.run("apt-get", &words)?;
        for deb in fs::read_dir(&debs)? {
            let mut dpkg = Command::new("dpkg-deb");
            dpkg.arg("--extract").arg(deb?.path()).arg(directory);
            process::finish_within(&mut dpkg, LIMIT)?.success()?;
        }
        fs::remove_dir_all(&debs)?;
        Ok(())
    }

    fn run(&self, program: &str, words: &[&str]) -> Result<String> {
        let mut command = Command::new(program);
        command.arg("-c").arg(self.root.join("apt.conf")).args(words).env("LC_ALL", "C");
        let debs = self.root.join("debs");
        command.current_dir(if debs.exists() { debs } else { self.root.clone() });
        Ok(process::finish_within(&mut command, LIMIT)?.success()?.stdout)
    }
}

impl Drop for Apt {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root); // the next run's update does it too
    }
}

/// Read after the machine's own configuration: other places, no hooks, and of each suite only the list of packages.
fn configuration(root: &Path, preferred: &str) -> String {
    let root = root.display();
    format!(
        "Dir::Etc::SourceList \"{root}/sources.list\";
Dir::Etc::SourceParts \"/dev/null\";
Dir::State::Lists \"{root}/lists\";
Dir::State::Status \"{root}/status\";
Dir::Cache \"{root}\";
Dir::Cache::Archives \"archives\";
APT::Default-Release \"{preferred}\";
APT::Architecture \"amd64\";
APT::Architectures {{ \"amd64\"; }};
APT::Sandbox::User \"root\";
Acquire::Languages \"none\";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear Acquire::IndexTargets::deb::DEP-11;
#clear Acquire::IndexTargets::deb::DEP-11-icons;
"
    )
}

/// Where this machine's own sources find Debian's archive: a mirror or a proxy of theirs is used here too.
fn archive() -> Result<String> {
    let mut command = Command::new("apt-get");
    // Needs no lists, and fetches none.
    let text = process::run(command.args(["--print-uris", "update"]).env("LC_ALL", "C"))?;
    // '<archive>/dists/<suite>/InRelease' and more
    let sources = text.lines().filter_map(|line| line.trim_start_matches('\'').split_once("/dists/"));
    let mut archives = sources.map(|(archive, _)| archive.trim_end_matches('/'));
    // Security updates may lie elsewhere.
    let found = archives.find(|archive| archive.rsplit('/').next() == Some("debian"));
    Ok(found.context("apt's sources name no archive of Debian, which has what the tests fetch")?.to_owned())
}
