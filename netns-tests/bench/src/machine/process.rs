//! Processes: their memory and the CPU that they used.

use std::fs;

use anyhow::{Context, Result};
use nix::{
    time::{clock_getcpuclockid, clock_gettime},
    unistd::Pid,
};

/// KiB of resident memory: the sum over the processes, shared pages counted in each.
pub fn resident_kib(pids: &[Pid]) -> Result<u64> {
    let mut sum = 0;
    for pid in pids {
        let path = format!("/proc/{pid}/status");
        let text = fs::read_to_string(&path).context(path)?;
        sum += field(&text, "VmRSS:");
    }
    Ok(sum)
}

/// Seconds of CPU that processes have used, all their threads: by the scheduler's own clock, not by ticks, between which naps
/// would hide.
pub fn cpu_seconds(pids: &[Pid]) -> Result<f64> {
    let mut seconds = 0.0;
    for pid in pids {
        let clock = clock_getcpuclockid(*pid).with_context(|| format!("the CPU clock of process {pid}"))?;
        let time = clock_gettime(clock).with_context(|| format!("the CPU clock of process {pid}"))?;
        seconds += time.tv_sec() as f64 + time.tv_nsec() as f64 / 1e9;
    }
    Ok(seconds)
}

fn field(status: &str, name: &str) -> u64 {
    let value = status.lines().find_map(|line| line.strip_prefix(name));
    value.and_then(|value| value.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_uses_cpu() {
        let own = [Pid::this()];
        assert!(resident_kib(&own).unwrap() > 500);
        let start = std::time::Instant::now();
        let before = cpu_seconds(&own).unwrap();
        while start.elapsed().as_millis() < 100 {}
        assert!(cpu_seconds(&own).unwrap() > before);
    }
}
