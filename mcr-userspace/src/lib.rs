//! The library behind `mcrd`, `mcrctl` and `mcrprobe`, in the order in which control and packets flow.

pub mod memory;
pub mod pcapng;
pub mod config;
pub mod rules;
pub mod control;
pub mod ctl;
pub mod kernel;
pub mod xsk;
pub mod forward;
pub mod daemon;
pub mod doctor;
pub mod probe;
pub mod usage;
