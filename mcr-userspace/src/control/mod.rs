//! The control socket: what is said, and who says it.

pub mod protocol;
