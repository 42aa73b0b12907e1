//! What is known of the host and of an interface when it is judged.

use super::{finding::quoted, firewall::Ruleset};
use crate::{
    control::protocol::{InterfaceStats, MembershipView, OwnHostView, QueriesView, StreamView},
    kernel::{
        ethtool::{Channels, Features, Rings},
        holders::Holder,
        interrupts::Interrupt,
        link::Link,
        netdev::XdpFeatures,
        nic::Nic,
    },
};

// linux/capability.h.
/// Interfaces: attaching a program, changing offloads.
pub const CAP_NET_ADMIN: u32 = 12;
/// AF_XDP sockets.
pub const CAP_NET_RAW: u32 = 13;
/// Memory beyond the limit for locked memory.
pub const CAP_IPC_LOCK: u32 = 14;

/// The host, and this process on it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Host {
    /// The kernel's release.
    pub release: String,
    /// Its first two numbers.
    pub kernel: Option<(u32, u32)>,
    /// This process's effective capabilities, a bit for each.
    pub capabilities: u64,
    /// Bytes of memory that this process may lock; `None` is any number.
    pub memlock: Option<u64>,
    /// CPUs that this process may run on.
    pub cpus: Vec<u32>,
    /// Whether irqbalance runs.
    pub irqbalance: bool,
    /// The firewall.
    pub firewall: Ruleset,
    /// The daemon.
    pub daemon: Daemon,
    /// Where mcrd lies, or what finds it.
    pub mcrd: String,
    /// This command's words after `mcrctl`, to run it again.
    pub command: String,
}

/// What was heard on the control socket.
#[derive(Clone, Debug, PartialEq)]
pub enum Daemon {
    /// Nothing: it does not run, or there was another obstacle, named.
    Silent {
        /// Whether there is a socket all the same.
        socket: bool,
        /// Why there is no answer.
        why: String,
    },
    /// It answered.
    Runs {
        /// Its version.
        version: String,
        /// Its process.
        pid: u32,
        /// Whether it is in another network namespace: its interfaces are others.
        elsewhere: bool,
        /// Its interfaces.
        interfaces: Vec<InterfaceStats>,
        /// Who asks for its memberships.
        queries: Vec<QueriesView>,
        /// Senders and receivers on its host that it does not serve.
        own_host: Vec<OwnHostView>,
        /// Its rules.
        rules: Vec<StreamView>,
        /// What the host is a member of for them.
        memberships: Vec<MembershipView>,
    },
}

impl Default for Daemon {
    fn default() -> Self {
        Self::Silent { socket: false, why: String::new() }
    }
}

impl Host {
    /// Whether this process has a capability.
    pub fn has(&self, capability: u32) -> bool {
        self.capabilities & 1 << capability != 0
    }

    /// Whether it may ask a driver for an AF_XDP socket, and see who holds a program.
    pub fn is_privileged(&self) -> bool {
        self.has(CAP_NET_ADMIN) && self.has(CAP_NET_RAW)
    }

    /// Who asks for groups that the daemon has joined on an interface, and in VLANs on it.
    pub fn queries(&self, name: &str) -> impl Iterator<Item = &QueriesView> {
        let all = match &self.daemon {
            Daemon::Runs { elsewhere: false, queries, .. } => queries.as_slice(),
            _ => &[],
        };
        all.iter().filter(move |queries| queries.interface == name)
    }

    /// Senders and receivers by an interface on the daemon's host that it does not serve.
    pub fn own_host(&self, name: &str) -> impl Iterator<Item = &OwnHostView> {
        let all = match &self.daemon {
            Daemon::Runs { elsewhere: false, own_host, .. } => own_host.as_slice(),
            _ => &[],
        };
        all.iter().filter(move |own| own.interface == name)
    }

    /// What the daemon says of an interface that it uses; nothing of an interface where it could not attach its program.
    pub fn serves(&self, name: &str) -> Option<&InterfaceStats> {
        match &self.daemon {
            Daemon::Runs { elsewhere: false, interfaces, .. } => {
                interfaces.iter().find(|stats| stats.name == name && stats.xdp != "none")
            }
            _ => None,
        }
    }
}

/// An interface.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Interface {
    /// As the daemon reads it.
    pub nic: Nic,
    /// As rtnetlink tells it.
    pub link: Link,
    /// Where its device is; empty for one on no bus.
    pub bus: String,
    /// Names of the interfaces that are its ports.
    pub ports: Vec<String>,
    /// Name of the bridge or bond that it is a port of.
    pub master: Option<String>,
    /// A veth's peer, or what a VLAN interface is on, where it is in this network namespace.
    pub other_end: Option<String>,
    /// Whether that one leaves the tags that it sends beside the packets.
    pub other_end_keeps_tags: Option<bool>,
    /// How it checks the way back to senders: 0 not at all, 1 strictly, 2 loosely (ip-sysctl, rp_filter); `None` where that is not known.
    pub rp_filter: Option<u8>,
    /// Whether it is a wireless one.
    pub wireless: bool,
    /// Queues, where the driver tells.
    pub channels: Option<Channels>,
    /// Its rings, where the driver tells.
    pub rings: Option<Rings>,
    /// Its offloads.
    pub features: Features,
    /// Whether the receive queue of a UDP packet depends on its ports, where the driver tells.
    pub hashes_udp_ports: Option<bool>,
    /// Its device's interrupts.
    pub interrupts: Vec<Interrupt>,
    /// What its driver says of XDP, where the kernel tells.
    pub xdp_features: Option<XdpFeatures>,
    /// Who holds the program that is attached, as far as it can be seen.
    pub holders: Vec<Holder>,
    /// What the driver answered when asked for zero-copy.
    pub zero_copy: ZeroCopy,
}

/// An answer of the driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ZeroCopy {
    /// It was not asked.
    NotAsked(String),
    /// It grants it.
    Granted,
    /// It grants it, and receiving and sending have interrupts of their own, of which some drivers wake only the latter.
    Untried,
    /// It grants it, and yet packets may be lost, for this reason.
    Doubtful(String),
    /// It refuses.
    Refused(String),
    /// Another program has an AF_XDP socket on the queue.
    InUse,
}

impl Default for ZeroCopy {
    fn default() -> Self {
        Self::NotAsked(String::new())
    }
}

impl Interface {
    /// Its name, for a shell.
    pub fn word(&self) -> String {
        quoted(&self.nic.name)
    }

    /// Whether it is up, with a carrier or without.
    pub fn is_up(&self) -> bool {
        self.link.flags & libc::IFF_UP as u32 != 0
    }

    /// Its driver's name, for a sentence.
    pub fn driver(&self) -> &str {
        self.nic.driver_word()
    }

    /// Whether an offload is on, and whether it can be changed; `None` where there is none of that name.
    pub fn feature(&self, name: &str) -> Option<(bool, bool)> {
        self.features.get(name).map(|feature| (feature.on, feature.changeable))
    }
}
