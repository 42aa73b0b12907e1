//! The control socket: what is said, and who says it.

pub mod client;
pub mod protocol;
mod looks;
mod parts;
pub mod peer;
mod reply;
pub mod server;
mod socket;
