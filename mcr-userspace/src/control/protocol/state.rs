//! What a rule is doing, in one word.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The state of a rule: the first that applies, in this order. Everything but `active` comes with its reason in a sentence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RuleState {
    /// Switched off: by `rule disable`, or by `enabled = false`.
    Disabled,
    /// Its ingress is missing, or all of its outputs are.
    Waiting,
    /// A link is down, an output waits, or in the last seconds that had packets an output sent none of them.
    Degraded,
    /// No packet for as long as `stall_after` says.
    Stalled,
    /// No packet so far, or none for some seconds, and no `stall_after`.
    Idle,
    /// It forwards.
    #[default]
    Active,
}

impl RuleState {
    /// Every state, in the order in which they are looked for.
    pub const ALL: [Self; 6] = [Self::Disabled, Self::Waiting, Self::Degraded, Self::Stalled, Self::Idle, Self::Active];

    /// The word, as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Waiting => "waiting",
            Self::Degraded => "degraded",
            Self::Stalled => "stalled",
            Self::Idle => "idle",
            Self::Active => "active",
        }
    }

    /// Whether it calls for somebody to look at it: `degraded`, `stalled`, `waiting`.
    pub const fn is_trouble(self) -> bool {
        matches!(self, Self::Waiting | Self::Degraded | Self::Stalled)
    }
}

impl fmt::Display for RuleState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
