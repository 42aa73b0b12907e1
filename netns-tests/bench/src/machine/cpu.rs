//! CPUs: who runs on which, and how much of them was used.

use std::{fs, io, time::Instant};

use anyhow::{Context, Result, ensure};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::{Pid, SysconfVar, sysconf},
};

/// The CPU that sends. What an interface of veth receives is handled on the CPU that sent it, so this one also takes packets in
/// for the forwarder, and forwarders in the kernel do all of their work on it.
pub const SENDER: usize = 0;
/// The CPU that forwards: workers, processes. What it sends it also receives for the sink.
pub const RELAY: usize = 1;

/// Words that start a program on the forwarder's CPU, before other programs there: mcr's workers see to that by themselves.
pub const ON_RELAY: [&str; 6] = ["nice", "-n", "-20", "taskset", "-c", "1"];
/// Words that start a program which binds what forwards to the last CPU that it may run on, and whose other threads must not be
/// there: a worker that spins leaves them nothing.
pub const ON_BOTH: [&str; 6] = ["nice", "-n", "-20", "taskset", "-c", "0,1"];

/// Binds the calling thread.
pub fn bind(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("cannot run on CPU {cpu}"))
}

/// Lets the calling thread run before other programs, which must not disturb it.
pub fn prefer() -> Result<()> {
    // SAFETY: takes integers; 0 is the calling thread.
    ensure!(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -20) } == 0, "nice -20: {}", io::Error::last_os_error());
    Ok(())
}

/// A moment, and how long all CPUs together had been idle by then.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    at: Instant,
    /// Seconds.
    idle: f64,
    cpus: f64,
}

impl Usage {
    /// Now.
    pub fn now() -> Result<Self> {
        let text = fs::read_to_string("/proc/stat").context("/proc/stat")?;
        let idle = idle_ticks(&text)? as f64 / ticks_per_second()?;
        Ok(Self { at: Instant::now(), idle, cpus: cpus()? as f64 })
    }

    /// Seconds of CPU that something used since: wall time x CPUs minus idle and steal, so that nothing can hide between two
    /// ticks.
    pub fn busy_since(&self, earlier: &Self) -> f64 {
        let wall = (self.at - earlier.at).as_secs_f64();
        (wall * self.cpus - (self.idle - earlier.idle)).max(0.0)
    }
}

/// CPUs that are online.
pub fn cpus() -> Result<usize> {
    Ok(sysconf(SysconfVar::_NPROCESSORS_ONLN)?.context("the number of CPUs")? as usize)
}

/// /proc's unit of time.
fn ticks_per_second() -> Result<f64> {
    Ok(sysconf(SysconfVar::CLK_TCK)?.context("ticks a second")? as f64)
}

/// Idle, waiting for disks, or taken by the host, from the first line of /proc/stat.
fn idle_ticks(stat: &str) -> Result<u64> {
    let line = stat.lines().next().unwrap_or_default();
    let fields: Vec<u64> = line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal ...
    ensure!(line.starts_with("cpu ") && fields.len() >= 8, "/proc/stat begins with {line:?}");
    Ok(fields[3] + fields[4] + fields[7])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_is_idle_iowait_and_steal() {
        let text = "cpu  10 20 30 400 5 6 7 80 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n";
        assert_eq!(idle_ticks(text).unwrap(), 485);
        assert!(idle_ticks("intr 1 2 3").is_err());
    }

    #[test]
    fn spinning_is_seen() {
        let before = Usage::now().unwrap();
        while before.at.elapsed().as_millis() < 200 {}
        let after = Usage::now().unwrap();
        // Others may use the CPUs too.
        assert!(after.busy_since(&before) > 0.15, "{before:?} {after:?}");
    }
}
