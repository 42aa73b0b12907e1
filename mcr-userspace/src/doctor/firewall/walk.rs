//! The way of a packet through chains, where some rules may or may not match.

use std::collections::BTreeMap;

use super::{Judgement, Place, Truth};

/// Jumps within jumps: the kernel allows 16 (linux/netfilter/nf_tables.h, `NFT_JUMP_STACK_SIZE`).
const DEEPEST: u32 = 16;

/// Chains by names that are unique within a firewall.
#[derive(Debug, Default)]
pub(super) struct Chains(pub(super) BTreeMap<String, Chain>);

/// A chain.
#[derive(Debug, Default)]
pub(super) struct Chain {
    /// Where it is hooked in, if it is.
    pub(super) base: Option<Base>,
    pub(super) rules: Vec<Rule>,
}

/// A chain through which the packet comes.
#[derive(Debug)]
pub(super) struct Base {
    pub(super) place: Place,
    /// Whether what reaches its end is dropped.
    pub(super) drops: bool,
}

/// A rule.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) matches: Truth,
    pub(super) does: Action,
}

/// What a rule does with what it matches.
#[derive(Clone, Debug)]
pub(super) enum Action {
    /// The next rule follows.
    Nothing,
    Accept,
    Drop,
    Return,
    Jump(String),
    Goto(String),
    /// Something that may end in any way.
    Unknown,
}

/// What may become of the packet in a chain: several may be true at once.
#[derive(Clone, Copy, Default)]
struct Ends {
    accepted: bool,
    dropped: bool,
    /// It comes out at the end.
    returned: bool,
}

impl Ends {
    fn or(self, other: Self) -> Self {
        Self {
            accepted: self.accepted || other.accepted,
            dropped: self.dropped || other.dropped,
            returned: self.returned || other.returned,
        }
    }
}

impl Chains {
    /// Notes what the chains that are hooked in do.
    pub(super) fn judge(&self, judgement: &mut Judgement) {
        for chain in self.0.values() {
            let Some(base) = &chain.base else { continue };
            let mut ends = self.run(chain, 0);
            if ends.returned {
                ends = ends.or(Ends { dropped: base.drops, accepted: !base.drops, returned: false });
            }
            match ends {
                Ends { dropped: true, accepted: false, .. } => judgement.drops.push(base.place.clone()),
                Ends { dropped: true, accepted: true, .. } => judgement.may.push(base.place.clone()),
                _ => {}
            }
        }
    }

    fn run(&self, chain: &Chain, depth: u32) -> Ends {
        let mut ends = Ends::default();
        for Rule { matches, does } in chain.rules.iter().filter(|rule| rule.matches != Truth::No) {
            // Whether the next rule has its turn after this one.
            let (mut own, goes_on) = match does {
                Action::Nothing => continue,
                Action::Accept => (Ends { accepted: true, ..Ends::default() }, false),
                Action::Drop => (Ends { dropped: true, ..Ends::default() }, false),
                Action::Return => (Ends { returned: true, ..Ends::default() }, false),
                Action::Unknown => (Ends { accepted: true, dropped: true, returned: false }, true),
                Action::Goto(name) => (self.enter(name, depth), false),
                Action::Jump(name) => {
                    let there = self.enter(name, depth);
                    (Ends { returned: false, ..there }, there.returned)
                }
            };
            own = ends.or(own);
            ends = own;
            if *matches == Truth::Yes && !goes_on {
                return ends;
            }
        }
        Ends { returned: true, ..ends }
    }

    fn enter(&self, name: &str, depth: u32) -> Ends {
        match self.0.get(name) {
            Some(chain) if depth < DEEPEST => self.run(chain, depth + 1),
            _ => Ends { accepted: true, dropped: true, returned: true },
        }
    }
}
