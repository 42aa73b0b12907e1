//! The load: what is sent and by whom, in which network, and what came of it.

#[path = "../../../../mcr-ebpf/src/bench/layout.rs"]
pub mod layout;
pub mod pod;

pub mod frame;
pub mod kernel;
pub mod socket;

pub mod delays;
pub mod stage;
