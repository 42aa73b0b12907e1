//! `cargo xtask bench`: what forwards multicast on Linux, side by side on one machine in one run.
//!
//! In the order of a run: what there is time for, the machine, the load and its network, who forwards, what is measured, what
//! was found, what it comes to.

pub mod interrupt;
pub mod plan;

pub mod machine;

pub mod load;

pub mod relay;

pub mod measure;

pub mod results;

pub mod judge;

pub mod report;
