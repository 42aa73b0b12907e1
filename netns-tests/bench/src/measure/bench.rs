//! A run of the bench, and how repeats and contenders take turns.

use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};

use crate::{interrupt, plan::Plan, relay::Contender, results::Results};

/// A run.
pub struct Bench {
    /// What it has time for.
    pub plan: Plan,
    /// Who takes part.
    pub contenders: Vec<Contender>,
    /// What was found.
    pub results: Results,
    /// When it began.
    pub began: Instant,
}

/// A measure's place in the run.
pub struct Turns<'a> {
    /// The measure's name.
    pub name: &'a str,
    /// Who takes part.
    pub contenders: Vec<Contender>,
    /// How often each is measured, at most.
    pub repeats: u32,
    /// Once they are used up no further repeat begins.
    pub seconds: u64,
}

impl Bench {
    /// Lets the contenders take turns: A B C, A B C, so that what disturbs a while of the run disturbs all of them.
    ///
    /// A contender that fails is told, and left out of the rest of this measure. Once `seconds` are used up no further repeat
    /// begins.
    pub fn take_turns(
        &mut self,
        turns: Turns<'_>,
        mut turn: impl FnMut(&mut Self, Contender, u32) -> Result<()>,
    ) -> Result<()> {
        let Turns { name, mut contenders, repeats, seconds } = turns;
        let (start, limit) = (Instant::now(), Duration::from_secs(seconds));
        let bar = bar(name, contenders.len() as u64 * u64::from(repeats));
        for repeat in 0..repeats {
            let began = Instant::now();
            for contender in contenders.clone() {
                interrupt::check()?;
                if self.began.elapsed() > Duration::from_secs(self.plan.limit) {
                    let why =
                        format!("{name}: {}, repeat {}: left out, no time was left", contender.name(), repeat + 1);
                    bar.suspend(|| eprintln!("{why}"));
                    self.results.failures.push(why);
                    bar.inc(1);
                    continue;
                }
                bar.set_message(format!("{} ({} of {repeats})", contender.name(), repeat + 1));
                if let Err(error) = turn(self, contender, repeat) {
                    interrupt::check()?;
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
        let seconds = start.elapsed().as_secs_f64();
        bar.finish_with_message(format!("{seconds:.0} s"));
        if bar.is_hidden() {
            // No terminal.
            eprintln!("{name}: {seconds:.0} s");
        }
        Ok(())
    }

    /// Those who take part and are fit for something.
    pub fn who(&self, fit: impl Fn(Contender) -> bool) -> Vec<Contender> {
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
