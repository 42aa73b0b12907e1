//! What `cargo xtask bench` runs in the kernel: a sender, a sink, and the forwarder that is the limit for all others. No part
//! of mcr.
#![no_std]
#![no_main]

mod layout;
mod head;
mod send;
mod sink;
mod rewrite;
#[path = "../object.rs"]
mod object;
