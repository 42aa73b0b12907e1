//! Which groups the host itself has joined (/proc/net/igmp, /proc/net/mcfilter), its reports of them, and who asks for these.

mod proc;
mod packet;
mod report;
mod repeat;
mod filter;
mod ear;

pub use ear::{Ear, Sent};
pub use proc::{Joined, Version, members};
pub use repeat::repeat;
