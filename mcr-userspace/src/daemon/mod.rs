//! The daemon: what it was told, what it holds, and what it does about it.

pub mod options;
mod fleet;
pub(crate) mod grant;
mod offloads;
pub(crate) mod sockets;
mod interfaces;
mod slots;
mod active;
mod state;
mod change;
mod retire;
mod report;
mod metrics;
mod handler;
pub mod run;

pub(crate) use fleet::allowed_cpus;
