//! What the XDP program and the daemon share, in the order in which a packet meets it.
//!
//! No allocation and no `std`: everything here also runs in the kernel.
#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]

pub mod wire;
pub mod parse;
pub mod hidden;
pub mod flow;
pub mod skb;
pub mod steered;
pub mod lookup;
pub mod places;
pub mod counter;
pub mod unmatched;
pub mod checksum;
pub mod limits;
#[cfg(feature = "user")]
mod pod;
