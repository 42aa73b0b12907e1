//! The UDP sockets of both sides, and waiting for them.

use std::{
    io,
    mem::size_of_val,
    net::{Ipv4Addr, SocketAddrV4},
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use socket2::{Domain, InterfaceIndexOrAddress, Socket, Type};

use super::iface::Iface;
use crate::kernel::{membership::join_source, sockopt};

/// A socket that sends multicast out of `iface`, from `source` if given, never looped back to this machine.
///
/// # Errors
/// When the source is not one of this machine's addresses and CAP_NET_ADMIN lacks.
pub fn sender(iface: &Iface, source: Option<Ipv4Addr>, ttl: u8, dscp: u8) -> Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).context("cannot open a UDP socket")?;
    // SO_SNDBUF stays at its default: as with real senders it keeps what is on its way below veth's 256 entries.
    socket.set_multicast_loop_v4(false)?;
    socket.set_multicast_ttl_v4(ttl.into())?;
    // The DSCP is the upper six bits of the TOS byte (RFC 2474).
    sockopt::set(&socket, libc::IPPROTO_IP, libc::IP_TOS, &(libc::c_int::from(dscp) << 2))?;
    let route = libc::ip_mreqn {
        imr_multiaddr: libc::in_addr { s_addr: 0 },
        imr_address: libc::in_addr { s_addr: 0 },
        imr_ifindex: iface.index as libc::c_int,
    };
    sockopt::set(&socket, libc::IPPROTO_IP, libc::IP_MULTICAST_IF, &route)
        .with_context(|| format!("cannot send multicast on interface '{}'", iface.name))?;
    // Without it the kernel hides from a UDP sender that a queue dropped its packet (ENOBUFS; udp_send_skb).
    sockopt::set(&socket, libc::IPPROTO_IP, libc::IP_RECVERR, &1 as &libc::c_int)?;
    if let Some(source) = source {
        let address = SocketAddrV4::new(source, 0).into();
        match socket.bind(&address) {
            // Not ours. IP_FREEBIND would do for bind, but the route lookup of each packet asks for IP_TRANSPARENT.
            Err(e) if e.kind() == io::ErrorKind::AddrNotAvailable => {
                socket.set_ip_transparent_v4(true).with_context(|| {
                    format!(
                        "--source-ip {source} is not an address of this machine; sending from it needs CAP_NET_ADMIN"
                    )
                })?;
                socket.bind(&address)
            }
            other => other,
        }
        .with_context(|| format!("cannot send from {source}"))?;
    }
    Ok(socket)
}

/// Lets the kernel cut what is sent on `socket` into packets of `payload` bytes; 0: each send is one packet.
pub fn cut(socket: &Socket, payload: usize) -> io::Result<()> {
    sockopt::set(socket, libc::SOL_UDP, libc::UDP_SEGMENT, &(payload as libc::c_int))
}

/// A socket that receives one group and port, of `source` alone where there is one, only as joined on `iface`, with up to `buffer` bytes of queue.
///
/// A default socket may join 20 groups (`net.ipv4.igmp_max_memberships`), so each stream has its own.
///
/// # Errors
/// When the port is taken by a socket that does not share, or the join is refused.
pub fn receiver(iface: &Iface, target: SocketAddrV4, source: Option<Ipv4Addr>, buffer: usize) -> Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).context("cannot open a UDP socket")?;
    // several receivers of one group on one machine are normal
    socket.set_reuse_address(true)?;
    // The binding keeps other groups of this port away, the two options together those of other interfaces.
    socket.bind(&target.into()).with_context(|| format!("cannot bind {target}"))?;
    socket.set_multicast_all_v4(false)?;
    // arrival is stamped by the kernel, so that latency holds no wake-up of this process
    sockopt::set(&socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, &1 as &libc::c_int)?;
    let bytes = buffer.min(libc::c_int::MAX as usize / 2) as libc::c_int;
    if sockopt::set(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &bytes).is_err() {
        // without CAP_NET_ADMIN: as much as net.core.rmem_max allows
        socket.set_recv_buffer_size(bytes as usize)?;
    }
    let group = *target.ip();
    match source {
        None => socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(iface.index)),
        Some(source) => join_source(&socket, iface.index, group, source),
    }
    .with_context(|| format!("cannot join {group} on interface '{}'", iface.name))?;
    Ok(socket)
}

/// Packets that the kernel dropped at this socket: its queue was full, or the UDP checksum was wrong.
pub fn dropped(socket: &Socket) -> io::Result<u32> {
    const SK_MEMINFO_DROPS: usize = 8; // linux/sock_diag.h
    let mut info = [0u32; SK_MEMINFO_DROPS + 1];
    let mut len = size_of_val(&info) as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes, the size of `info`, which any bytes are valid for.
    let rc = unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_MEMINFO, info.as_mut_ptr().cast(), &mut len)
    };
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(info[SK_MEMINFO_DROPS]) }
}

/// Waits until the socket takes another packet, for at most `patience`; a signal ends it early.
pub fn wait_writable(socket: &Socket, patience: Duration) {
    let mut entry = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
    // SAFETY: one valid pollfd. The outcome does not matter: the caller tries to send again.
    unsafe { libc::poll(&mut entry, 1, patience.as_millis() as libc::c_int) };
}

/// Allows this process `wanted` open files.
///
/// # Errors
/// When the hard limit is lower and CAP_SYS_RESOURCE lacks.
pub fn allow_files(wanted: u64) -> Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is valid for one rlimit.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } < 0 {
        return Err(io::Error::last_os_error()).context("cannot read the limit of open files");
    }
    if limit.rlim_cur >= wanted {
        return Ok(());
    }
    let raised = libc::rlimit { rlim_cur: wanted, rlim_max: limit.rlim_max.max(wanted) };
    // SAFETY: the pointer is valid for one rlimit.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raised) } < 0 {
        bail!(
            "{wanted} open files are needed, one for each stream, and {} are allowed; raise `ulimit -n`",
            limit.rlim_max
        );
    }
    Ok(())
}

/// Which of many sockets have something to read.
pub struct Poller {
    epoll: OwnedFd,
    events: Vec<libc::epoll_event>,
}

impl Poller {
    /// Watches all of `sockets`; the position of each is what [`Self::wait`] gives back.
    pub fn new(sockets: &[Socket]) -> io::Result<Self> {
        // SAFETY: no pointer is passed.
        let fd: RawFd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just made and belongs to nobody else.
        let epoll = unsafe { OwnedFd::from_raw_fd(fd) };
        for (position, socket) in sockets.iter().enumerate() {
            let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: position as u64 };
            // SAFETY: both descriptors are open and `event` is valid.
            let rc = unsafe { libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, socket.as_raw_fd(), &mut event) };
            if rc < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(Self { epoll, events: vec![libc::epoll_event { events: 0, u64: 0 }; sockets.len().clamp(1, 256)] })
    }

    /// Positions of sockets that can be read; none after `patience` or on a signal.
    pub fn wait(&mut self, patience: Duration) -> io::Result<impl Iterator<Item = usize>> {
        // SAFETY: `events` is valid for its length, which is the count passed.
        let n = unsafe {
            libc::epoll_wait(
                self.epoll.as_raw_fd(),
                self.events.as_mut_ptr(),
                self.events.len() as libc::c_int,
                patience.as_millis() as libc::c_int,
            )
        };
        let n = match n {
            0.. => n as usize,
            _ => match io::Error::last_os_error() {
                e if e.kind() == io::ErrorKind::Interrupted => 0,
                e => return Err(e),
            },
        };
        Ok(self.events[..n].iter().map(|event| event.u64 as usize))
    }
}
