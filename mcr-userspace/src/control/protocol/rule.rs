//! A rule as answers have it.

use serde::{Deserialize, Serialize};

use super::{operation::Origin, state::RuleState};
use crate::rules::{
    rule::Rule,
    spec::{MatchSpec, OutputSpec, RuleSpec},
};

/// A rule as `rule list` and `rule show` tell it: [`RuleSpec`] with all defaults written out, and its state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleView {
    /// Its name.
    pub name: String,
    /// What it is doing.
    pub state: RuleState,
    /// Why it is not `active`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_reason: Option<String>,
    /// Whether the daemon's file has a rule of this name.
    #[serde(default)]
    pub origin: Origin,
    /// Whether the file's rule of this name is another, which the next reload brings back; left out where it is not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub changed_at_run_time: bool,
    /// As in the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// `false` where it is switched off; left out otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// As in the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stall_after: Option<String>,
    /// As in the file.
    #[serde(rename = "match")]
    pub matcher: MatchSpec,
    /// As in the file.
    pub output: Vec<OutputSpec>,
}

impl RuleView {
    /// The view of `rule` in `state`.
    pub fn new(rule: &Rule, state: RuleState, state_reason: Option<String>) -> Self {
        let RuleSpec { name: _, description, enabled, stall_after, matcher, output } = RuleSpec::from(rule);
        let (name, origin, changed_at_run_time) = (rule.name.clone(), Origin::default(), false);
        Self {
            name,
            state,
            state_reason,
            origin,
            changed_at_run_time,
            description,
            enabled,
            stall_after,
            matcher,
            output,
        }
    }
}
