//! Rules with their rates, made of the counters of one second and the next.

use std::{
    cmp::Ordering,
    collections::{HashMap, VecDeque},
};

use crate::{
    control::protocol::{RuleState, Top, TopRule},
    ctl::stats::Rate,
    rules::order::natural,
};

/// Seconds of rates that are kept for each rule.
const KEPT: usize = 120;

/// One rule.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    /// Its counters.
    pub(super) rule: TopRule,
    /// Its rates; `None` until there are two readings.
    pub(super) rates: Option<Rates>,
    /// Packets a second, the newest last.
    pub(super) history: VecDeque<f64>,
}

/// What came in the last second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rates {
    /// Packets a second matched.
    pub(super) matched: f64,
    /// Bits a second matched.
    pub(super) bits: f64,
    /// Packets a second that all outputs sent.
    pub(super) sent: f64,
    /// Packets a second lost.
    pub(super) lost: f64,
}

/// What rules are ordered by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sort {
    #[default]
    Worst,
    Lost,
    Packets,
    Bits,
    Silent,
    Name,
}

impl Sort {
    const ALL: [Self; 6] = [Self::Worst, Self::Lost, Self::Packets, Self::Bits, Self::Silent, Self::Name];

    /// Its word.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Worst => "worst",
            Self::Lost => "loss/s",
            Self::Packets => "pps",
            Self::Bits => "Mbit/s",
            Self::Silent => "last packet",
            Self::Name => "name",
        }
    }

    /// The one after it.
    pub(super) fn next(self) -> Self {
        let at = Self::ALL.iter().position(|sort| *sort == self).unwrap_or(0);
        Self::ALL[(at + 1) % Self::ALL.len()]
    }

    /// What stands first.
    pub(super) fn order(self, a: &Row, b: &Row) -> Ordering {
        let largest = |of: fn(&Rates) -> f64| {
            let value = |row: &Row| row.rates.as_ref().map_or(0.0, of);
            value(b).total_cmp(&value(a))
        };
        let silence = |row: &Row| row.rule.silent_seconds.unwrap_or(f64::INFINITY);
        let first = match self {
            Self::Worst => a.badness().cmp(&b.badness()).then_with(|| largest(|rates| rates.lost)),
            Self::Lost => largest(|rates| rates.lost),
            Self::Packets => largest(|rates| rates.matched),
            Self::Bits => largest(|rates| rates.bits),
            Self::Silent => silence(b).total_cmp(&silence(a)),
            Self::Name => Ordering::Equal,
        };
        first.then_with(|| natural(&a.rule.name, &b.rule.name))
    }
}

impl Row {
    /// Whether it lost packets in the last second.
    pub(super) fn is_losing(&self) -> bool {
        self.rates.is_some_and(|rates| rates.lost > 0.0)
    }

    /// 0 for the worst.
    fn badness(&self) -> u8 {
        match self.rule.state {
            RuleState::Degraded => 0,
            RuleState::Stalled => 1,
            RuleState::Waiting => 2,
            RuleState::Active | RuleState::Idle | RuleState::Disabled if self.is_losing() => 3,
            RuleState::Idle => 4,
            RuleState::Active => 5,
            RuleState::Disabled => 6,
        }
    }
}

/// The rows of a reading, with the rates since `before`, which was read at `before_at` seconds of the daemon's time.
pub(super) fn rows(before: &[Row], rate: Option<Rate>, top: Top) -> Vec<Row> {
    let old: HashMap<&str, &Row> = before.iter().map(|row| (row.rule.name.as_str(), row)).collect();
    let row = |rule: TopRule| {
        let before = old.get(rule.name.as_str()).copied();
        let rates = rate.zip(before).map(|(rate, Row { rule: before, .. })| Rates {
            matched: rate.per_second(before.matched_packets, rule.matched_packets),
            bits: rate.bits(before.matched_bytes, rule.matched_bytes),
            sent: rate.per_second(before.sent_packets, rule.sent_packets),
            lost: rate.per_second(before.lost_packets, rule.lost_packets),
        });
        let mut history = before.map(|row| row.history.clone()).unwrap_or_default();
        if let Some(rates) = rates {
            history.push_back(rates.matched);
        }
        if history.len() > KEPT {
            history.pop_front();
        }
        Row { rule, rates, history }
    };
    top.rules.into_iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(name: &str, state: RuleState, matched: u64, lost: u64) -> TopRule {
        TopRule {
            name: name.into(),
            state,
            matched_packets: matched,
            matched_bytes: matched * 100,
            lost_packets: lost,
            ..TopRule::default()
        }
    }

    fn names(rows: &mut [Row], sort: Sort) -> Vec<&str> {
        rows.sort_by(|a, b| sort.order(a, b));
        rows.iter().map(|row| row.rule.name.as_str()).collect()
    }

    #[test]
    fn rates_are_differences_and_the_worst_stand_first() {
        use RuleState::{Active, Degraded, Idle, Stalled};
        let top = |seconds: u64| Top {
            rules: vec![
                rule("k-10", Active, 10 * seconds, 0),
                rule("k-2", Active, 500 * seconds, 3 * seconds),
                rule("quiet", Idle, 0, 0),
                rule("gone", Stalled, 7, 0),
                rule("lame", Degraded, 100 * seconds, 100 * seconds),
                rule("k-1", Active, 10 * seconds, 0),
            ],
            ..Top::default()
        };
        let first = rows(&[], None, top(1));
        assert!(first.iter().all(|row| row.rates.is_none() && row.history.is_empty()));
        let mut second = rows(&first, Rate::between(10.0, 12.0), top(3));
        let of = second.iter().find(|row| row.rule.name == "k-2").and_then(|row| row.rates);
        assert_eq!(of, Some(Rates { matched: 500.0, bits: 400_000.0, sent: 0.0, lost: 3.0 }));
        assert_eq!(names(&mut second, Sort::Worst), ["lame", "gone", "k-2", "quiet", "k-1", "k-10"]);
        assert_eq!(names(&mut second, Sort::Packets), ["k-2", "lame", "k-1", "k-10", "gone", "quiet"]);
        assert_eq!(names(&mut second, Sort::Name), ["gone", "k-1", "k-2", "k-10", "lame", "quiet"]);
        assert_eq!(Sort::ALL.iter().fold(Sort::Worst, |sort, _| sort.next()), Sort::Worst);
    }
}
