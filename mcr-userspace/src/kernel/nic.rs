//! One interface as the kernel describes it.

use std::{ffi::CString, fs, io, mem, net::Ipv4Addr};

use libc::c_char;

/// Drivers that leave partial checksums in frames: senders behind them count on a NIC that is not there.
const VIRTUAL_DRIVERS: [&str; 5] = ["veth", "tun", "tap", "bridge", "virtio_net"];

/// linux/ethtool.h.
const ETHTOOL_GDRVINFO: u32 = 0x03;
const ETHTOOL_GCHANNELS: u32 = 0x3c;
/// linux/sockios.h.
const SIOCETHTOOL: libc::Ioctl = 0x8946;

/// An interface at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// Its primary IPv4 address.
    pub address: Option<Ipv4Addr>,
}

/// linux/ethtool.h, `struct ethtool_drvinfo`.
#[repr(C)]
struct DriverInfo {
    cmd: u32,
    driver: [u8; 32],
    version: [u8; 32],
    firmware: [u8; 32],
    bus: [u8; 32],
    erom: [u8; 32],
    reserved: [u8; 12],
    counts: [u32; 5],
}

/// Which of [`Channels::max`] is of queues that receive and transmit.
const MAX_COMBINED: usize = 3;

/// linux/ethtool.h, `struct ethtool_channels`.
#[repr(C)]
#[derive(Default)]
struct Channels {
    cmd: u32,
    max: [u32; 4],
    rx: u32,
    tx: u32,
    other: u32,
    combined: u32,
}

impl Nic {
    /// Asks the kernel about `name`; `NotFound` where there is no such interface in this network namespace.
    pub fn read(name: &str) -> io::Result<Self> {
        let kernel = Asker::new(name)?;
        let driver = kernel.driver();
        let (rx_queues, tx_queues, max_queues) = kernel.queues();
        let more = if driver == "virtio_net" { aya::util::nr_cpus().map_or(0, |cpus| cpus as u32) } else { 0 };
        Ok(Self {
            name: name.to_owned(),
            ifindex: kernel.ifindex()?,
            driver,
            rx_queues,
            tx_queues,
            xdp_rx_queues: rx_queues + if rx_queues + more <= max_queues { more } else { 0 },
            max_queues,
            mtu: kernel.mtu()?,
            mac: kernel.mac()?,
            address: kernel.address(),
        })
    }

    /// Whether frames that come in here may carry partial checksums (interface.md, "Packets").
    pub fn leaves_partial_checksums(&self) -> bool {
        VIRTUAL_DRIVERS.contains(&self.driver.as_str())
    }
}

/// A socket to ask about one interface.
struct Asker {
    socket: std::net::UdpSocket,
    name: [c_char; libc::IFNAMSIZ],
    text: String,
}

impl Asker {
    fn new(name: &str) -> io::Result<Self> {
        let text = CString::new(name)?;
        if text.as_bytes_with_nul().len() > libc::IFNAMSIZ {
            return Err(io::Error::from_raw_os_error(libc::ENODEV));
        }
        let mut buffer = [0; libc::IFNAMSIZ];
        for (to, from) in buffer.iter_mut().zip(text.as_bytes()) {
            *to = *from as c_char;
        }
        let asker = Self {
            socket: std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?,
            name: buffer,
            text: name.to_owned(),
        };
        asker.ifindex()?;
        Ok(asker)
    }

    fn ioctl(&self, request: libc::Ioctl, ifreq: &mut libc::ifreq) -> io::Result<()> {
        use std::os::fd::AsRawFd;
        // SAFETY: `ifreq` is a valid `struct ifreq`; where it carries a pointer, `ethtool` below keeps its target alive.
        match unsafe { libc::ioctl(self.socket.as_raw_fd(), request, std::ptr::from_mut(ifreq)) } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }

    fn request(&self, request: libc::Ioctl) -> io::Result<libc::ifreq> {
        // SAFETY: `ifreq` is integers, bytes and a pointer: all zero is a value of it.
        let mut ifreq: libc::ifreq = unsafe { mem::zeroed() };
        ifreq.ifr_name = self.name;
        self.ioctl(request, &mut ifreq)?;
        Ok(ifreq)
    }

    fn ethtool<T>(&self, value: &mut T) -> io::Result<()> {
        // SAFETY: as in `request`.
        let mut ifreq: libc::ifreq = unsafe { mem::zeroed() };
        ifreq.ifr_name = self.name;
        ifreq.ifr_ifru.ifru_data = std::ptr::from_mut(value).cast();
        self.ioctl(SIOCETHTOOL, &mut ifreq)
    }

    fn ifindex(&self) -> io::Result<u32> {
        // SAFETY: SIOCGIFINDEX fills this member.
        Ok(unsafe { self.request(libc::SIOCGIFINDEX)?.ifr_ifru.ifru_ifindex } as u32)
    }

    fn mtu(&self) -> io::Result<u32> {
        // SAFETY: SIOCGIFMTU fills this member.
        Ok(unsafe { self.request(libc::SIOCGIFMTU)?.ifr_ifru.ifru_mtu } as u32)
    }

    fn mac(&self) -> io::Result<[u8; 6]> {
        // SAFETY: SIOCGIFHWADDR fills this member.
        let data = unsafe { self.request(libc::SIOCGIFHWADDR)?.ifr_ifru.ifru_hwaddr.sa_data };
        Ok(std::array::from_fn(|i| data[i] as u8))
    }

    fn address(&self) -> Option<Ipv4Addr> {
        let ifreq = self.request(libc::SIOCGIFADDR).ok()?;
        // SAFETY: SIOCGIFADDR fills this member with a `sockaddr_in`, whose address follows family and port.
        let data = unsafe { ifreq.ifr_ifru.ifru_addr.sa_data };
        let octets: [u8; 4] = std::array::from_fn(|i| data[2 + i] as u8);
        Some(Ipv4Addr::from(octets)).filter(|address| !address.is_unspecified())
    }

    fn driver(&self) -> String {
        // SAFETY: integers and bytes: all zero is a value of it.
        let mut info: DriverInfo = unsafe { mem::zeroed() };
        info.cmd = ETHTOOL_GDRVINFO;
        match self.ethtool(&mut info) {
            Ok(()) => {
                let end = info.driver.iter().position(|&b| b == 0).unwrap_or(info.driver.len());
                String::from_utf8_lossy(&info.driver[..end]).into_owned()
            }
            Err(_) => String::new(),
        }
    }

    /// Receive and transmit queues in use: what the driver says, else what sysfs lists, else one of each; and how many for both there
    /// can be.
    fn queues(&self) -> (u32, u32, u32) {
        let mut channels = Channels { cmd: ETHTOOL_GCHANNELS, ..Channels::default() };
        if self.ethtool(&mut channels).is_ok() {
            let (rx, tx) = (channels.rx + channels.combined, channels.tx + channels.combined);
            if rx > 0 && tx > 0 {
                return (rx, tx, channels.max[MAX_COMBINED]);
            }
        }
        let count = |prefix: &str| {
            let entries = fs::read_dir(format!("/sys/class/net/{}/queues", self.text)).ok()?;
            let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
            Some(names.filter(|name| name.starts_with(prefix)).count() as u32).filter(|&n| n > 0)
        };
        (count("rx-").unwrap_or(1), count("tx-").unwrap_or(1), 0)
    }
}
