//! Rules: as typed, as checked, and the set of them that is the truth.

pub mod rule;
