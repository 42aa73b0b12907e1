//! Waiting for something to become true, with a limit that only guards against hangs.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// For what takes well under a second on an idle machine.
pub const SOON: Duration = Duration::from_secs(20);

/// How often a condition is looked at.
const INTERVAL: Duration = Duration::from_millis(20);

/// Looks every 20 ms until `look` finds something, and returns it.
///
/// # Errors
/// The first error of `look`; after `limit`, one that names `what`.
pub fn until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if start.elapsed() > limit {
            bail!("{what}: not within {limit:?}");
        }
        sleep(INTERVAL);
    }
}
