//! The user wants the run to end: everything returns by errors, so that all that was made is dropped.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use anyhow::{Result, ensure};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

static WANTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// From now on Ctrl-C, SIGTERM and a lost terminal are heard by [`check`] alone.
///
/// # Errors
/// The kernel refuses a handler.
pub fn listen() -> Result<()> {
    let flag = WANTED.get_or_init(Default::default);
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(flag))?;
    }
    Ok(())
}

/// Asked before everything that takes long.
///
/// # Errors
/// Once the run is to end.
pub fn check() -> Result<()> {
    ensure!(!WANTED.get().is_some_and(|flag| flag.load(Relaxed)), "interrupted: everything is cleaned up");
    Ok(())
}
