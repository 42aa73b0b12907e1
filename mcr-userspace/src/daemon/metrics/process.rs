//! What the kernel says of mcrd's own process: <https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>.

use std::collections::BTreeMap;

use procfs::{
    CurrentSI, KernelStats, ProcError,
    process::{LimitValue, Process as Proc, Stat},
};

/// The process. What could not be read is absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Process {
    /// Seconds of CPU time.
    pub cpu: Option<f64>,
    /// Bytes of physical memory.
    pub resident: Option<u64>,
    /// Bytes of address space.
    pub virtual_memory: Option<u64>,
    /// Open file descriptors.
    pub open_fds: Option<u64>,
    /// How many there may be.
    pub max_fds: Option<u64>,
    /// Its threads.
    pub threads: Option<u64>,
    /// Seconds of CPU time of the threads that are workers, by the worker's number.
    pub workers: BTreeMap<u32, f64>,
}

/// When the process started, in seconds since 1970; `None` where the kernel does not say.
pub fn started() -> Option<f64> {
    let since_boot = Proc::myself().and_then(|process| process.stat()).ok()?.starttime;
    let boot = KernelStats::current().ok()?.btime;
    Some(boot as f64 + since_boot as f64 / procfs::ticks_per_second() as f64)
}

/// Reads it now.
pub fn read() -> Process {
    let Ok(process) = Proc::myself() else { return Process::default() };
    let stat = process.stat().ok();
    let max_fds = process.limits().ok().and_then(|limits| match limits.max_open_files.soft_limit {
        LimitValue::Value(limit) => Some(limit),
        LimitValue::Unlimited => None,
    });
    Process {
        cpu: stat.as_ref().map(cpu),
        resident: stat.as_ref().map(|stat| stat.rss * procfs::page_size()),
        virtual_memory: stat.as_ref().map(|stat| stat.vsize),
        open_fds: process.fd_count().ok().map(|count| count as u64),
        max_fds,
        threads: stat.as_ref().map(|stat| stat.num_threads as u64),
        workers: workers(&process).unwrap_or_default(),
    }
}

fn workers(process: &Proc) -> Result<BTreeMap<u32, f64>, ProcError> {
    // A thread that ends meanwhile is no worker: they end with the process.
    let stats = process.tasks()?.filter_map(|task| task.and_then(|task| task.stat()).ok());
    Ok(stats.filter_map(|stat| Some((stat.comm.strip_prefix("mcr-worker-")?.parse().ok()?, cpu(&stat)))).collect())
}

fn cpu(stat: &Stat) -> f64 {
    (stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64
}

#[cfg(test)]
mod tests {
    use std::{
        thread,
        time::{Instant, SystemTime, UNIX_EPOCH},
    };

    use super::*;

    #[test]
    fn the_kernel_says_all_of_it() {
        let busy = Instant::now();
        while read().cpu.is_none_or(|cpu| cpu == 0.0) && busy.elapsed().as_secs() < 10 {}
        let process = thread::Builder::new().name("mcr-worker-12".into()).spawn(read).expect("a thread").join();
        let process = process.expect("no panic");
        assert!(process.cpu.is_some_and(|cpu| cpu > 0.0), "{process:?}");
        assert!(process.resident.is_some_and(|bytes| bytes > 1 << 20), "{process:?}");
        assert!(process.virtual_memory > process.resident, "{process:?}");
        assert!(process.open_fds.is_some_and(|fds| fds > 2) && process.max_fds > process.open_fds, "{process:?}");
        assert!(process.threads.is_some_and(|threads| threads > 1), "{process:?}");
        assert_eq!(process.workers.keys().collect::<Vec<_>>(), [&12]);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
        assert!(started().is_some_and(|started| (now - 3600.0..now + 2.0).contains(&started)), "{:?}", started());
    }
}
