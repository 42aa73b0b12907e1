//! What the kernel is asked and told: interfaces, the XDP program, the maps of rules.

pub mod answer;
pub mod descriptors;
pub mod ifreq;
pub mod ethtool;
mod netlink;
mod genl;
pub mod link;
pub mod address;
pub mod nftables;
pub mod netdev;
pub mod received;
pub mod holders;
pub mod interrupts;
pub mod nic;
pub mod virtual_nic;
pub mod btf;
pub mod skb;
pub mod unmatched;
pub mod program;
pub mod words;
mod xdp_log;
pub mod places;
pub mod flows;
pub mod version;
pub mod memory;
pub mod capabilities;
pub mod grace;
pub mod sched;
pub mod events;
pub mod igmp;
pub mod sockopt;
pub mod membership;

/// Opens the sockets by which the kernel is asked, while there are descriptors: from then on no question fails for lack of one.
///
/// # Errors
///
/// There is no descriptor for one of them.
pub fn prepare() -> std::io::Result<()> {
    ifreq::socket()?;
    netlink::prepare()
}
