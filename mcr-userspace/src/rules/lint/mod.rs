//! What is allowed and seldom meant: warnings about rules.

mod address;
mod mixed;
mod rule;

use std::{cmp::Ordering, collections::HashMap, fmt};

pub(super) use address::Addresses;
pub(super) use mixed::Sent;
pub(super) use rule::of_rule;

/// Warnings of one kind that are told.
pub(super) const TOLD: usize = 20;

/// What a rule's author should know about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// What it is about.
    pub kind: Kind,
    /// Where: a path of the configuration file's keys within the rule; empty for the rule as a whole.
    pub key: String,
    /// What may go wrong and what to do.
    pub message: String,
}

/// Kinds of warnings, of each of which only so many are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Groups or ports within the match that stay with the host.
    NeverForwarded,
    /// An output that leads back to its own rule, depending on an address.
    OwnLoop,
    /// Rules that lead back to each other.
    Cycle,
    /// A TTL that falls to 0 where sources commonly send 1.
    SmallTtl,
    /// Two groups behind one Ethernet address.
    SharedAddress,
    /// An output that changes nothing.
    Unchanged,
    /// An output to where the packets came from.
    Echo,
    /// Two outputs that send the same.
    Twice,
    /// Outputs that send different packets into one group and port.
    Mixed,
    /// What `include` of a file does not bring.
    Include,
}

impl Kind {
    /// Many of the kind, in words.
    fn many(self) -> &'static str {
        match self {
            Self::NeverForwarded => "groups and ports that are never forwarded",
            Self::OwnLoop => "outputs that may lead back to their own rule",
            Self::Cycle => "rules that lead back to each other",
            Self::SmallTtl => "groups whose sources commonly send a TTL of 1",
            Self::SharedAddress => "groups that share an Ethernet address",
            Self::Unchanged => "outputs that change nothing",
            Self::Echo => "outputs to where the packets came from",
            Self::Twice => "outputs that send the same as another",
            Self::Mixed => "outputs into a group and port of another",
            Self::Include => "patterns of `include`",
        }
    }

    /// A warning of this kind.
    pub(super) fn at(self, key: impl Into<String>, message: impl Into<String>) -> Warning {
        Warning { kind: self, key: key.into(), message: message.into() }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// The first `TOLD` of each kind, and in the place of the others how many there are. `T` is where a warning stands.
pub fn told<T>(warnings: Vec<(T, Warning)>) -> Vec<(T, Warning)> {
    let mut counts: HashMap<Kind, usize> = HashMap::new();
    for (_, warning) in &warnings {
        *counts.entry(warning.kind).or_default() += 1;
    }
    let mut met: HashMap<Kind, usize> = HashMap::new();
    let mut shorten = |(at, warning): (T, Warning)| {
        let met = met.entry(warning.kind).or_default();
        *met += 1;
        match (*met).cmp(&(TOLD + 1)) {
            Ordering::Less => Some((at, warning)),
            Ordering::Equal => {
                let more = counts[&warning.kind] - TOLD;
                Some((at, warning.kind.at("", format!("and {more} more of {}", warning.kind.many()))))
            }
            Ordering::Greater => None,
        }
    };
    warnings.into_iter().filter_map(&mut shorten).collect()
}

/// [`told`], each one line.
pub fn lines(warnings: Vec<Warning>) -> Vec<String> {
    let placed = warnings.into_iter().map(|warning| ((), warning)).collect();
    told(placed).into_iter().map(|(_, warning)| warning.to_string()).collect()
}

#[cfg(test)]
mod tests;
