//! What a scrape reads: all of the daemon's state in one hold of its lock, and the process without it.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::{
    labels::{self, OutputLabels},
    process::{self, Process},
};
use crate::{
    control::protocol::Stats,
    daemon::{journal::LastReload, retire::Shared, state::State},
};

/// All values of one scrape.
#[derive(Debug)]
pub struct Snapshot {
    /// Counters, states, interfaces, workers, memberships.
    pub stats: Stats,
    /// The labels of each rule's outputs, in the order of `stats`.
    pub labels: Vec<Vec<OutputLabels>>,
    /// When each rule's last packet came, in seconds since 1970.
    pub heard: Vec<Option<f64>>,
    /// Rules that there may be.
    pub rules_limit: u32,
    /// Warnings of `status`.
    pub warnings: u64,
    /// What became of the file.
    pub reload: LastReload,
    /// When mcrd started, in seconds since 1970.
    pub started: Option<f64>,
    /// What the kernel says of the process.
    pub process: Process,
}

/// The values now.
pub fn read(shared: &Shared, started: Option<f64>) -> Snapshot {
    shared.settle();
    let mut snapshot = {
        let mut state = shared.lock();
        let held = Instant::now();
        let snapshot = of_state(&mut state);
        drop(state);
        log::debug!("a scrape held the state for {:?}", held.elapsed());
        snapshot
    };
    snapshot.reload = shared.journal.last_reload();
    snapshot.started = started;
    snapshot.process = process::read();
    snapshot
}

fn of_state(state: &mut State) -> Snapshot {
    let (now, wall) = (Instant::now(), SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
    let heard = |name: &str| {
        let silence = state.live.get(name)?.hearing.silence(now)?;
        Some(wall.saturating_sub(silence).as_secs_f64())
    };
    Snapshot {
        stats: state.stats(),
        labels: state.set.iter().map(labels::of).collect(),
        heard: state.set.iter().map(|rule| heard(&rule.name)).collect(),
        rules_limit: state.options.config.limits.rules,
        warnings: state.all_warnings().len() as u64,
        reload: LastReload::default(),
        started: None,
        process: Process::default(),
    }
}
