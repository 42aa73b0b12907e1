//! A goal, and whether a run met it.

use serde::Serialize;

/// A goal and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Goal {
    /// The figure.
    pub figure: String,
    /// What it has to be.
    pub bound: Bound,
    /// What it is against.
    pub unit: String,
    /// What it is; none where this run has not measured it.
    pub measured: Option<f64>,
}

/// What a figure has to be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// That much or more.
    AtLeast(f64),
    /// That much or less.
    AtMost(f64),
}

impl Goal {
    /// Whether it is met; none where it was not measured.
    pub fn is_met(&self) -> Option<bool> {
        let measured = self.measured?;
        Some(match self.bound {
            Bound::AtLeast(bound) => measured >= bound,
            Bound::AtMost(bound) => measured <= bound,
        })
    }
}
