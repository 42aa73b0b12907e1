//! Whether mcrd may do what it has to, looked at before anything is made.

use anyhow::{Context, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::budget::least_memory;
use crate::{config::Config, kernel::capabilities};

/// Refuses to start where a capability lacks; the error names each that does and what it is for.
pub fn check(config: &Config) -> anyhow::Result<()> {
    let held = capabilities::effective().context("asking for this process's capabilities")?;
    // What may be locked without CAP_IPC_LOCK is as much as can be.
    let limit = getrlimit(Resource::Memlock);
    if let Err(error) = setrlimit(Resource::Memlock, Rlimit { current: limit.maximum, ..limit }) {
        log::debug!("the limit on locked memory stays {:?}: {error}", limit.current);
    }
    let bytes = least_memory(config.limits.frames);
    let mut lacking = capabilities::lacking(held);
    lacking.extend(capabilities::locks_too_little(held, getrlimit(Resource::Memlock).current, bytes));
    let names: Vec<&str> = lacking.iter().filter_map(|lack| lack.split(' ').next()).collect();
    ensure!(
        lacking.is_empty(),
        "mcrd may not do what it has to: it lacks {}; start it as root, or grant it these too (in a systemd unit: AmbientCapabilities={})",
        lacking.join(", "),
        names.join(" ")
    );
    Ok(())
}
