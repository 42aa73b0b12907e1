//! Rules: as typed, as checked, and the set of them that is the truth.

pub mod check;
mod cycle;
pub mod diff;
pub mod edit;
pub mod glob;
mod index;
pub mod lint;
pub mod order;
pub mod persist;
mod ports;
pub mod reach;
pub mod rule;
pub mod set;
pub mod spec;
pub(crate) mod value;
