//! A CPU kept clear of the kernel's other work, as whoever gives a core to a forwarder does: a kernel thread is not preempted on
//! most kernels, and holds up for milliseconds whatever should run there.

use std::{fs, path::PathBuf};

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

/// linux/sched.h: a kernel thread.
const PF_KTHREAD: u64 = 0x0020_0000;
/// CPUs for work that is bound to none, as a mask.
const WORKQUEUES: &str = "/sys/devices/virtual/workqueue/cpumask";

/// What was moved off a CPU; at drop it may return.
#[derive(Debug, Default)]
pub struct Cleared {
    files: Vec<(PathBuf, String)>,
    threads: Vec<(Pid, CpuSet)>,
}

/// Moves interrupts, workqueues and kernel threads off `cpu`, as far as they may run elsewhere.
pub fn clear(cpu: usize) -> Cleared {
    let mut cleared = Cleared::default();
    let interrupts = fs::read_dir("/proc/irq").into_iter().flatten().flatten();
    let files = interrupts.map(|entry| entry.path().join("smp_affinity")).chain([WORKQUEUES.into()]);
    for path in files {
        let before = fs::read_to_string(&path).unwrap_or_default().trim().to_owned();
        // Some stay where they are, whatever is asked.
        if let Some(mask) = without(&before, cpu)
            && fs::write(&path, mask).is_ok()
        {
            cleared.files.push((path, before));
        }
    }
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    for pid in processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).map(Pid::from_raw) {
        let Ok(before) = sched_getaffinity(pid) else { continue };
        let mut after = before;
        if is_kernel_thread(pid)
            && before.is_set(cpu) == Ok(true)
            && after.unset(cpu).is_ok()
            && after != CpuSet::new()
            && sched_setaffinity(pid, &after).is_ok()
        {
            cleared.threads.push((pid, before));
        }
    }
    cleared
}

impl Drop for Cleared {
    fn drop(&mut self) {
        // What is gone meanwhile needs no restoring.
        for (path, before) in &self.files {
            let _ = fs::write(path, before);
        }
        for (pid, before) in &self.threads {
            let _ = sched_setaffinity(*pid, before);
        }
    }
}

/// A mask of CPUs (hexadecimal words, the highest first, between commas) less one of them; `None` where that one is not in it, or
/// none is left.
fn without(mask: &str, cpu: usize) -> Option<String> {
    let words: Option<Vec<u32>> = mask.split(',').map(|word| u32::from_str_radix(word, 16).ok()).collect();
    let mut words = words?;
    let at = words.len().checked_sub(1 + cpu / 32)?;
    let bit = 1 << (cpu % 32);
    let was_in = words[at] & bit != 0;
    words[at] &= !bit;
    let left = words.iter().any(|word| *word != 0);
    (was_in && left).then(|| words.iter().map(|word| format!("{word:08x}")).collect::<Vec<_>>().join(","))
}

/// Whether the process is one of the kernel's.
fn is_kernel_thread(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name, in parentheses, may hold anything; the flags are the seventh word after it.
    let flags = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(6)?.parse::<u64>().ok());
    flags.is_some_and(|flags| flags & PF_KTHREAD != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_is_taken_out_of_a_mask() {
        assert_eq!(without("3", 1).as_deref(), Some("00000001"));
        assert_eq!(without("ffffffff,ffffffff", 33).as_deref(), Some("fffffffd,ffffffff"));
        for (mask, cpu) in [("1", 1), ("2", 1), ("3", 32), ("", 0), ("f,no", 0)] {
            assert_eq!(without(mask, cpu), None, "{mask} {cpu}");
        }
    }

    #[test]
    fn this_process_is_none_of_the_kernels() {
        assert!(!is_kernel_thread(Pid::this()));
        // kthreadd.
        assert!(is_kernel_thread(Pid::from_raw(2)));
    }
}
