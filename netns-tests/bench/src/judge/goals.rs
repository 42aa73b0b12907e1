//! placeholder
use serde::Serialize;
/// A goal.
#[derive(Clone, Debug, Serialize)]
pub struct Goal;
