//! What has happened, as `mcrctl events` tells it.

use serde::{Deserialize, Serialize};

/// Kinds of [`Event`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A rule's state has changed.
    RuleState,
    /// An interface came, went, or went up or down.
    Link,
    /// The host joined a group, left it, or could not join.
    Membership,
    /// The file was read again, or refused.
    Reload,
    /// A rule was added, changed or deleted.
    RuleChange,
    /// An interface was granted another mode.
    Mode,
    /// Something that a person should look at.
    Alarm,
}

/// One thing that has happened; fields that do not apply are `null`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When: RFC 3339 in UTC, with milliseconds.
    pub time: String,
    /// What kind of thing.
    pub kind: EventKind,
    /// The rule.
    pub rule: Option<String>,
    /// The interface.
    pub interface: Option<String>,
    /// What it was.
    pub old: Option<String>,
    /// What it is now.
    pub new: Option<String>,
    /// Why, or what it means, in a sentence.
    pub reason: Option<String>,
    /// Whose request it was.
    pub uid: Option<u32>,
    /// The process that asked.
    pub pid: Option<u32>,
}

/// The answer to [`Request::Events`](super::Request::Events).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Events {
    /// In the order in which they happened.
    pub events: Vec<Event>,
    /// To be given as `after` for what happens later.
    pub next: u64,
    /// Events that happened after `after` and are not kept any more.
    pub lost: u64,
}
