//! What the probe has to know of its interface, asked from the kernel in this network namespace.

use std::{
    ffi::CString,
    net::Ipv4Addr,
    os::fd::AsRawFd,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use socket2::{Domain, Socket, Type};

use crate::{daemon::vlan_remedy as remedy, kernel::link};

/// An interface that exists and is up.
#[derive(Clone, Debug)]
pub struct Iface {
    /// Its name.
    pub name: String,
    /// Its index in this network namespace.
    pub index: u32,
    /// Largest IP packet in bytes; the Ethernet header is not counted.
    pub mtu: usize,
    /// Its first IPv4 address.
    pub address: Option<Ipv4Addr>,
}

impl Iface {
    /// Looks the interface up.
    ///
    /// # Errors
    /// When there is none of that name, or it is administratively down.
    pub fn find(name: &str) -> Result<Self> {
        let text = CString::new(name).map_err(|_| anyhow!("interface '{}': no such name", name.escape_default()))?;
        // SAFETY: `text` is a NUL-terminated string that outlives the call.
        let index = unsafe { libc::if_nametoindex(text.as_ptr()) };
        if index == 0 {
            bail!("interface '{name}' does not exist in this network namespace; `ip link` lists those that do");
        }
        let request = Request::new(&text)?;
        if request.flags()? & libc::IFF_UP == 0 {
            bail!("interface '{name}' is down; bring it up with `ip link set {name} up`");
        }
        Ok(Self { name: name.into(), index, mtu: request.mtu()?, address: request.address() })
    }

    /// The host's interface in this VLAN on this one: packets are tagged and untagged there.
    ///
    /// # Errors
    /// When there is none, or it is down.
    pub fn in_vlan(&self, vlan: u16) -> Result<Self> {
        let links = link::all().context("cannot list interfaces")?;
        let found = links.iter().find(|link| link.other_end == Some(self.index) && link.vlan == Some(vlan));
        match found {
            Some(found) => Self::find(&found.name),
            None => {
                bail!("interface '{}' has none in VLAN {vlan} on it; make one: {}", self.name, remedy(&self.name, vlan))
            }
        }
    }

    /// Waits up to `patience` for a carrier: what is sent without one is dropped by the kernel without an error.
    ///
    /// # Errors
    /// When there is still none.
    pub fn wait_for_carrier(&self, patience: Duration) -> Result<()> {
        let request = Request::new(&CString::new(self.name.as_str())?)?;
        let started = Instant::now();
        while request.flags()? & libc::IFF_RUNNING == 0 {
            if started.elapsed() >= patience {
                bail!("interface '{}' has no carrier: the other end is down or not there", self.name);
            }
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

/// Asks one interface through `ioctl` (netdevice(7)): unlike /sys that follows the network namespace.
struct Request {
    socket: Socket,
    name: [libc::c_char; libc::IFNAMSIZ],
}

impl Request {
    fn new(text: &CString) -> Result<Self> {
        let mut name = [0; libc::IFNAMSIZ];
        // an interface of this name exists, so it is shorter than IFNAMSIZ
        for (to, from) in name[..libc::IFNAMSIZ - 1].iter_mut().zip(text.as_bytes()) {
            *to = *from as libc::c_char;
        }
        Ok(Self { socket: Socket::new(Domain::IPV4, Type::DGRAM, None).context("cannot open a socket")?, name })
    }

    fn ask(&self, what: libc::Ioctl) -> std::io::Result<libc::ifreq> {
        // SAFETY: ifreq is plain data, for which all zeroes is a valid value.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        request.ifr_name = self.name;
        // SAFETY: the callers ask only SIOCGIF*, which read and write one ifreq.
        let rc = unsafe { libc::ioctl(self.socket.as_raw_fd(), what, &mut request) };
        if rc < 0 { Err(std::io::Error::last_os_error()) } else { Ok(request) }
    }

    fn flags(&self) -> Result<i32> {
        let answer = self.ask(libc::SIOCGIFFLAGS).context("cannot read the interface's flags")?;
        // SAFETY: SIOCGIFFLAGS succeeded, so the flags member is the one that was written.
        Ok(unsafe { answer.ifr_ifru.ifru_flags }.into())
    }

    fn mtu(&self) -> Result<usize> {
        let answer = self.ask(libc::SIOCGIFMTU).context("cannot read the interface's MTU")?;
        // SAFETY: SIOCGIFMTU succeeded, so the MTU member is the one that was written.
        Ok(unsafe { answer.ifr_ifru.ifru_mtu } as usize)
    }

    fn address(&self) -> Option<Ipv4Addr> {
        let answer = self.ask(libc::SIOCGIFADDR).ok()?;
        // SAFETY: SIOCGIFADDR succeeded, so the address member was written.
        let data = unsafe { answer.ifr_ifru.ifru_addr }.sa_data;
        // a sockaddr_in after its family: port (2 bytes), then the address in network order
        Some(Ipv4Addr::new(data[2] as u8, data[3] as u8, data[4] as u8, data[5] as u8))
    }
}
