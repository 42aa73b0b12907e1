//! The kernel's own multicast routing, with static routes by smcroute. It rewrites nothing but the TTL, so groups stay as they
//! are.

use std::process::Command;

use anyhow::Result;
use netns_tests::{
    process,
    smcroute::{self, Smcroute},
};

use super::job::Job;
use crate::load::stage::Stage;

/// Why it cannot run here.
pub fn lacks() -> Option<String> {
    smcroute::fetched().err().map(|error| format!("Debian's smcroute could not be fetched: {error:#}"))
}

/// See [`super::Contender::described`].
pub fn described() -> String {
    let version =
        smcroute::fetched().and_then(|programs| process::run(Command::new(programs.join("smcrouted")).arg("-v")));
    let version = version.unwrap_or_default();
    format!(
        "kernel multicast routing, {}: for each stream `smcroutectl add v1 GROUP v2`; no rewriting, one output",
        version.lines().next().unwrap_or("smcroute")
    )
}

/// Starts it and adds a route for each stream.
pub fn start(stage: &Stage, job: Job) -> Result<Smcroute> {
    let smcroute = Smcroute::start(stage.network.relay(), &[])?;
    for ((group, _), _) in job.flows() {
        smcroute.done(&format!("add v1 {group} v2"))?;
    }
    Ok(smcroute)
}
