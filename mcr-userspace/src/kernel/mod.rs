//! What the kernel is asked and told: interfaces, the XDP program, the maps of rules.

pub mod ifreq;
pub mod ethtool;
mod netlink;
mod genl;
pub mod link;
pub mod netdev;
pub mod received;
pub mod holders;
pub mod interrupts;
pub mod nic;
pub mod program;
pub mod words;
pub mod places;
pub mod flows;
pub mod version;
pub mod memory;
pub mod grace;
pub mod events;
pub mod igmp;
pub mod sockopt;
pub mod membership;
