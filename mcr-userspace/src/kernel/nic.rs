//! One interface as the kernel describes it.

use std::{fs, io, net::Ipv4Addr, sync::OnceLock};

use super::{
    address::{self, Chosen},
    answer::known,
    ethtool::Ethtool,
    ifreq::Asker,
    link,
};

/// An interface at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nic {
    /// Its name.
    pub name: String,
    /// Its index; another one once it was deleted and made again.
    pub ifindex: u32,
    /// Its driver as ethtool names it; empty where the driver does not say.
    pub driver: String,
    /// Receive queues in use.
    pub rx_queues: u32,
    /// Transmit queues in use.
    pub tx_queues: u32,
    /// Receive queues once a program is attached: virtio_net takes one more for each CPU then, where it has so many.
    pub xdp_rx_queues: u32,
    /// As many queues as there can be.
    pub max_queues: u32,
    /// Bytes of the largest IP packet.
    pub mtu: u32,
    /// Its Ethernet address.
    pub mac: [u8; 6],
    /// The IPv4 address that the kernel sends from here to groups in general.
    pub address: Option<Ipv4Addr>,
    /// Prefix length of that, where it is the interface's own.
    pub prefix: Option<u8>,
    /// Whether that may be another one for some groups.
    pub address_by_group: bool,
    /// What its link is (linux/if_arp.h): `ARPHRD_ETHER` and others.
    pub hardware: u16,
    /// What made it: `veth`, `bond` and others; empty for a device.
    pub kind: String,
    /// What it is a port of.
    pub master: Option<Master>,
}

/// A bridge, bond, team or VRF, as its port sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Master {
    /// Its name.
    pub name: String,
    /// What made it: `bridge`, `bond`, `team`, `vrf` and others.
    pub kind: String,
}

/// A name was asked about that is not the one the interface goes by (`ip link property add dev NAME altname OTHER`).
#[derive(Debug, thiserror::Error)]
#[error("is an alternative name (altname) of {name}; write {name}")]
pub struct Altname {
    /// The interface's name.
    pub name: String,
}

impl Nic {
    /// Asks the kernel about `name`; `ENODEV` where there is no such interface in this network namespace, an [`Altname`] where its name
    /// is another one.
    pub fn read(name: &str) -> io::Result<Self> {
        let ethtool = Ethtool::of(Asker::new(name)?);
        let driver = known(ethtool.driver())?.unwrap_or_default().name;
        let (rx_queues, tx_queues, max_queues) = queues(&ethtool, name)?;
        let kernel = ethtool.asker();
        let more = if driver == "virtio_net" { cpus()? } else { 0 };
        let link = link::of(kernel.ifindex()?)?;
        if link.name != name {
            return Err(match link.altnames.iter().any(|altname| altname == name) {
                true => io::Error::other(Altname { name: link.name }),
                // It was renamed meanwhile.
                false => io::Error::from_raw_os_error(libc::ENODEV),
            });
        }
        let master = match link.master {
            Some(master) => Some(Master { name: link::of(master)?.name, kind: link.port_of.clone() }),
            None => None,
        };
        let Chosen { address, prefix, by_group } = address::chosen(&link, None)?;
        Ok(Self {
            name: name.to_owned(),
            ifindex: link.ifindex,
            driver,
            rx_queues,
            tx_queues,
            xdp_rx_queues: rx_queues + if rx_queues + more <= max_queues { more } else { 0 },
            max_queues,
            mtu: kernel.mtu()?,
            mac: kernel.mac()?,
            address,
            prefix,
            address_by_group: by_group,
            hardware: link.hardware,
            kind: link.kind,
            master,
        })
    }

    /// Its driver's name, for a sentence.
    pub fn driver_word(&self) -> &str {
        if self.driver.is_empty() { "its driver" } else { &self.driver }
    }
}

impl Asker {
    fn mtu(&self) -> io::Result<u32> {
        // SAFETY: SIOCGIFMTU fills this member.
        Ok(unsafe { self.request(libc::SIOCGIFMTU)?.ifr_ifru.ifru_mtu } as u32)
    }

    fn mac(&self) -> io::Result<[u8; 6]> {
        // SAFETY: SIOCGIFHWADDR fills this member.
        let data = unsafe { self.request(libc::SIOCGIFHWADDR)?.ifr_ifru.ifru_hwaddr.sa_data };
        Ok(std::array::from_fn(|i| data[i] as u8))
    }
}

/// Receive and transmit queues in use: what the driver says, else what sysfs lists, else one of each; and how many for both there can
/// be.
fn queues(ethtool: &Ethtool, name: &str) -> io::Result<(u32, u32, u32)> {
    if let Some(channels) = known(ethtool.channels())?
        && channels.rx > 0
        && channels.tx > 0
    {
        return Ok((channels.rx, channels.tx, channels.max[2]));
    }
    let names = match fs::read_dir(format!("/sys/class/net/{name}/queues")) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<io::Result<Vec<_>>>()?,
        // Of another network namespace's /sys.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    let count = |prefix: &str| {
        let names = names.iter().filter(|name| name.to_str().is_some_and(|name| name.starts_with(prefix)));
        names.count().max(1) as u32
    };
    Ok((count("rx-"), count("tx-"), 0))
}

/// CPUs that there can be; asked once, since that does not change.
fn cpus() -> io::Result<u32> {
    static CPUS: OnceLock<u32> = OnceLock::new();
    match CPUS.get() {
        Some(cpus) => Ok(*cpus),
        None => {
            let cpus = aya::util::nr_cpus().map_err(|(_, error)| error)?;
            Ok(*CPUS.get_or_init(|| cpus as u32))
        }
    }
}
