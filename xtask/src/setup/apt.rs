//! Packages of Debian and Ubuntu.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::programs::program;
use crate::{root, step};

/// Why root is needed here.
const REASON: &str = "to install packages with apt-get";

/// True on a machine with apt.
pub fn is_here() -> bool {
    program("apt-get").is_some()
}

/// The version of `package` that apt would install.
pub fn candidate(package: &str) -> Option<String> {
    let output = Command::new("apt-cache").args(["policy", package]).env("LC_ALL", "C").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let version = text.lines().find_map(|line| line.trim().strip_prefix("Candidate:"))?.trim();
    (version != "(none)").then(|| version.to_owned())
}

/// The packages of the first list of which apt has every one.
pub fn choose(lists: &[String]) -> Option<Vec<String>> {
    let mut lists = lists.iter().map(|list| list.split(' ').map(str::to_owned).collect::<Vec<_>>());
    lists.find(|list| list.iter().all(|package| candidate(package).is_some()))
}

/// Fetches the lists of packages.
///
/// # Errors
///
/// A source does not answer, or root is not to be had.
pub fn update() -> Result<()> {
    step::quiet("apt: lists of packages", root::command(REASON, "apt-get")?.args(["update", "-qq"]))
}

/// Installs `packages` as they are in the lists; when a list is older than the archive, fetches it and tries again.
///
/// # Errors
///
/// apt-get fails, or root is not to be had.
pub fn install(packages: &[String]) -> Result<()> {
    let install = || -> Result<()> {
        let mut apt = root::command(REASON, "apt-get")?;
        apt.args(["install", "-y", "-qq", "--no-install-recommends"]).args(packages);
        step::quiet(&format!("apt: {} packages", packages.len()), apt.env("DEBIAN_FRONTEND", "noninteractive"))
    };
    eprintln!("apt-get install {}", packages.join(" "));
    install().or_else(|_| update().and_then(|()| install()))
}

/// Adds Debian's security updates to apt's sources: every installed Debian has them, a bare root has not.
///
/// # Errors
///
/// This is not Debian, the file cannot be written, or the update fails.
pub fn add_security() -> Result<()> {
    let release = fs::read_to_string("/etc/os-release").context("/etc/os-release")?;
    let field =
        |name: &str| release.lines().find_map(|line| line.strip_prefix(name)).map(|text| text.trim_matches('"'));
    let (Some("debian"), Some(suite)) = (field("ID="), field("VERSION_CODENAME=")) else {
        bail!("only Debian has rustc-web");
    };
    let file = "/etc/apt/sources.list.d/debian-security.list";
    let source = format!("deb http://deb.debian.org/debian-security {suite}-security main");
    eprintln!("apt's sources lack the security updates: {file} is written");
    let mut shell = root::command(REASON, "sh")?;
    step::quiet("apt: security updates", shell.args(["-c", &format!("echo '{source}' > {file}")]))?;
    update()
}
