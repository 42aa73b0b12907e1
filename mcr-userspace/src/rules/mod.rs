//! Rules: as typed, as checked, and the set of them that is the truth.

pub mod check;
mod cycle;
mod index;
pub mod lint;
pub mod persist;
mod ports;
pub mod reach;
pub mod rule;
pub mod set;
pub mod spec;
pub(crate) mod value;
