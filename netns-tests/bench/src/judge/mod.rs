//! What figures come to: medians and spread, ratios, goals.

pub mod goal;
pub mod goals;
pub mod spread;
