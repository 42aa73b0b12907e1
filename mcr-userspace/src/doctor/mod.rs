//! `mcrctl doctor`: what on this host and on its interfaces stands in mcr's way, and the command that fixes it.
//!
//! Facts are gathered first, in one place; then each check judges them by itself, asking nothing more. So a judgement is tested with
//! facts of any machine. What a check could not learn it says; it never counts as in order.

mod facts;
mod finding;
mod firewall;
mod gather;
mod check;
mod report;

pub(crate) use finding::quoted;
pub use gather::{examine, hearing};
pub use report::Report;
