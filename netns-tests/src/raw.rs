//! Whole frames, sent and captured on one interface by a packet socket (packet(7)).

use std::{
    ffi::CString,
    io, mem,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    ptr,
};

use anyhow::{Context, Result, ensure};

use crate::netns::Namespace;

/// Captured and not yet read: enough for thousands of the largest frames.
const BUFFER: libc::c_int = 64 << 20;
/// Longer than any frame here.
const LONGEST: usize = 4096;

/// An interface, as a wire that frames are put on and taken from.
///
/// What the interface's own side sends is not captured: only what comes in from the other end.
pub struct Wire {
    socket: OwnedFd,
    interface: String,
}

impl Wire {
    /// Opens `interface` in `namespace`; everything that comes in from now on is captured.
    pub fn open(namespace: &Namespace, interface: &str) -> Result<Self> {
        let socket = namespace.enter(|| Ok(open(interface)?));
        let socket = socket.with_context(|| format!("cannot open a packet socket on {interface}"))?;
        Ok(Self { socket, interface: interface.to_owned() })
    }

    /// The interface's name.
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// Sends a frame.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        // SAFETY: the pointer and the length are those of one slice.
        let sent = unsafe { libc::send(self.socket.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        cvt(sent as libc::c_int)
            .with_context(|| format!("cannot send {} bytes on {}", frame.len(), self.interface))
            .map(drop)
    }

    /// The frames that have come in since the last call, in their order.
    ///
    /// # Errors
    /// When the socket had no room for one.
    pub fn received(&self) -> Result<Vec<Vec<u8>>> {
        let mut frames = Vec::new();
        loop {
            match receive(&self.socket) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).with_context(|| format!("cannot read {}", self.interface)),
            }
        }
        let dropped = dropped(&self.socket)?;
        ensure!(dropped == 0, "the capture on {} lost {dropped} frames", self.interface);
        Ok(frames)
    }
}

fn open(interface: &str) -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: no pointers. Without a protocol it hears nothing until it is bound.
    let socket = cvt(unsafe { libc::socket(libc::AF_PACKET, kind, 0) })?;
    // SAFETY: the descriptor was just made and belongs to nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    set(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, BUFFER)?;
    set(&socket, libc::SOL_PACKET, libc::PACKET_AUXDATA, 1)?;
    let name = CString::new(interface)?;
    // SAFETY: a string that ends with NUL and outlives the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    // SAFETY: integers and bytes: all zero is a value of it.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = index.cast_signed();
    let length = size_of_val(&address) as libc::socklen_t;
    // SAFETY: the kernel reads `length` bytes, which is all of `address`.
    cvt(unsafe { libc::bind(socket.as_raw_fd(), ptr::from_ref(&address).cast(), length) })?;
    Ok(socket)
}

/// The next frame; `None` for one that this side has sent.
fn receive(socket: &OwnedFd) -> io::Result<Option<Vec<u8>>> {
    let mut frame = vec![0; LONGEST];
    // Aligned as control messages must be.
    let mut control = [0u64; 16];
    // SAFETY: integers and bytes: all zero is a value of it.
    let mut from: libc::sockaddr_ll = unsafe { mem::zeroed() };
    let mut part = libc::iovec { iov_base: frame.as_mut_ptr().cast(), iov_len: frame.len() };
    // SAFETY: integers and null pointers.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_name = ptr::from_mut(&mut from).cast();
    message.msg_namelen = size_of_val(&from) as libc::socklen_t;
    message.msg_iov = &mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control);
    // SAFETY: every pointer of `message` is to a live buffer of the length beside it.
    let length = cvt(unsafe { libc::recvmsg(socket.as_raw_fd(), &mut message, libc::MSG_TRUNC) } as libc::c_int)?;
    if from.sll_pkttype == libc::PACKET_OUTGOING {
        return Ok(None);
    }
    assert!(length as usize <= LONGEST, "a frame of {length} bytes");
    frame.truncate(length as usize);
    if let Some([a, b, c, d]) = tag(&message) {
        frame.splice(12..12, [a, b, c, d]);
    }
    Ok(Some(frame))
}

/// The 802.1Q tag that the kernel has taken out of the frame: protocol, then priority and VLAN ID.
fn tag(message: &libc::msghdr) -> Option<[u8; 4]> {
    // SAFETY: `message` is as recvmsg left it, so its control messages are well-formed; both functions stay within.
    let header = unsafe { libc::CMSG_FIRSTHDR(message).as_ref() }?;
    if (header.cmsg_level, header.cmsg_type) != (libc::SOL_PACKET, libc::PACKET_AUXDATA) {
        return None;
    }
    // SAFETY: a control message of this kind holds this struct, not necessarily aligned.
    let aux: libc::tpacket_auxdata =
        unsafe { libc::CMSG_DATA(header).cast::<libc::tpacket_auxdata>().read_unaligned() };
    let [a, b] = aux.tp_vlan_tpid.to_be_bytes();
    let [c, d] = aux.tp_vlan_tci.to_be_bytes();
    (aux.tp_status & libc::TP_STATUS_VLAN_VALID != 0).then_some([a, b, c, d])
}

/// Frames that the socket had no room for since it was last asked.
fn dropped(socket: &OwnedFd) -> io::Result<u32> {
    let mut stats = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
    let mut length = size_of_val(&stats) as libc::socklen_t;
    let to = ptr::from_mut(&mut stats).cast();
    // SAFETY: the kernel writes at most `length` bytes, the size of `stats`.
    cvt(unsafe { libc::getsockopt(socket.as_raw_fd(), libc::SOL_PACKET, libc::PACKET_STATISTICS, to, &mut length) })?;
    Ok(stats.tp_drops)
}

fn set(socket: &OwnedFd, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let length = size_of_val(&value) as libc::socklen_t;
    // SAFETY: the kernel reads `length` bytes, which is all of `value`.
    cvt(unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, ptr::from_ref(&value).cast(), length) }).map(drop)
}

fn cvt(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
