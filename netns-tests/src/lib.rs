//! Topologies of network namespaces as values, and the real programs that run in them.
//!
//! In the order a test meets them: may it run, where, what between, which processes (of others, fetched; ours), what they said, does it
//! add up.

pub mod root;

pub mod netns;
pub mod topology;

pub mod cgroup;
pub mod deadline;
pub mod process;
pub mod programs;
pub mod terminal;
pub mod threads;

pub mod apt;
pub mod cache;
pub mod dpdk;
pub mod http;
pub mod prometheus;
pub mod smcroute;

pub mod connection;
pub mod daemon;
pub mod capture;
pub mod doctor;

pub mod igmp;
pub mod packet;
pub mod raw;
pub mod datagrams;
pub mod tap;

pub mod account;
pub mod watch;
pub mod crossing;
pub mod probe;
pub mod rules;

pub mod kernel;
pub mod ledger;
pub mod stats;
pub mod numbers;

pub mod vm;
