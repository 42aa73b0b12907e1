//! Questions about one interface by its name: `ioctl`s with a `struct ifreq` (netdevice(7)).

use std::{
    ffi::{CStr, CString},
    io, mem,
    net::{Ipv4Addr, UdpSocket},
    os::fd::AsRawFd,
    sync::OnceLock,
};

use libc::c_char;

/// Asks about one interface of the network namespace of the thread that asked first.
#[derive(Debug)]
pub(super) struct Asker {
    socket: &'static UdpSocket,
    name: [c_char; libc::IFNAMSIZ],
}

/// The socket by which all is asked, made with the first question and kept: later ones need no descriptor.
pub(super) fn socket() -> io::Result<&'static UdpSocket> {
    static SOCKET: OnceLock<UdpSocket> = OnceLock::new();
    match SOCKET.get() {
        Some(socket) => Ok(socket),
        None => {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            Ok(SOCKET.get_or_init(|| socket))
        }
    }
}

impl Asker {
    /// Asks about `name`; `ENODEV` where there is no such interface.
    pub(super) fn new(name: &str) -> io::Result<Self> {
        let text = CString::new(name)?;
        if text.as_bytes_with_nul().len() > libc::IFNAMSIZ {
            return Err(io::Error::from_raw_os_error(libc::ENODEV));
        }
        let mut buffer = [0; libc::IFNAMSIZ];
        for (to, from) in buffer.iter_mut().zip(text.as_bytes()) {
            *to = *from as c_char;
        }
        let asker = Self { socket: socket()?, name: buffer };
        asker.ifindex()?;
        Ok(asker)
    }

    /// One `ioctl`, and the request as the kernel left it.
    pub(super) fn request(&self, request: libc::Ioctl) -> io::Result<libc::ifreq> {
        let mut ifreq = self.named();
        ioctl(self.socket, request, &mut ifreq)?;
        Ok(ifreq)
    }

    /// An `ioctl` that is handed `words`, which must be as long as the kernel reads and writes for it, and its result.
    pub(super) fn hand_over(&self, request: libc::Ioctl, words: &mut [u32]) -> io::Result<libc::c_int> {
        let mut ifreq = self.named();
        ifreq.ifr_ifru.ifru_data = words.as_mut_ptr().cast();
        ioctl(self.socket, request, &mut ifreq)
    }

    /// The interface's index.
    pub(super) fn ifindex(&self) -> io::Result<u32> {
        // SAFETY: SIOCGIFINDEX fills this member.
        Ok(unsafe { self.request(libc::SIOCGIFINDEX)?.ifr_ifru.ifru_ifindex } as u32)
    }

    fn named(&self) -> libc::ifreq {
        let mut ifreq = empty();
        ifreq.ifr_name = self.name;
        ifreq
    }
}

fn empty() -> libc::ifreq {
    // SAFETY: `ifreq` is integers, bytes and a pointer: all zero is a value of it.
    unsafe { mem::zeroed() }
}

fn ioctl(socket: &UdpSocket, request: libc::Ioctl, ifreq: &mut libc::ifreq) -> io::Result<libc::c_int> {
    // SAFETY: `ifreq` is a valid `struct ifreq`; where it carries a pointer, `hand_over` borrows its target for as long.
    match unsafe { libc::ioctl(socket.as_raw_fd(), request, std::ptr::from_mut(ifreq)) } {
        -1 => Err(io::Error::last_os_error()),
        result => Ok(result),
    }
}

/// Whether an interface is up, and whether it can carry packets (netdevice(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags {
    /// `IFF_UP`: somebody has set it up.
    pub up: bool,
    /// `IFF_RUNNING`: it has a carrier.
    pub running: bool,
}

/// The flags of an interface; `ENODEV` where there is none of that name.
pub fn flags(name: &str) -> io::Result<Flags> {
    let ifreq = Asker::new(name)?.request(libc::SIOCGIFFLAGS)?;
    // SAFETY: SIOCGIFFLAGS fills this member.
    let flags = libc::c_int::from(unsafe { ifreq.ifr_ifru.ifru_flags });
    Ok(Flags { up: flags & libc::IFF_UP != 0, running: flags & libc::IFF_RUNNING != 0 })
}

/// Whether an interface is up and has a carrier; not where it cannot be asked.
pub fn has_link(name: &str) -> bool {
    flags(name).is_ok_and(|flags| flags.running)
}

/// The name that an interface has now; `ENODEV` where there is no such interface. Every other error says nothing about it.
pub fn name_of(ifindex: u32) -> io::Result<String> {
    let mut ifreq = empty();
    ifreq.ifr_ifru.ifru_ifindex = ifindex as libc::c_int;
    ioctl(socket()?, libc::SIOCGIFNAME, &mut ifreq)?;
    // SAFETY: the kernel ends the name with a NUL (`netdev_get_name()`, net/core/dev.c).
    Ok(unsafe { CStr::from_ptr(ifreq.ifr_name.as_ptr()) }.to_string_lossy().into_owned())
}
