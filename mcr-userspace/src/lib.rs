//! The library behind `mcrd`, `mcrctl` and `mcrprobe`.

pub mod rules;
pub mod control;
pub mod kernel;
pub mod xsk;
