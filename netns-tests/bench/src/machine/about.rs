//! What there is to say of the machine.

use std::{fs, process::Command};

use anyhow::Result;
use netns_tests::process;
use serde::Serialize;

use super::cpu::{self, RELAY, SENDER};

/// The machine, as it is named in results.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Machine {
    /// When the run began, UTC.
    pub began: String,
    /// The kernel's release and version.
    pub kernel: String,
    /// The CPU's name.
    pub cpu: String,
    /// CPUs that are online.
    pub cpus: usize,
    /// MiB of memory.
    pub memory_mib: u64,
    /// The distribution.
    pub system: String,
    /// Who runs where.
    pub pinning: String,
    /// The tree's commit, with `+` where it was changed since.
    pub commit: String,
    /// Load average when the run began: others disturb it.
    pub load: String,
}

impl Machine {
    /// This one.
    pub fn now() -> Result<Self> {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.trim_matches([' ', '\t', ':', '=', '"']).to_owned()
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal:");
        let kib: u64 = memory.split(' ').next().and_then(|kib| kib.parse().ok()).unwrap_or(0);
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
        let git = |words: &[&str]| process::run(Command::new("git").args(["-C", root]).args(words)).unwrap_or_default();
        let changed = if git(&["status", "--porcelain", "--untracked-files=no"]).is_empty() { "" } else { "+" };
        let date = process::run(Command::new("date").args(["-u", "+%Y-%m-%d %H:%M:%S"]))?;
        Ok(Self {
            began: date.trim().to_owned(),
            kernel: process::run(Command::new("uname").args(["-r", "-v", "-m"]))?.trim().to_owned(),
            cpu: field(&read("/proc/cpuinfo"), "model name"),
            cpus: cpu::cpus()?,
            memory_mib: kib / 1024,
            system: field(&read("/etc/os-release"), "PRETTY_NAME"),
            pinning: format!(
                "sender, and softirq of what the relay receives, on CPU {SENDER}; relay (mcrd's worker, testpmd's core, \
                 socat's processes), and softirq of what the sink receives from it, on CPU {RELAY}; forwarders in the \
                 kernel run in the sender's softirq; interrupts and kernel threads that may run elsewhere are kept off \
                 CPU {RELAY}; the dual bridge is not pinned"
            ),
            commit: format!("{}{changed}", git(&["rev-parse", "--short", "HEAD"]).trim()),
            load: read("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" "),
        })
    }
}
