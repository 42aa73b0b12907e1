//! `stats --watch`: reads the counters again and again, through restarts of the daemon.

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use super::{StatsArgs, screen};
use crate::{
    control::protocol::{Response, Stats},
    ctl::{run::Failure, show, stop::Stop},
};

/// Home, and clear below: less flicker than clearing first.
const HOME: &str = "\x1b[H\x1b[J";

/// Shows what `ask` answers each `period` until the command is asked to end, or nobody reads on.
///
/// # Errors
///
/// The first question is refused, or has no answer. Later the daemon is waited for.
pub(super) fn watch(
    args: &StatsArgs,
    period: Duration,
    mut ask: impl FnMut() -> Result<Stats, Failure>,
    json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let stop = Stop::catch()?;
    let on_terminal = io::stdout().is_terminal() && !json;
    let mut before: Option<Stats> = None;
    let mut waiting: Option<String> = None;
    loop {
        match ask() {
            Ok(mut stats) => {
                waiting = None;
                let all = stats.rules.len();
                let counted = stats.clone();
                args.arrange(&mut stats, before.as_ref());
                if json {
                    show::json(&Response::Stats(stats), out)?;
                } else {
                    let lines = screen::lines(before.as_ref(), &stats, all);
                    write(lines, on_terminal, out)?;
                }
                before = Some(counted);
            }
            Err(Failure::Refused(_, lines)) if before.is_some() => {
                let why = lines.join(" ").replace("mcrctl: ", "");
                let said = format!("waiting for mcrd: {why}");
                if on_terminal {
                    write!(out, "{HOME}")?;
                    let (columns, _) = screen::size();
                    writeln!(out, "{}", screen::clip(&said, columns))?;
                    out.flush()?;
                } else if waiting.is_none() {
                    writeln!(io::stderr(), "mcrctl: {said}").ok();
                }
                waiting = Some(said);
            }
            Err(failure) => return Err(failure),
        }
        if stop.wait(period) {
            return Ok(());
        }
    }
}

/// As many lines as the terminal has room for; all of them elsewhere.
fn write(lines: screen::Lines, on_terminal: bool, out: &mut dyn Write) -> io::Result<()> {
    if on_terminal {
        let (columns, rows) = screen::size();
        let fitted = lines.fitted(columns, rows).join("\n");
        // No line end after the last: it would scroll the first away.
        write!(out, "{HOME}{fitted}")?;
    } else {
        writeln!(out, "{}\n", lines.all().join("\n"))?;
    }
    out.flush()
}
