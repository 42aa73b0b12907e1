//! What is done to links, as data.

use anyhow::Result;
use netns_tests::topology::Network;

/// The namespace that interfaces are moved to.
pub const AWAY: &str = "away";

/// A step; `@label` in its lines stands for the name of a namespace.
#[derive(Clone, Copy)]
pub enum Step {
    /// Lines for `ip` in the namespace of this label.
    Ip(&'static str, &'static str),
    /// A command in the namespace of this label.
    Run(&'static str, &'static str),
    /// All of these, so many times.
    Times(u32, &'static [Step]),
}

impl Step {
    /// Does it.
    pub fn take(&self, network: &Network) -> Result<()> {
        match self {
            Self::Ip(label, lines) => network.ip(label, lines),
            Self::Run(label, line) => network.namespace(label).run(line).map(drop),
            Self::Times(times, steps) => (0..*times).try_for_each(|_| take_all(steps, network)),
        }
    }
}

/// Takes steps one after another.
pub fn take_all(steps: &[Step], network: &Network) -> Result<()> {
    steps.iter().try_for_each(|step| step.take(network))
}
