//! What a firewall does with the IGMP queries that come in on an interface, and with the reports that the host sends there, judged from its rules. What the rules alone do not decide
//! (marks, limits, the querier's address) is left open, and said to be.

mod known;
mod nft;
mod walk;
mod xtables;

pub use known::Kind;
use known::{Message, Truth};
use walk::{Action, Base, Chain, Chains, Rule};

/// The host's rules, as far as they could be read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ruleset {
    /// What `nft -j list ruleset` printed.
    pub nft: Listed,
    /// What `iptables-legacy-save` printed.
    pub xtables: Listed,
}

/// Rules of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Listed {
    /// The kernel has none.
    #[default]
    Nothing,
    /// Text to be read, and the program that changes what it lists.
    Text {
        /// As printed.
        text: String,
        /// Its name.
        program: String,
    },
    /// There may be some, and they could not be read, for this reason.
    Unread(String),
}

/// What becomes of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// What drops it.
    pub drops: Vec<Place>,
    /// What may drop it.
    pub may: Vec<Place>,
    /// Why some rules are not known.
    pub unread: Vec<String>,
}

/// A chain that the message passes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its name, for a sentence.
    pub name: String,
    /// The command that has it let IGMP through.
    pub fix: String,
}

/// Judges an IGMP message that comes in on `interface`, or goes out there.
pub fn judge(ruleset: &Ruleset, kind: Kind, interface: &str) -> Judgement {
    let message = Message { kind, interface: interface.to_owned() };
    let mut judgement = Judgement::default();
    let mut note = |listed: &Listed, read: fn(&str, &str, &Message) -> Result<Chains, String>| match listed {
        Listed::Nothing => {}
        Listed::Unread(why) => judgement.unread.push(why.clone()),
        Listed::Text { text, program } => match read(text, program, &message) {
            Ok(chains) => chains.judge(&mut judgement),
            Err(why) => judgement.unread.push(why),
        },
    };
    note(&ruleset.nft, nft::read);
    note(&ruleset.xtables, xtables::read);
    judgement
}

#[cfg(test)]
mod tests;
