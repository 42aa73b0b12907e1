//! What is known of an IGMP message before it is on its way, and how that compares with what a rule asks for.

use std::{net::Ipv4Addr, ops::Not};

/// A message of IGMP on its way through the host.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) kind: Kind,
    /// Where it comes in or goes out.
    pub(super) interface: String,
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A query for every group, which comes in (RFC 3376, section 4.1).
    Query,
    /// A report of the host's own memberships, which goes out (RFC 3376, section 4.2).
    Report,
}

impl Message {
    /// Where it comes in; the kernel has no name for what the host sends.
    pub(super) fn comes_in(&self) -> &str {
        if self.kind == Kind::Query { &self.interface } else { "" }
    }

    /// Where it goes out.
    pub(super) fn goes_out(&self) -> &str {
        if self.kind == Kind::Report { &self.interface } else { "" }
    }

    /// The group that it is sent to.
    pub(super) fn group(&self) -> Ipv4Addr {
        match self.kind {
            Kind::Query => Ipv4Addr::new(224, 0, 0, 1),
            Kind::Report => Ipv4Addr::new(224, 0, 0, 22),
        }
    }
}

/// Whether something is so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Truth {
    Yes,
    No,
    /// It depends on what is not known.
    Maybe,
}

impl Truth {
    /// Whether both are so.
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Yes, Self::Yes) => Self::Yes,
            _ => Self::Maybe,
        }
    }

    /// Whether any of these is so.
    pub(super) fn any(all: impl IntoIterator<Item = Self>) -> Self {
        !all.into_iter().map(Not::not).fold(Self::Yes, Self::and)
    }
}

impl Not for Truth {
    type Output = Self;

    fn not(self) -> Self {
        match self {
            Self::Yes => Self::No,
            Self::No => Self::Yes,
            Self::Maybe => Self::Maybe,
        }
    }
}

impl From<bool> for Truth {
    fn from(value: bool) -> Self {
        if value { Self::Yes } else { Self::No }
    }
}

/// What a field of the message holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Known {
    /// A word.
    Word(String),
    /// A number, and the word that stands for it, if there is one.
    Number(u64, &'static str),
    Address(Ipv4Addr),
    /// Several fields, one after the other.
    Several(Vec<Known>),
    /// It has no such field: no rule that asks for it matches.
    Absent,
    /// It depends.
    Open,
}

impl Known {
    /// Whether it is `word`, as rules write it; a `*` or `+` at the end of an interface's name stands for any rest.
    pub(super) fn is(&self, word: &str) -> Truth {
        match self {
            Self::Word(own) => match word.strip_suffix(['*', '+']) {
                Some(start) => own.starts_with(start).into(),
                None => (own == word).into(),
            },
            Self::Number(number, name) => (*name == word || parse(word) == Some(*number)).into(),
            Self::Address(address) => match word.parse::<Ipv4Addr>() {
                Ok(other) => (*address == other).into(),
                Err(_) => Truth::Maybe,
            },
            Self::Absent => Truth::No,
            Self::Several(_) | Self::Open => Truth::Maybe,
        }
    }

    /// Whether it lies within `address/length`.
    pub(super) fn is_within(&self, address: &str, length: u32) -> Truth {
        match (self, address.parse::<Ipv4Addr>()) {
            (Self::Absent, _) => Truth::No,
            (_, Ok(_)) if length == 0 => Truth::Yes,
            (Self::Address(own), Ok(other)) if length <= 32 => {
                ((own.to_bits() ^ other.to_bits()) >> (32 - length) == 0).into()
            }
            _ => Truth::Maybe,
        }
    }

    /// As a number that can be compared.
    pub(super) fn number(&self) -> Option<u64> {
        match self {
            Self::Number(number, _) => Some(*number),
            Self::Address(address) => Some(address.to_bits().into()),
            _ => None,
        }
    }
}

/// A number as rules write it: decimal, hexadecimal, or an address.
pub(super) fn parse(word: &str) -> Option<u64> {
    match word.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => word.parse().ok().or_else(|| Some(word.parse::<Ipv4Addr>().ok()?.to_bits().into())),
    }
}
