//! What the XDP program and the daemon share, in the order in which a packet meets it.
//!
//! No allocation and no `std`: everything here also runs in the kernel.
#![no_std]
#![forbid(unsafe_code)]

pub mod checksum;
pub mod counter;
pub mod flow;
pub mod limits;
pub mod lookup;
pub mod parse;
pub mod wire;
