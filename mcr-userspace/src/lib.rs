//! The library behind `mcrd`, `mcrctl` and `mcrprobe`.

pub mod control;
pub mod probe;
pub mod rules;
