//! Named network namespaces that vanish with their owner, after a panic too.

use std::{
    fs::{self, File},
    path::Path,
    process::{Command, id},
    sync::{
        Once,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use anyhow::{Context, Result};
use nix::{
    sched::{CloneFlags, setns},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::process;

/// Where `ip netns` keeps its names.
const DIRECTORY: &str = "/run/netns";
/// All names start so, then come the owner's pid, a number, and a label.
const PREFIX: &str = "mcrt-";

/// Set in every namespace, before it has an interface: no IPv6 autoconfiguration in the counters, and packets whose
/// source lies behind the relay (`source = "keep"`) are received. Bridges do not ask the firewall about each packet.
const SYSCTLS: &str = "
    for scope in all default; do
        if [ -d /proc/sys/net/ipv6 ]; then echo 1 > /proc/sys/net/ipv6/conf/$scope/disable_ipv6; fi
        echo 0 > /proc/sys/net/ipv4/conf/$scope/rp_filter
    done
    for call in /proc/sys/net/bridge/bridge-nf-call-*; do
        if [ -e $call ]; then echo 0 > $call; fi
    done
    ip link set lo up";

/// A network namespace; dropping it kills what still runs inside and deletes it with its interfaces.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes a namespace whose name is unique on this machine and ends with `label`.
    ///
    /// The first call of a process deletes what processes that are gone have left.
    pub fn create(label: &str) -> Result<Self> {
        static SWEEP: Once = Once::new();
        static NEXT: AtomicU32 = AtomicU32::new(0);
        SWEEP.call_once(sweep);

        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let namespace = Self { name: format!("{PREFIX}{}-{number}-{label}", id()) };
        process::run(Command::new("ip").args(["netns", "add", &namespace.name]))?;
        process::run(namespace.command("sh").args(["-ec", SYSCTLS])).context("cannot quieten a namespace")?;
        Ok(namespace)
    }

    /// The name that `ip netns` knows it by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A command that runs `program` inside.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program.as_ref());
        command
    }

    /// Runs a line of words inside and returns its standard output; its failure is an error.
    pub fn run(&self, line: &str) -> Result<String> {
        let mut words = line.split_whitespace();
        process::run(self.command(words.next().unwrap_or_default()).args(words))
    }

    /// Runs `make` on a thread inside. A socket that it makes stays inside, whoever uses it later.
    pub fn enter<T: Send>(&self, make: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let file = File::open(Path::new(DIRECTORY).join(&self.name))?;
        let inside = || {
            setns(file, CloneFlags::CLONE_NEWNET).context("cannot enter a namespace")?;
            make()
        };
        thread::scope(|scope| scope.spawn(inside).join().expect("no panic"))
    }

    /// Feeds `ip -batch` with `lines`, one command each.
    pub fn ip_batch(&self, lines: &str) -> Result<()> {
        process::feed(Command::new("ip").args(["-n", &self.name, "-batch", "-"]), lines)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        delete(&self.name);
    }
}

/// Deletes the namespaces of processes that are gone: a test killed with SIGKILL drops nothing.
fn sweep() {
    let Ok(entries) = fs::read_dir(DIRECTORY) else { return };
    for name in entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()) {
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        let Some(owner) = owner else { continue };
        // This process has made none yet: one with its pid is an earlier process's.
        if owner == id() || kill(Pid::from_raw(owner.cast_signed()), None).is_err() {
            delete(&name);
        }
    }
}

/// Kills what runs in a namespace of ours and deletes it; errors mean that it is gone already.
fn delete(name: &str) {
    if let Ok(pids) = process::run(Command::new("ip").args(["netns", "pids", name])) {
        for pid in pids.split_whitespace().filter_map(|pid| pid.parse().ok()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
    let _ = process::run(Command::new("ip").args(["netns", "del", name]));
}
