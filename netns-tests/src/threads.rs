//! A process's threads as /proc shows them.

use std::{fs, time::Duration};

use anyhow::{Context, Result};
use nix::unistd::Pid;

/// One thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// Its name, at most 15 bytes.
    pub name: String,
    /// Its nice value.
    pub nice: i32,
    /// The CPUs that it may run on, as `taskset -c` takes them.
    pub cpus: String,
    /// How long it has run.
    pub ran: Duration,
    /// How long it has waited for a CPU that another had.
    pub waited: Duration,
}

/// All threads of a process.
pub fn of(pid: Pid) -> Result<Vec<Thread>> {
    let mut threads = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        let path = entry?.path();
        // One may end meanwhile.
        let read = |name: &str| fs::read_to_string(path.join(name));
        let (Ok(stat), Ok(status), Ok(schedstat)) = (read("stat"), read("status"), read("schedstat")) else {
            continue;
        };
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        // proc_pid_stat(5): nice is field 19; the name, field 2, is in parentheses.
        let (_, fields) = stat.rsplit_once(')').context("no name in stat")?;
        let nice = fields.split_whitespace().nth(16).context("no nice value in stat")?.parse()?;
        // Documentation/scheduler/sched-stats.rst: time on a CPU, time waiting for one.
        let time = |at| -> Result<Duration> {
            let text = schedstat.split(' ').nth(at).context("no time in schedstat")?;
            Ok(Duration::from_nanos(text.parse()?))
        };
        threads.push(Thread {
            name: field("Name:").context("no name")?.to_owned(),
            nice,
            cpus: field("Cpus_allowed_list:").context("no CPUs")?.to_owned(),
            ran: time(0)?,
            waited: time(1)?,
        });
    }
    Ok(threads)
}
