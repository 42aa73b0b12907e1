//! Waiting until no XDP program still runs with what was there before.

use std::{io, thread, time::Duration};

/// linux/membarrier.h.
const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;

/// Returns once every run of the XDP program, and the flush of its redirects, that was under way at the call has ended.
///
/// `MEMBARRIER_CMD_GLOBAL` is `synchronize_rcu()` (kernel/sched/membarrier.c), and a NAPI poll, which runs with bottom halves off
/// from the program to `xdp_do_flush()`, is a read-side critical section. Takes about 10 ms.
pub fn wait_for_programs() {
    // SAFETY: the call takes three integers and touches no memory of ours.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if result != 0 {
        // Kernels with nohz_full CPUs refuse it. A NAPI poll ends within its budget of two jiffies: wait well beyond.
        log::debug!("membarrier: {}; waiting 50 ms instead", io::Error::last_os_error());
        thread::sleep(Duration::from_millis(50));
    }
}
