//! The goals that mcr was built to, each against what this run found. Ratios within the run; a figure that is missing is said
//! to be.

use super::{
    goal::{Bound, Goal},
    spread::ratio,
};
use crate::{
    measure::{
        cpu, idle, overload,
        rules::SIZE,
        throughput::{GOAL_SIZES, GOAL_STREAMS},
    },
    relay::Contender::{self, Limit, McrEfficient, McrLowLatency, Nftables, Socat, Testpmd},
    results::{Key, Results, What},
};

/// A median delay above this, a tenth below the lossless rate, is a queue that has grown: some thousand frames of a ring take
/// longer.
const QUEUE_US: f64 = 1_000.0;

/// Every goal.
pub fn judge(results: &Results) -> Vec<Goal> {
    let mut goals = Goals { results, goals: Vec::new() };
    goals.throughput();
    goals.cpu();
    goals.latency();
    goals.outputs();
    goals.rules();
    goals.rest();
    goals.overload();
    goals.goals
}

struct Goals<'a> {
    results: &'a Results,
    goals: Vec<Goal>,
}

impl Goals<'_> {
    fn add(&mut self, figure: String, bound: Bound, unit: impl Into<String>, measured: Option<f64>) {
        self.goals.push(Goal { figure, bound, unit: unit.into(), measured });
    }

    /// The median of ratios within repeats, of one contender to another.
    fn ratio(&self, what: impl Fn(Contender) -> Key, of: Contender, to: Contender) -> Option<f64> {
        ratio(self.results.runs(what(of))?, self.results.runs(what(to))?)
    }

    fn throughput(&mut self) {
        let key = |size| move |who| Key::of(What::Throughput, who).streams(GOAL_STREAMS).size(size);
        let ratios = |goals: &Self, of, to| GOAL_SIZES.map(|size| (size, goals.ratio(key(size), of, to)));
        for (who, least) in [(McrLowLatency, 0.97), (McrEfficient, 0.9)] {
            let ratios = ratios(self, who, Testpmd);
            for (size, ratio) in ratios {
                let figure = format!("throughput, {GOAL_STREAMS} streams, {size} B, {}", who.name());
                self.add(figure, Bound::AtLeast(least), "x testpmd", ratio);
            }
            if who == McrLowLatency {
                let all: Option<Vec<f64>> = ratios.into_iter().map(|(_, ratio)| ratio).collect();
                let mean = all.map(|all| all.iter().sum::<f64>() / all.len() as f64);
                let figure = format!("throughput, {GOAL_STREAMS} streams, mean of the sizes, {}", who.name());
                self.add(figure, Bound::AtLeast(1.0), "x testpmd", mean);
            }
        }
        for (size, ratio) in ratios(self, McrLowLatency, Socat) {
            let figure = format!("throughput, {GOAL_STREAMS} streams, {size} B, {}", McrLowLatency.name());
            self.add(figure, Bound::AtLeast(5.0), "x socat", ratio);
        }
    }

    fn cpu(&mut self) {
        let key = |who| Key::of(What::Cpu, who).streams(cpu::STREAMS).rate(cpu::RATE);
        for (to, most) in [(Nftables, 2.5), (Socat, 0.1)] {
            let figure = format!("CPU over the wire, {}/s, 1024 B, {}", cpu::RATE, McrEfficient.name());
            self.add(figure, Bound::AtMost(most), format!("x {}", to.name()), self.ratio(key, McrEfficient, to));
        }
    }

    fn latency(&mut self) {
        let both = [(What::LatencyP50, "p50"), (What::LatencyP99, "p99")];
        for ((what, name), most) in both.into_iter().zip([1.3, 2.0]) {
            let measured = self.ratio(|who| Key::of(what, who).rate(10_000), McrLowLatency, Limit);
            let figure = format!("latency {name}, 10000/s, {}", McrLowLatency.name());
            self.add(figure, Bound::AtMost(most), format!("x {}", Limit.name()), measured);
        }
        for rate in [100, 1_000, 10_000] {
            for (what, name) in both {
                let measured = self.ratio(|who| Key::of(what, who).rate(rate), McrEfficient, Socat);
                let figure = format!("latency {name}, {rate}/s, {}", McrEfficient.name());
                self.add(figure, Bound::AtMost(1.0), "x socat", measured);
            }
        }
        for size in GOAL_SIZES {
            let key = Key::of(What::ThroughputDelay, McrEfficient).streams(GOAL_STREAMS).size(size);
            let figure = format!(
                "median delay at 0.9 of the lossless rate, {GOAL_STREAMS} streams, {size} B, {}",
                McrEfficient.name()
            );
            self.add(figure, Bound::AtMost(QUEUE_US), "us", self.results.median(key));
        }
    }

    fn outputs(&mut self) {
        let key = |outputs| Key::of(What::Outputs, McrLowLatency).outputs(outputs);
        let own = self.results.runs(key(8)).zip(self.results.runs(key(1))).and_then(|(eight, one)| ratio(eight, one));
        let figure = format!("8 outputs, 1024 B, packets out, {}", McrLowLatency.name());
        self.add(figure.clone(), Bound::AtLeast(1.5), "x its own single output", own);
        let socat = self.ratio(|who| Key::of(What::Outputs, who).outputs(8), McrLowLatency, Socat);
        self.add(figure, Bound::AtLeast(8.0), "x socat", socat);
    }

    fn rules(&mut self) {
        let of = |what| {
            let key = |rules| Key::of(what, McrLowLatency).streams(rules).size(SIZE);
            self.results.runs(key(10_000)).zip(self.results.runs(key(1))).and_then(|(many, one)| ratio(many, one))
        };
        let (throughput, time) = (of(What::Rules), of(What::RulesXdp));
        self.add("10000 rules: throughput".into(), Bound::AtLeast(0.95), "x with 1 rule", throughput);
        self.add("10000 rules: XDP run time".into(), Bound::AtMost(1.5), "x with 1 rule", time);
    }

    fn rest(&mut self) {
        let of = |what| self.results.median(Key::of(what, McrEfficient).streams(idle::STREAMS));
        let (idle, resident) = (of(What::Idle), of(What::Resident));
        self.add(format!("at rest, {} rules", idle::STREAMS), Bound::AtMost(0.5), "% of a core", idle);
        self.add(format!("resident memory, {} rules", idle::STREAMS), Bound::AtMost(100.0), "MiB", resident);
    }

    fn overload(&mut self) {
        for who in [McrLowLatency, McrEfficient] {
            let of = |what| self.results.median(Key::of(what, who).outputs(overload::OUTPUTS));
            let name = format!("overload, {} outputs, {}", overload::OUTPUTS, who.name());
            let (goodput, delay) = (of(What::OverloadGoodput), of(What::OverloadDelay));
            // The sum must hold in every repeat, in both directions.
            let runs = self.results.runs(Key::of(What::OverloadUntold, who).outputs(overload::OUTPUTS));
            let untold = runs.and_then(|runs| runs.0.iter().map(|lost| lost.abs()).max_by(f64::total_cmp));
            self.add(format!("{name}: goodput"), Bound::AtLeast(0.9), "x its lossless rate", goodput);
            self.add(format!("{name}: standing queue"), Bound::AtMost(5_000.0), "us (median)", delay);
            self.add(format!("{name}: losses in no counter"), Bound::AtMost(0.0), "packets", untold);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::about::Machine;

    fn found(goals: &[Goal], figure: &str, unit: &str) -> (Option<f64>, Option<bool>) {
        let goal = goals.iter().find(|goal| goal.figure == figure && goal.unit == unit);
        let goal = goal.unwrap_or_else(|| panic!("no goal {figure:?} in {unit:?}"));
        (goal.measured, goal.is_met())
    }

    #[test]
    fn without_figures_nothing_is_met() {
        let goals = judge(&Results::new("quick", Machine::default(), Vec::new()));
        assert!(goals.len() > 25 && goals.iter().all(|goal| goal.is_met().is_none()), "{goals:?}");
    }

    #[test]
    fn figures_are_held_against_their_own_repeats() {
        let mut results = Results::new("quick", Machine::default(), Vec::new());
        for (mcr, dpdk) in [(90.0, 100.0), (98.0, 100.0), (49.0, 50.0)] {
            for (who, value) in [(McrLowLatency, mcr), (McrEfficient, mcr), (Testpmd, dpdk)] {
                results.add(Key::of(What::Throughput, who).streams(50).size(64), value);
            }
        }
        for (who, value) in [(McrEfficient, 3.0), (Nftables, 1.0), (Socat, 40.0)] {
            results.add(Key::of(What::Cpu, who).streams(cpu::STREAMS).rate(cpu::RATE), value);
        }
        for untold in [0.0, -3.0, 0.0] {
            results.add(Key::of(What::OverloadUntold, McrEfficient).outputs(8), untold);
        }
        let goals = judge(&results);
        let throughput = |who: Contender| format!("throughput, 50 streams, 64 B, {}", who.name());
        assert_eq!(found(&goals, &throughput(McrLowLatency), "x testpmd"), (Some(0.98), Some(true)));
        assert_eq!(found(&goals, &throughput(McrEfficient), "x testpmd"), (Some(0.98), Some(true)));
        assert_eq!(found(&goals, &throughput(McrLowLatency), "x socat"), (None, None));
        // One of three sizes was measured, so there is no mean.
        assert_eq!(
            found(&goals, "throughput, 50 streams, mean of the sizes, mcr-low-latency", "x testpmd"),
            (None, None)
        );
        let cpu = "CPU over the wire, 150000/s, 1024 B, mcr-efficient";
        assert_eq!(found(&goals, cpu, "x nftables"), (Some(3.0), Some(false)));
        assert_eq!(found(&goals, cpu, "x socat"), (Some(0.075), Some(true)));
        let untold = "overload, 8 outputs, mcr-efficient: losses in no counter";
        assert_eq!(found(&goals, untold, "packets"), (Some(3.0), Some(false)));
    }
}
