//! What a reload finds different, and does.

use serde::{Deserialize, Serialize};

use crate::{
    config::Difference,
    rules::{
        diff::{self, fields},
        rule::Rule,
        spec::RuleSpec,
    },
};

/// How the file is to be read again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reload {
    /// Only say what would change.
    #[serde(default)]
    pub dry_run: bool,
    /// Keep the rules that were added at run time and that the file lacks.
    #[serde(default)]
    pub keep: bool,
    /// Take all back after this time, such as `60s`, unless it is confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<String>,
}

/// The answer to [`Reload`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// Nothing was applied.
    pub dry_run: bool,
    /// What changed, or would.
    pub changes: Vec<ChangeView>,
    /// Keys whose value in the file is not the one that mcrd runs with: it reads them at its start.
    #[serde(default)]
    pub restart: Vec<SettingChange>,
    /// Rules that the file lacks and that are kept.
    #[serde(default)]
    pub kept: Vec<String>,
    /// Seconds until it is taken back; `null` where it needs no confirmation.
    #[serde(default)]
    pub confirm_seconds: Option<u64>,
    /// Each one line.
    pub warnings: Vec<String>,
}

/// One difference that a reload found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeView {
    /// What happens.
    pub change: ChangeKind,
    /// The rule's name.
    pub name: String,
    /// The rule as it becomes; absent for a removal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleSpec>,
    /// The rule as it was; absent for an addition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<RuleSpec>,
    /// What differs, for a replacement.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldChange>,
    /// For a removal: whether the rule was added at run time, and the file never had it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub added_at_run_time: bool,
}

/// What a reload does with a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// `+`
    Add,
    /// `-`
    Remove,
    /// `~`
    Replace,
}

/// A field of a rule that becomes another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldChange {
    /// As in the file: `match.port`, `output[0].ttl`.
    pub field: String,
    /// What it was; `null`: not set.
    pub old: Option<String>,
    /// What it becomes; `null`: not set.
    pub new: Option<String>,
}

/// A key that needs a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingChange {
    /// Such as `datapath.profile`, `interface[eth0].mode`.
    pub key: String,
    /// What mcrd runs with; `null`: not set.
    pub old: Option<String>,
    /// What the file says; `null`: not set.
    pub new: Option<String>,
}

impl ChangeView {
    /// Of a rule that was `old`, or was not there, and becomes `new`, or goes.
    pub fn new(name: &str, old: Option<&Rule>, new: Option<&Rule>) -> Self {
        let change = match (old, new) {
            (None, _) => ChangeKind::Add,
            (Some(_), None) => ChangeKind::Remove,
            (Some(_), Some(_)) => ChangeKind::Replace,
        };
        let differing = old.zip(new).map(|(old, new)| fields(old, new)).unwrap_or_default();
        Self {
            change,
            name: name.to_owned(),
            rule: new.map(RuleSpec::from),
            old: old.map(RuleSpec::from),
            fields: differing.into_iter().map(FieldChange::from).collect(),
            added_at_run_time: false,
        }
    }
}

impl From<Difference> for SettingChange {
    fn from(Difference { key, old, new }: Difference) -> Self {
        Self { key, old, new }
    }
}

impl From<diff::FieldChange> for FieldChange {
    fn from(diff::FieldChange { field, old, new }: diff::FieldChange) -> Self {
        Self { field, old, new }
    }
}
