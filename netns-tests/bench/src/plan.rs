//! How long a run may take, and what it has time for.

/// Sizes, counts and seconds of a run. A measure ends with the repeat that used its seconds up, but has one in any case.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its name.
    pub extent: &'static str,
    /// Frames for throughput, in bytes without FCS.
    pub sizes: &'static [u32],
    /// Streams for throughput.
    pub streams: &'static [u32],
    /// Repeats of throughput where a goal is on it, with 50 streams.
    pub repeats: u32,
    /// Repeats of all else.
    pub others: u32,
    /// How near the two sides of the border between loss and none must come, as a factor.
    pub near: f64,
    /// Seconds of one trial of a search.
    pub trial: f64,
    /// Seconds of the trial that confirms what a search found.
    pub confirm: f64,
    /// Numbers of outputs.
    pub outputs: &'static [u32],
    /// Rates for latency, with the seconds of each.
    pub latency: &'static [(u32, f64)],
    /// Seconds of a trial for CPU.
    pub cpu: f64,
    /// Numbers of rules.
    pub rules: &'static [u32],
    /// Rules that are added one by one.
    pub adds: u32,
    /// Seconds at rest.
    pub idle: f64,
    /// Seconds of overload.
    pub overload: f64,
    /// Seconds of the dual bridge.
    pub bridge: u64,
    /// Seconds of the one-stream chain.
    pub chain: f64,
    /// Seconds for each measure, see [`Budget`].
    pub budget: Budget,
    /// Seconds after which nothing more begins; what is left out for it is said.
    pub limit: u64,
}

/// Seconds for each measure.
#[derive(Clone, Debug)]
pub struct Budget {
    /// Throughput.
    pub throughput: u64,
    /// Several outputs.
    pub outputs: u64,
    /// Latency.
    pub latency: u64,
    /// CPU.
    pub cpu: u64,
    /// Numbers of rules.
    pub rules: u64,
    /// Adding and reloading.
    pub control: u64,
    /// Rest, and memory.
    pub idle: u64,
    /// Overload.
    pub overload: u64,
    /// Dual bridge and long chain, which have one repeat.
    pub founding: u64,
}

/// Under half an hour.
pub const FULL: Plan = Plan {
    extent: "full",
    sizes: &[64, 256, 512, 1024, 1400],
    streams: &[1, 50],
    repeats: 5,
    others: 3,
    near: 1.02,
    trial: 0.15,
    confirm: 0.6,
    outputs: &[1, 2, 4, 6, 8],
    latency: &[(100, 4.0), (1_000, 2.0), (10_000, 2.0), (150_000, 2.0)],
    cpu: 5.0,
    rules: &[1, 100, 10_000],
    adds: 50,
    idle: 5.0,
    overload: 3.0,
    bridge: 15,
    chain: 60.0,
    budget: Budget {
        throughput: 480,
        outputs: 150,
        latency: 220,
        cpu: 150,
        rules: 120,
        control: 30,
        idle: 50,
        overload: 40,
        founding: 220,
    },
    limit: 29 * 60,
};

/// Under three minutes.
pub const QUICK: Plan = Plan {
    extent: "quick",
    sizes: &[64, 1024],
    streams: &[50],
    repeats: 1,
    others: 1,
    near: 1.05,
    trial: 0.08,
    confirm: 0.2,
    outputs: &[1, 8],
    latency: &[(100, 0.5), (1_000, 0.4), (10_000, 0.4), (150_000, 0.4)],
    cpu: 0.6,
    rules: &[1, 10_000],
    adds: 10,
    idle: 0.6,
    overload: 2.0,
    bridge: 3,
    chain: 1.0,
    budget: Budget {
        throughput: 45,
        outputs: 20,
        latency: 25,
        cpu: 15,
        rules: 10,
        control: 5,
        idle: 10,
        overload: 15,
        founding: 20,
    },
    limit: 170,
};

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(plan: &Plan) -> u64 {
        let Budget { throughput, outputs, latency, cpu, rules, control, idle, overload, founding } = &plan.budget;
        throughput + outputs + latency + cpu + rules + control + idle + overload + founding
    }

    #[test]
    fn budgets_leave_room_for_what_overruns() {
        assert!(seconds(&FULL) <= FULL.limit - 120, "{}", seconds(&FULL));
    }
}
