//! What is measured, one file each, and how repeats and contenders take turns.

pub mod search;

pub mod control;
pub mod cpu;
pub mod founding;
pub mod idle;
pub mod latency;
pub mod outputs;
pub mod overload;
pub mod rules;
pub mod throughput;

mod lossless;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use indicatif::{ProgressBar, ProgressStyle};

use crate::{plan::Plan, relay::Contender, results::Results};

/// A run.
pub struct Bench {
    /// What it has time for.
    pub plan: Plan,
    /// Who takes part.
    pub contenders: Vec<Contender>,
    /// What was found.
    pub results: Results,
    /// Set by a signal.
    pub interrupted: Arc<AtomicBool>,
}

/// A measure's place in the run.
struct Turns<'a> {
    name: &'a str,
    contenders: Vec<Contender>,
    repeats: u32,
    seconds: u64,
}

impl Bench {
    /// An error once the user wants it to end.
    pub fn go_on(&self) -> Result<()> {
        ensure!(!self.interrupted.load(Relaxed), "interrupted: everything is cleaned up");
        Ok(())
    }

    /// Lets the contenders take turns: A B C, A B C, so that what disturbs a while of the run disturbs all of them.
    ///
    /// A contender that fails is told, and left out of the rest of this measure. Once `seconds` are used up no further repeat begins.
    fn take_turns(&mut self, turns: Turns<'_>, mut turn: impl FnMut(&mut Self, Contender, u32) -> Result<()>) -> Result<()> {
        let Turns { name, mut contenders, repeats, seconds } = turns;
        let (start, limit) = (Instant::now(), Duration::from_secs(seconds));
        let bar = bar(name, contenders.len() as u64 * u64::from(repeats));
        for repeat in 0..repeats {
            let began = Instant::now();
            for contender in contenders.clone() {
                self.go_on()?;
                bar.set_message(format!("{} ({} of {repeats})", contender.name(), repeat + 1));
                if let Err(error) = turn(self, contender, repeat) {
                    self.go_on()?;
                    bar.suspend(|| eprintln!("{name}: {} FAILED: {error:#}", contender.name()));
                    self.results.failures.push(format!("{name}: {}: {error:#}", contender.name()));
                    contenders.retain(|other| *other != contender);
                }
                bar.inc(1);
            }
            if start.elapsed() + began.elapsed() > limit {
                break;
            }
        }
        bar.finish_with_message(format!("{:.0} s", start.elapsed().as_secs_f64()));
        Ok(())
    }

    /// Those who take part and are fit for something.
    fn who(&self, fit: impl Fn(Contender) -> bool) -> Vec<Contender> {
        self.contenders.iter().copied().filter(|contender| fit(*contender)).collect()
    }
}

fn bar(name: &str, steps: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix:<14} [{bar:30}] {pos:>3}/{len:<3} {elapsed:>4}  {wide_msg}");
    let bar = ProgressBar::new(steps).with_prefix(name.to_owned());
    bar.set_style(style.expect("a constant template").progress_chars("=> "));
    // Also while a trial runs.
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}
