//! `stats` of some rules, and what `top` asks for: few rules, or few counters of each, so that little travels.

use std::collections::BTreeSet;

use super::{
    alter::unchosen,
    retire::Shared,
    standing::Standing,
    state::{State, Totals},
};
use crate::{
    control::protocol::{Response, STATS_VERSION, Stats, Top, TopRule},
    rules::{glob::matching, rule::Rule},
};

impl Shared {
    /// `stats` of the rules that `patterns` choose; of all, where there are none.
    pub fn chosen_stats(&self, patterns: Vec<String>) -> Response {
        if patterns.is_empty() {
            self.settle();
            return Response::Stats(self.lock().stats());
        }
        // What is wrong is said before workers are asked for anything.
        if let Err(refused) = self.lock().chosen(&patterns) {
            return *refused;
        }
        self.settle();
        let state = self.lock();
        match state.chosen(&patterns) {
            Ok(rules) => Response::Stats(state.stats_of(&rules)),
            Err(refused) => *refused,
        }
    }

    /// The sums of each rule.
    pub fn top(&self) -> Response {
        self.settle();
        Response::Top(self.lock().top())
    }
}

impl State {
    fn chosen(&self, patterns: &[String]) -> Result<Vec<&Rule>, Box<Response>> {
        let names = matching(patterns, self.set.by_name()).map_err(|error| Box::new(unchosen(&error)))?;
        Ok(names.into_iter().filter_map(|name| self.set.get(name)).collect())
    }

    /// Totals, interfaces and memberships are those of `rules`.
    fn stats_of(&self, rules: &[&Rule]) -> Stats {
        let mut totals = Totals::default();
        rules.iter().for_each(|rule| totals.add(&self.reading(rule)));
        let named: BTreeSet<&str> = rules.iter().flat_map(|rule| rule.interfaces()).collect();
        let mut interfaces = self.interface_stats();
        interfaces.retain(|interface| named.contains(interface.name.as_str()));
        Stats {
            version: STATS_VERSION,
            uptime_seconds: self.started.elapsed().as_secs_f64(),
            totals: super::report::totals_view(&totals),
            rules: rules.iter().map(|rule| self.rule_stats(rule)).collect(),
            interfaces,
            workers: self.worker_stats(),
            memberships: self.members.view_of(rules.iter().map(|rule| &rule.matcher)),
        }
    }

    fn top(&self) -> Top {
        let now = std::time::Instant::now();
        let row = |rule: &Rule| {
            let Standing { state, reason: state_reason } = self.standing(rule);
            let mut totals = Totals::default();
            totals.add(&self.reading(rule));
            let silence = self.live.get(&rule.name).and_then(|live| live.hearing.silence(now));
            TopRule {
                name: rule.name.clone(),
                state,
                state_reason,
                matched_packets: totals.matched_packets,
                matched_bytes: totals.matched_bytes,
                sent_packets: totals.outputs.sent,
                lost_packets: totals.dropped.iter().sum::<u64>() + totals.output_dropped(),
                silent_seconds: silence.map(|silence| silence.as_secs_f64()),
            }
        };
        Top {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_seconds: self.started.elapsed().as_secs_f64(),
            rules: self.set.iter().map(row).collect(),
        }
    }
}
