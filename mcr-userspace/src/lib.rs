//! The library behind `mcrd`, `mcrctl` and `mcrprobe`.

pub mod config;
pub mod control;
pub mod ctl;
pub mod rules;
