//! The daemon: what it was told, what it holds, and what it does about it.

pub mod options;
pub mod logger;
pub mod signals;
pub(crate) mod fit;
mod fleet;
mod follow;
mod stock;
pub(crate) mod modes;
mod offloads;
mod members;
mod others;
mod sockets;
mod interfaces;
mod slots;
mod active;
mod hearing;
mod doubts;
mod turn;
mod state;
mod survey;
mod change;
mod retire;
mod report;
mod metrics;
mod handler;
pub mod run;

pub(crate) use fleet::allowed_cpus;
