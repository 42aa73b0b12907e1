//! Which workers spin, on which CPUs, and where everything else of the daemon runs.
//!
//! A spinning worker keeps its CPU from what else would run there. So it has one of its own, and the daemon's other threads keep off
//! that; at least one CPU is left to these. A worker that finds none of its own waits as `efficient` has it.

use std::io;

use crate::{config::Profile, kernel::sched};

/// The CPUs that this process has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cpus {
    /// Those that it may run on, by their numbers, from the lowest.
    pub allowed: Vec<u32>,
    /// How many CPUs' worth of time it has: no more than these.
    pub time: usize,
}

/// Where workers run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seats {
    /// The CPU of each worker that spins, by its number: the first workers do, from the last CPU down, since the first ones serve most
    /// interrupts.
    pub spinning: Vec<u32>,
    /// CPUs of all other threads; empty where they may run wherever the process may.
    pub rest: Vec<u32>,
    /// Why not all workers spin that should, and what to do, in one line.
    pub warning: Option<String>,
}

impl Cpus {
    /// Asks the kernel.
    ///
    /// # Errors
    ///
    /// Where it does not tell.
    pub fn ask() -> io::Result<Self> {
        Ok(Self { allowed: sched::allowed_cpus()?, time: sched::cpu_time()? })
    }

    /// How many workers there are unless a number is given, where queues do not set a limit.
    pub fn workers(&self, profile: Profile) -> u32 {
        let workers = match profile {
            Profile::Efficient => self.time,
            // All that can spin.
            Profile::LowLatency => self.time.saturating_sub(1),
        };
        workers.max(1) as u32
    }

    /// Where so many workers run.
    pub fn seats(&self, profile: Profile, workers: u32) -> Seats {
        if profile == Profile::Efficient {
            return Seats::default();
        }
        let own = self.time.min(self.allowed.len()).saturating_sub(1).min(workers as usize);
        let (rest, last) = self.allowed.split_at(self.allowed.len() - own);
        let spinning: Vec<u32> = last.iter().rev().copied().collect();
        let warning = (own < workers as usize).then(|| self.warning(own, workers));
        Seats { rest: if own > 0 { rest.to_vec() } else { Vec::new() }, spinning, warning }
    }

    fn warning(&self, spinning: usize, workers: u32) -> String {
        let needed = workers + 1;
        let (has, remedy) = match self.time < self.allowed.len() {
            true => (
                format!("its control group grants it the time of {} (cpu.max)", cpus(self.time)),
                format!("grant it {needed} CPUs (CPUQuota={needed}00%)"),
            ),
            false => (
                format!("it may run on {} ({})", cpus(self.allowed.len()), list(&self.allowed)),
                format!("allow it {needed} CPUs (taskset, AllowedCPUs=)"),
            ),
        };
        let remedy = match spinning {
            0 => format!("{remedy}, or restart it with --profile efficient"),
            _ => format!("{remedy}, or restart it with --workers {spinning}"),
        };
        format!(
            "profile low-latency: {} of {workers} workers {} as in efficient instead of spinning: each needs a CPU of its own, mcrd's other threads need one too, and {has}; {remedy}",
            workers as usize - spinning,
            if workers as usize - spinning == 1 { "waits" } else { "wait" },
        )
    }
}

fn cpus(count: usize) -> String {
    format!("{count} CPU{}", if count == 1 { "" } else { "s" })
}

/// As `taskset -c` takes it, without ranges.
fn list(cpus: &[u32]) -> String {
    cpus.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CPUs of spinning workers, of the rest, and whether there is a warning.
    fn seats(allowed: &[u32], time: usize, workers: u32) -> (Vec<u32>, Vec<u32>, bool) {
        let Seats { spinning, rest, warning } =
            Cpus { allowed: allowed.into(), time }.seats(Profile::LowLatency, workers);
        (spinning, rest, warning.is_some())
    }

    #[test]
    fn a_cpu_is_always_left() {
        assert_eq!(seats(&[0, 1], 2, 1), (vec![1], vec![0], false));
        assert_eq!(seats(&[0, 2, 5, 7], 4, 3), (vec![7, 5, 2], vec![0], false));
        assert_eq!(seats(&[0, 1], 2, 2), (vec![1], vec![0], true));
        assert_eq!(seats(&[0, 1, 2, 3], 4, 8), (vec![3, 2, 1], vec![0], true));
        assert_eq!(seats(&[1], 1, 1), (vec![], vec![], true));
        assert_eq!(seats(&[1], 1, 4), (vec![], vec![], true));
        // A quota.
        assert_eq!(seats(&[0, 1], 1, 1), (vec![], vec![], true));
        assert_eq!(seats(&[0, 1, 2, 3], 2, 1), (vec![3], vec![0, 1, 2], false));
        assert_eq!(seats(&[0, 1, 2, 3], 2, 2), (vec![3], vec![0, 1, 2], true));
    }

    #[test]
    fn what_sleeps_runs_anywhere() {
        let cpus = Cpus { allowed: vec![0, 1], time: 2 };
        assert_eq!(cpus.seats(Profile::Efficient, 2), Seats::default());
    }

    #[test]
    fn as_many_workers_as_find_room() {
        let workers = |allowed: &[u32], time| {
            let cpus = Cpus { allowed: allowed.into(), time };
            (cpus.workers(Profile::Efficient), cpus.workers(Profile::LowLatency))
        };
        assert_eq!(workers(&[3], 1), (1, 1));
        assert_eq!(workers(&[0, 1], 2), (2, 1));
        assert_eq!(workers(&[0, 1, 2, 3], 4), (4, 3));
        assert_eq!(workers(&[0, 1, 2, 3], 2), (2, 1));
    }

    #[test]
    fn the_warning_says_what_lacks_and_what_to_do() {
        let warning = |allowed: &[u32], time, workers| {
            Cpus { allowed: allowed.into(), time }.seats(Profile::LowLatency, workers).warning.expect("one")
        };
        assert_eq!(
            warning(&[1], 1, 1),
            "profile low-latency: 1 of 1 workers waits as in efficient instead of spinning: each needs a CPU of its own, mcrd's other threads need one too, and it may run on 1 CPU (1); allow it 2 CPUs (taskset, AllowedCPUs=), or restart it with --profile efficient"
        );
        assert_eq!(
            warning(&[0, 1, 2], 2, 3),
            "profile low-latency: 2 of 3 workers wait as in efficient instead of spinning: each needs a CPU of its own, mcrd's other threads need one too, and its control group grants it the time of 2 CPUs (cpu.max); grant it 4 CPUs (CPUQuota=400%), or restart it with --workers 1"
        );
    }
}
