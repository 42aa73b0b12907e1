//! Which groups the host itself has joined (/proc/net/igmp, /proc/net/mcfilter), and its reports of them.

mod proc;
mod report;
mod repeat;

pub use proc::{Joined, Version, joined, members};
pub use repeat::repeat;
