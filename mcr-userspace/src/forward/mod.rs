//! The packet path in user space, in the order in which a packet meets it.

pub mod fetch;
pub mod outputs;
pub mod counters;
pub mod capture;
pub mod rule;
pub mod validate;
pub mod sources;
pub mod plan;
pub mod rewrite;
pub mod mailbox;
pub mod table;
pub mod store;
pub mod depth;
pub mod desk;
pub mod egress;
pub mod passage;
pub mod merged;
mod reserve;
pub mod wait;
pub mod worker;
