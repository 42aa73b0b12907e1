//! The daemon: what it was told, what it holds, and what it does about it.

pub mod options;
pub(crate) mod fit;
mod quota;
mod budget;
mod fleet;
mod retry;
mod follow;
mod release;
mod stock;
pub(crate) mod modes;
mod trial;
mod watch;
mod scrutiny;
mod offloads;
mod members;
mod others;
mod sockets;
mod interfaces;
mod slots;
mod active;
mod hearing;
mod state;
mod survey;
mod waiting;
mod change;
mod retire;
mod report;
mod metrics;
mod handler;
pub mod run;

pub(crate) use fleet::allowed_cpus;
