//! The scheduler: where threads may run, and how much of a CPU they are given.

use std::{collections::BTreeSet, fs, io, thread, time::Duration};

use rustix::{
    process::{getpriority_process, setpriority_process},
    thread::{CpuSet, Pid, sched_getaffinity, sched_setaffinity},
};

/// CPUs that the calling thread may run on, by their numbers.
///
/// # Errors
///
/// As `sched_getaffinity(2)`: EINVAL on a machine with more CPUs than a [`CpuSet`] holds.
pub fn allowed_cpus() -> io::Result<Vec<u32>> {
    let set = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).map(|cpu| cpu as u32).collect())
}

/// How many CPUs' worth of time the calling thread has: the CPUs that it may run on, or fewer where its control group has a quota
/// (`cpu.max`, `cpu.cfs_quota_us`), rounded down; at least 1.
///
/// # Errors
///
/// Where the system does not tell.
pub fn cpu_time() -> io::Result<usize> {
    thread::available_parallelism().map(usize::from)
}

/// Lets the calling thread, and threads that it starts, run on these CPUs alone.
///
/// # Errors
///
/// As `sched_setaffinity(2)`: EINVAL where none of them is there, or allowed.
pub fn bind(cpus: &[u32]) -> io::Result<()> {
    Ok(sched_setaffinity(None, &set_of(cpus))?)
}

/// Lets every thread of this process, and threads that they start, run on these CPUs alone.
///
/// # Errors
///
/// As [`bind`], and where /proc does not tell the threads.
pub fn bind_all(cpus: &[u32]) -> io::Result<()> {
    let set = set_of(cpus);
    let mut bound = BTreeSet::new();
    loop {
        let before = bound.len();
        for entry in fs::read_dir("/proc/self/task")? {
            let Some(thread) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let Some(pid) = Pid::from_raw(thread).filter(|_| bound.insert(thread)) else { continue };
            match sched_setaffinity(Some(pid), &set) {
                // It has ended meanwhile.
                Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // One that was not bound yet may have started another since the directory was read.
        if bound.len() == before {
            return Ok(());
        }
    }
}

fn set_of(cpus: &[u32]) -> CpuSet {
    let mut set = CpuSet::new();
    cpus.iter().map(|&cpu| cpu as usize).filter(|&cpu| cpu < CpuSet::MAX_CPU).for_each(|cpu| set.set(cpu));
    set
}

/// The calling thread's nice value: of a thread, although POSIX has one for the whole process (setpriority(2), "C library/kernel
/// differences").
///
/// # Errors
///
/// As `getpriority(2)`.
pub fn nice() -> io::Result<i32> {
    Ok(getpriority_process(None)?)
}

/// Sets the calling thread's nice value.
///
/// # Errors
///
/// As `setpriority(2)`: EACCES for a lower one without CAP_SYS_NICE, where RLIMIT_NICE does not allow it either.
pub fn set_nice(nice: i32) -> io::Result<()> {
    Ok(setpriority_process(None, nice)?)
}

/// The lowest nice value beside which a busy thread of nice 0 keeps this part of a CPU, from 0 to 0.5: each step is a factor of 1.25
/// (`sched_prio_to_weight`, kernel/sched/core.c).
pub fn nice_that_leaves(share: f64) -> i32 {
    let times = (1.0 - share) / share.max(f64::MIN_POSITIVE);
    -(times.ln() / 1.25_f64.ln()).clamp(0.0, 20.0).round() as i32
}

/// What a thread has had of its CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Time on it.
    pub cpu: Duration,
    /// How often the scheduler took it from there for another (`ru_nivcsw`, getrusage(2)).
    pub preempted: u64,
}

/// What the calling thread has had.
pub fn usage() -> Usage {
    let mut cpu = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes a `timespec` where there is one. The clock is there since Linux 2.6.12.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut cpu) };
    // SAFETY: all zero is a valid `rusage`, and the kernel writes one where there is one.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_THREAD, &mut usage);
        usage
    };
    Usage { cpu: Duration::new(cpu.tv_sec as u64, cpu.tv_nsec as u32), preempted: usage.ru_nivcsw as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nice_values_are_those_of_the_kernels_table() {
        // The weight of a nice value in the table; that of nice 0 is 1,024.
        for (nice, weight) in [(-20, 88_761.0), (-15, 29_154.0), (-10, 9_548.0), (-3, 1_991.0), (0, 1_024.0)] {
            assert_eq!(nice_that_leaves(1_024.0 / (1_024.0 + weight)), nice);
        }
        assert_eq!((nice_that_leaves(0.0), nice_that_leaves(0.05), nice_that_leaves(0.5)), (-20, -13, 0));
    }

    #[test]
    fn work_is_time_on_the_cpu() {
        let begun = std::time::Instant::now();
        let before = usage();
        while begun.elapsed() < Duration::from_millis(5) {}
        let (worked, took) = (usage().cpu - before.cpu, begun.elapsed());
        assert!(worked > Duration::ZERO && worked <= took, "{worked:?} of {took:?}");
    }

    /// Of every thread, those that are started meanwhile included, and of those that they start.
    #[test]
    fn all_threads_are_bound() {
        let allowed = allowed_cpus().expect("it is told");
        let last = *allowed.last().expect("one at least");
        let (started, go) = std::sync::mpsc::channel();
        let found = thread::scope(|scope| {
            let child = scope.spawn(move || {
                go.recv().expect("the other end is there");
                let own = allowed_cpus();
                (own, thread::spawn(allowed_cpus).join().expect("no panic"))
            });
            bind_all(&[last]).expect("it is allowed");
            started.send(()).expect("it waits");
            child.join().expect("no panic")
        });
        bind_all(&allowed).expect("it was allowed before");
        assert_eq!((found.0.expect("told"), found.1.expect("told")), (vec![last], vec![last]));
        assert_eq!(allowed_cpus().expect("told"), allowed);
        assert!(bind_all(&[]).is_err(), "an empty set");
    }
}
