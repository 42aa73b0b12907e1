//! The forwarding daemon.

fn main() {}
