//! mcr itself: one worker, on the forwarder's CPU.

use anyhow::Result;
use netns_tests::{
    daemon::{Daemon, Files},
    rules::{self, Output, Rule},
};

use super::job::Job;
use crate::{
    load::stage::Stage,
    machine::cpu::{ON_BOTH, ON_RELAY},
};

/// See [`super::Contender::described`].
pub fn described(profile: &str) -> String {
    format!(
        "mcrd {} of this tree, release: {} mcrd --config FILE {}; one rule a stream, veth: driver XDP, AF_XDP copy mode",
        env!("CARGO_PKG_VERSION"),
        on(profile).join(" "),
        flags(profile).join(" ")
    )
}

/// A spinning worker binds itself to the last CPU; one that sleeps is not bound, so the whole process is.
fn on(profile: &str) -> [&'static str; 6] {
    if profile == "low-latency" { ON_BOTH } else { ON_RELAY }
}

fn flags(profile: &str) -> [&str; 4] {
    ["--profile", profile, "--workers", "1"]
}

/// Starts it with a rule for each stream of the job.
pub fn start(stage: &Stage, job: Job, profile: &str) -> Result<Daemon> {
    Daemon::start_by(&on(profile), Files::new(&rules::file(&rules(job)))?, stage.network.relay(), &flags(profile))
}

/// A rule for each stream, all outputs on v2.
pub fn rules(job: Job) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    for ((group, port), (to, to_port)) in job.flows() {
        let output = Output { interface: "v2".into(), group: to, port: to_port };
        match rules.last_mut() {
            Some(rule) if (rule.group, rule.port) == (group, port) => rule.outputs.push(output),
            _ => rules.push(Rule {
                name: format!("stream-{}", rules.len()),
                interface: "v1".into(),
                group,
                port,
                outputs: vec![output],
            }),
        }
    }
    rules
}
