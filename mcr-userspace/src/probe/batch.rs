//! Many packets in one system call: one large send that the kernel cuts, and `recvmmsg` with buffers made once.

use std::{io, os::fd::AsRawFd, ptr};

use socket2::{SockAddr, Socket};

use super::{
    clock,
    payload::{self, Header},
};

/// Packets of one send, all of one stream. They carry one time stamp, so it is small: 8 take about 10 us.
const SEND: usize = 8;
/// Packets of one `recvmmsg`.
pub const RECEIVE: usize = 64;

/// Payloads that lie one behind the other, which the kernel cuts into packets (`UDP_SEGMENT`, Linux 4.18).
pub struct SendBatch {
    payloads: Vec<u8>,
    size: usize,
    most: usize,
}

impl SendBatch {
    /// Filled payloads of `size` bytes (18 to 65,507) each: `SEND`, or as many as one datagram has room for.
    pub fn new(size: usize) -> Self {
        let most = (payload::LARGEST / size).min(SEND);
        let mut payloads = vec![0; size * most];
        payloads.chunks_exact_mut(size).for_each(payload::fill);
        Self { payloads, size, most }
    }

    /// Packets that one call can send.
    pub fn most(&self) -> usize {
        self.most
    }

    /// Makes packet `slot` (below [`most`](Self::most)) the one that `header` describes.
    pub fn set(&mut self, slot: usize, header: Header) {
        header.encode(&mut self.payloads[slot * self.size..][..self.size]);
    }

    /// Sends the first `n` packets, each set before, without waiting: all or none.
    ///
    /// # Errors
    /// Why the kernel did not take them.
    pub fn send(&self, socket: &Socket, target: &SockAddr, n: usize) -> io::Result<()> {
        socket.send_to_with_flags(&self.payloads[..n * self.size], target, libc::MSG_DONTWAIT).map(drop)
    }
}

/// Room for one control message with a timespec: CMSG_SPACE is 32 bytes, and the header wants this alignment.
type Control = [u64; 4];

/// Buffers to receive into, and the kernel's descriptions of them. The messages point into `iovecs` and `controls`, the
/// former into `buffers`, whose heap blocks are never resized or freed while it lives; moving the struct moves none of them.
pub struct RecvBatch {
    buffers: Vec<u8>,
    size: usize,
    #[expect(dead_code, reason = "`messages` point at them")]
    iovecs: Vec<libc::iovec>,
    controls: Vec<Control>,
    messages: Vec<libc::mmsghdr>,
}

impl RecvBatch {
    /// [`RECEIVE`] buffers for payloads of up to `size` bytes.
    pub fn new(size: usize) -> Self {
        let mut buffers = vec![0; size * RECEIVE];
        let mut iovecs = iovecs(&mut buffers, size);
        let messages = messages(&mut iovecs);
        Self { buffers, size, iovecs, controls: vec![[0; 4]; RECEIVE], messages }
    }

    /// Receives what is there, up to [`RECEIVE`] packets; with `wait` blocks for the first one as long as the
    /// socket's read timeout. 0 when there was none in time or a signal arrived.
    pub fn receive(&mut self, socket: &Socket, wait: bool) -> io::Result<usize> {
        for (message, control) in self.messages.iter_mut().zip(&mut self.controls) {
            message.msg_hdr.msg_control = control.as_mut_ptr().cast();
            message.msg_hdr.msg_controllen = size_of::<Control>(); // the kernel overwrites it
        }
        let flags = if wait { libc::MSG_WAITFORONE } else { libc::MSG_DONTWAIT } | libc::MSG_TRUNC;
        // SAFETY: each message points at one iovec, its buffer and a control buffer, alive and in place (see the
        // struct); the kernel writes no more than their lengths, and the count is the number of messages.
        let n = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.messages.as_mut_ptr(),
                self.messages.len() as libc::c_uint,
                flags,
                ptr::null_mut(),
            )
        };
        if n >= 0 {
            return Ok(n as usize);
        }
        match io::Error::last_os_error() {
            e if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(0),
            e => Err(e),
        }
    }

    /// Payload of packet `slot` of the last [`Self::receive`]; `None` when it was larger than a buffer.
    pub fn payload(&self, slot: usize) -> Option<&[u8]> {
        // MSG_TRUNC: the length on the wire, even where it did not fit
        let len = self.messages[slot].msg_len as usize;
        self.buffers[slot * self.size..][..self.size].get(..len)
    }

    /// When packet `slot` of the last [`Self::receive`] reached the kernel (CLOCK_REALTIME, nanoseconds); `None`
    /// when the socket was not asked for it (SO_TIMESTAMPNS).
    pub fn arrived_ns(&self, slot: usize) -> Option<u64> {
        let message = &self.messages[slot].msg_hdr;
        // SAFETY: `msg_control` points at this slot's control buffer and `msg_controllen` is what the kernel wrote
        // there, so a header that CMSG_FIRSTHDR gives is complete; its data is read after its type was checked.
        unsafe {
            let control = libc::CMSG_FIRSTHDR(message).as_ref()?;
            let stamped = control.cmsg_level == libc::SOL_SOCKET && control.cmsg_type == libc::SCM_TIMESTAMPNS;
            stamped.then(|| clock::nanoseconds(libc::CMSG_DATA(control).cast::<libc::timespec>().read_unaligned()))
        }
    }
}

fn iovecs(buffers: &mut [u8], size: usize) -> Vec<libc::iovec> {
    buffers
        .chunks_exact_mut(size)
        .map(|chunk| libc::iovec { iov_base: chunk.as_mut_ptr().cast(), iov_len: size })
        .collect()
}

fn messages(iovecs: &mut [libc::iovec]) -> Vec<libc::mmsghdr> {
    iovecs
        .iter_mut()
        .map(|iovec| {
            // SAFETY: mmsghdr is plain data; all zeroes means no name, no control data, no flags.
            let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
            message.msg_hdr.msg_iov = iovec;
            message.msg_hdr.msg_iovlen = 1;
            message
        })
        .collect()
}
