//! `mcrprobe`: numbered, time-stamped streams over plain UDP sockets, and their verdict at the far end.
//!
//! Both sides use what real senders and receivers use, so that a forwarder between them meets what it
//! will meet in the field: partial checksums over virtual interfaces, IGMP joins, socket buffers.

// What was typed, and what it means here.
pub mod iface;
pub mod target;
pub mod value;

// A packet's way: when it is due, what it carries, how it is sent and received, how it is judged.
pub mod account;
pub mod batch;
pub mod clock;
pub mod pace;
pub mod payload;
pub mod recv;
pub mod send;
pub mod socket;
pub mod track;

// What is said meanwhile, and at the end.
pub mod live;
pub mod summary;
