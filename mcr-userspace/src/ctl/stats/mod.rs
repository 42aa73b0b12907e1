//! `mcrctl stats`: counters, and with `--watch` their rates.

mod label;
mod order;
mod rates;
mod screen;
mod table;
mod watch;

pub(super) use table::verdicts;

use std::{io::Write, num::NonZeroUsize, time::Duration};

use clap::Args;

use order::Sort;
pub(super) use {label::labels, rates::Rate, table::text};

use super::{
    link::Link,
    run::{Failure, prefixed},
    show,
};
use crate::control::protocol::{ErrorCode, Request, Response, Stats};

/// The arguments of `stats`.
#[derive(Debug, Args)]
pub(super) struct StatsArgs {
    /// Only these rules: names, or globs such as 'ch-*'
    #[arg(value_name = "NAME|GLOB")]
    names: Vec<String>,
    /// Show rates, and refresh them each second, or as often as said
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "1", value_parser = seconds)]
    watch: Option<Duration>,
    /// Order of the rules; all but `name` from the largest down, with --watch by rate
    #[arg(long, value_enum, default_value_t = Sort::Name)]
    sort: Sort,
    /// Show only the first N rules
    #[arg(long, value_name = "N")]
    limit: Option<NonZeroUsize>,
    // It is what other tools call it; the error names ours.
    #[arg(long, hide = true, value_name = "SECONDS")]
    interval: Option<String>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.strip_suffix('s').unwrap_or(text).parse::<f64>();
    match seconds.ok().filter(|seconds| (0.1..=86_400.0).contains(seconds)) {
        Some(seconds) => Ok(Duration::from_secs_f64(seconds)),
        None => Err("write seconds from 0.1 to 86400, such as --watch=5".to_owned()),
    }
}

/// Shows counters once, or rates until the command is asked to end.
pub(super) fn run(args: &StatsArgs, link: &mut Link, json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    if let Some(interval) = &args.interval {
        return Err(prefixed(ErrorCode::Invalid, &format!("there is no --interval; write --watch={interval}")));
    }
    let mut ask = || match link.ask(&Request::Stats { rule: None, rules: args.names.clone() })? {
        Response::Stats(stats) => Ok(stats),
        other => Err(prefixed(ErrorCode::Unavailable, &format!("not an answer to `stats`: {other:?}"))),
    };
    if let Some(period) = args.watch {
        return watch::watch(args, period, ask, json, out).map_err(|failure| hint(args, failure));
    }
    let mut stats = ask()?;
    args.arrange(&mut stats, None);
    match json {
        true => show::json(&Response::Stats(stats), out)?,
        false => text(&stats, out)?,
    }
    Ok(())
}

impl StatsArgs {
    /// Sorts the rules of `stats` and leaves those that `--limit` asks for, with their totals.
    fn arrange(&self, stats: &mut Stats, before: Option<&Stats>) {
        order::sort(stats, before, self.sort);
        if let Some(limit) = self.limit.map(NonZeroUsize::get).filter(|limit| *limit < stats.rules.len()) {
            stats.rules.truncate(limit);
            stats.totals = order::totals(&stats.rules);
        }
    }
}

/// `--watch 5` names a rule.
fn hint(args: &StatsArgs, failure: Failure) -> Failure {
    match failure {
        Failure::Refused(ErrorCode::NotFound, mut lines) => {
            if let Some(number) = args.names.iter().find(|name| seconds(name).is_ok()) {
                lines.push(format!("mcrctl: write --watch={number} to refresh every {number} seconds"));
            }
            Failure::Refused(ErrorCode::NotFound, lines)
        }
        other => other,
    }
}
