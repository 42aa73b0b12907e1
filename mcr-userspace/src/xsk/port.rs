//! One AF_XDP socket: one queue of one interface, both directions.

use std::{
    ffi::CString,
    io,
    os::fd::{AsRawFd, RawFd},
    ptr, thread,
    time::{Duration, Instant},
};

use xsk_rs::{
    CompQueue, FillQueue, FrameDesc, RxQueue, Socket, TxQueue,
    config::{BindFlags, Interface, LibxdpFlags, QueueSize, SocketConfig},
    socket::SocketCreateError,
};

use super::{
    frame::{Frame, Pool},
    options::{self, LEAST_BUDGET},
    txring::TxRing,
    umem::{FILL_RING, Memory},
};
use crate::kernel::{descriptors, version as kernel};

/// Descriptors of the RX ring: as many as the fill ring has frames, so that it never overflows before that one is empty.
const RX_RING: u32 = FILL_RING;
/// Descriptors of the TX ring: the most frames that a stalled egress can hold.
pub const TX_RING: u32 = 2048;
/// Descriptors moved at a time.
const BATCH: usize = 256;
/// Descriptors that libxdp needs at a time for one socket.
const LIBXDP_DESCRIPTORS: usize = 4;
/// How long a bind is tried again where the queue is still being released.
const BIND_PATIENCE: Duration = Duration::from_secs(1);

/// What a socket asks of the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bind {
    /// DMA to and from the UMEM, or an error.
    ZeroCopy,
    /// A copy between skb and UMEM.
    Copy,
    /// The same, and packets that need several frames ([`Frame::is_continued`]): Linux 6.6.
    CopyChains,
    /// What the first socket of the UMEM got: the kernel allows no choice after it.
    Shared,
}

/// How many frames a socket may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Kept with the kernel for receiving, at most [`FILL_RING`].
    pub fill: u32,
    /// Under way at most, so that a stalled egress leaves the others theirs; at most [`TX_RING`].
    pub send: u32,
}

impl Quota {
    /// All of them.
    pub fn frames(self) -> u32 {
        self.fill + self.send
    }
}

/// Whether an egress takes packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// It does.
    Up,
    /// The interface is administratively down, or gone.
    Down,
}

/// A bound socket and the frames in its rings.
#[derive(Debug)]
pub struct Port {
    rx: RxQueue,
    tx: TxQueue,
    fill: FillQueue,
    completion: CompQueue,
    /// Where descriptors can be taken back.
    ring: Option<TxRing>,
    zero_copy: bool,
    /// Whether its owner runs the driver's NAPI: see [`poll_driver`](Self::poll_driver).
    polls: bool,
    quota: Quota,
    /// Frames in the fill and RX rings.
    receiving: u32,
    /// Descriptors ever put into the TX ring, and which they were: number `n` at `n % TX_RING`.
    submitted: u64,
    order: Box<[FrameDesc]>,
    /// Descriptors that the kernel is known to have read; it may have read more (see [`kick`](Self::kick)).
    consumed: u64,
    /// Descriptors numbered below this have been taken back.
    void_below: u64,
    /// Its own number.
    number: u16,
    /// The UMEM: its number, bytes of a frame as a power of two, and its end, beyond which a completed address is a descriptor that
    /// was made invalid.
    memory: u8,
    frame_shift: u32,
    umem_end: usize,
    /// Frames in the TX and completion rings.
    sending: u32,
    scratch: Box<[FrameDesc]>,
}

impl Port {
    /// Binds a socket to `queue` of `interface`, which must be in the calling thread's network namespace.
    pub fn open(memory: &Memory, interface: &str, queue: u32, bind: Bind, quota: Quota) -> io::Result<Self> {
        let flags = match bind {
            Bind::ZeroCopy => BindFlags::XDP_ZEROCOPY | BindFlags::XDP_USE_NEED_WAKEUP,
            Bind::Copy => BindFlags::XDP_COPY | BindFlags::XDP_USE_NEED_WAKEUP,
            Bind::CopyChains => BindFlags::XDP_COPY | BindFlags::XDP_USE_NEED_WAKEUP | BindFlags::XDP_USE_SG,
            Bind::Shared => BindFlags::empty(),
        };
        let size = |n| QueueSize::new(n).map_err(io::Error::other);
        let config = SocketConfig::builder()
            .rx_queue_size(size(RX_RING)?)
            .tx_queue_size(size(TX_RING)?)
            .libxdp_flags(LibxdpFlags::XSK_LIBXDP_FLAGS_INHIBIT_PROG_LOAD)
            .bind_flags(flags)
            .build();
        let name = Interface::new(CString::new(interface)?);
        // libxdp answers ENOENT where it gets too few.
        descriptors::are_left(LIBXDP_DESCRIPTORS)?;
        let deadline = Instant::now() + BIND_PATIENCE;
        let (tx, rx, rings) = loop {
            // SAFETY: the flag that the contract asks for is set above.
            match unsafe { Socket::new(config, memory.umem(), &name, queue) }.map_err(errno) {
                Ok(queues) => break queues,
                // The kernel releases a queue a moment after its last owner has closed it.
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) && Instant::now() < deadline => {
                    thread::sleep(Duration::from_millis(20));
                }
                Err(error) => return Err(error),
            }
        };
        let (fill, completion) =
            rings.ok_or_else(|| io::Error::other(format!("queue {queue} of {interface} is bound already")))?;
        let fd = rx.fd().as_raw_fd();
        let zero_copy = options::is_zero_copy(fd)?;
        if !zero_copy {
            options::raise_limits(fd);
        }
        // Only where it is of use: Linux 6.1 maps no ring of a bound socket.
        let takes_back = !zero_copy && kernel::shows_tx_consumer();
        let ring = takes_back.then(|| TxRing::map(fd, TX_RING)).transpose()?;
        Ok(Self {
            ring,
            rx,
            tx,
            fill,
            completion,
            zero_copy,
            polls: false,
            quota: Quota { fill: quota.fill.min(FILL_RING), send: quota.send.min(TX_RING) },
            receiving: 0,
            submitted: 0,
            consumed: 0,
            order: vec![FrameDesc::default(); TX_RING as usize].into(),
            void_below: 0,
            number: 0,
            memory: memory.number(),
            frame_shift: memory.frame_size().trailing_zeros(),
            umem_end: memory.frames() as usize * memory.frame_size(),
            sending: 0,
            scratch: vec![FrameDesc::default(); BATCH].into(),
        })
    }

    /// Whether the kernel granted zero-copy: what it says itself (`XDP_OPTIONS`), not what was asked for.
    pub fn is_zero_copy(&self) -> bool {
        self.zero_copy
    }

    /// Leaves the driver's queue to [`poll_driver`](Self::poll_driver), for an owner that never sleeps, until it first sends. Whether
    /// that is so now.
    ///
    /// In zero-copy mode alone: in copy mode the packet is there by the time that it could be asked for. And only while it receives:
    /// `sendto` wakes no driver then (`xsk_no_wakeup()`, net/xdp/xsk.c), and one that sends by a NAPI of its own, as virtio_net does,
    /// would never send.
    pub fn prefer_busy_poll(&mut self) -> bool {
        self.polls = self.zero_copy
            && self.submitted == 0
            && options::prefer_busy_poll(self.fd(), true)
                .inspect_err(|error| log::debug!("socket option SO_PREFER_BUSY_POLL: {error}"))
                .is_ok();
        self.polls
    }

    /// Takes in what waits in the driver's own ring, where that was left to it.
    #[inline]
    pub fn poll_driver(&self) {
        if self.polls {
            wake_receiver(self.fd());
        }
    }

    /// Leaves the driver's queue to its interrupts again.
    #[cold]
    fn stop_polling(&mut self) {
        self.polls = false;
        if let Err(error) = options::prefer_busy_poll(self.fd(), false) {
            log::error!("socket option SO_PREFER_BUSY_POLL cannot be cleared: {error}");
        }
    }

    /// The number of the UMEM that its frames are of.
    #[inline]
    pub fn memory(&self) -> u8 {
        self.memory
    }

    /// Its number among its worker's sockets, by which the pool knows whose frames are whose.
    #[inline]
    pub fn number(&self) -> u16 {
        self.number
    }

    /// Gives it that number, before any frame.
    pub fn set_number(&mut self, number: u16) {
        debug_assert_eq!(self.frames(), 0);
        self.number = number;
    }

    /// The socket, for poll and the map `XSKS`.
    pub fn fd(&self) -> RawFd {
        self.rx.fd().as_raw_fd()
    }

    /// Frames in its rings.
    pub fn frames(&self) -> u32 {
        self.receiving + self.sending
    }

    /// Frames in its TX and completion rings.
    pub fn sending(&self) -> u32 {
        self.sending
    }

    /// Frames that it may hold.
    #[inline]
    pub fn quota(&self) -> Quota {
        self.quota
    }

    /// Whether the driver waits to be woken, since it has found too few frames in the fill ring.
    pub fn is_hungry(&self) -> bool {
        self.fill.needs_wakeup()
    }

    /// How often the kernel has looked for frames in the fill ring and found none (`rx_fill_ring_empty_descs`, linux/if_xdp.h).
    pub fn found_empty(&self) -> io::Result<u64> {
        self.rx.fd().xdp_statistics().map(|statistics| statistics.rx_fill_ring_empty_descs())
    }

    /// Whether frames are known to have left the fill ring. The kernel may tell of that as late as with the first packet that comes.
    pub fn has_fed(&mut self) -> bool {
        FILL_RING - self.fill.nb_free_exact() < self.receiving
    }

    /// Keeps at least so many frames with the kernel for receiving.
    pub fn raise_fill(&mut self, frames: u32) {
        self.quota.fill = self.quota.fill.max(frames.min(FILL_RING));
    }

    /// Packets that wait in the RX ring.
    pub fn waiting(&mut self) -> u32 {
        self.rx.nb_avail_exact()
    }

    /// Takes at most 256 frames that the kernel has received packets into; more where the last packet needs them.
    #[inline]
    pub fn receive(&mut self, into: &mut Vec<Frame>) -> usize {
        let mut n = self.receive_some(into);
        // The kernel shows all frames of a packet at once (`xsk_flush()`, net/xdp/xsk.c), so the rest is there.
        while into.last().is_some_and(Frame::is_continued) {
            match self.receive_some(into) {
                0 => break,
                more => n += more,
            }
        }
        n
    }

    #[inline]
    fn receive_some(&mut self, into: &mut Vec<Frame>) -> usize {
        // SAFETY: the scratch descriptors are not in use; what comes back are frames that the kernel has let go of.
        let n = unsafe { self.rx.consume(&mut self.scratch) };
        into.extend(self.scratch[..n].iter().map(|desc| Frame::new(*desc, self.memory)));
        self.receiving -= n as u32;
        n
    }

    /// Gives the kernel frames to receive into, as far as the pool has them, until those and the packets that wait are `most`.
    #[inline]
    pub fn refill(&mut self, pool: &mut Pool, most: u32) {
        while self.receiving < most {
            let want = (most - self.receiving).min(BATCH as u32) as usize;
            let mut n = 0;
            while n < want
                && let Some(frame) = pool.lend(self.number)
            {
                self.scratch[n] = frame.into_desc();
                n += 1;
            }
            // SAFETY: the frames came from the pool of this UMEM, so they are nowhere else; they are in the ring from now on.
            let produced = unsafe { self.fill.produce(&self.scratch[..n]) };
            for desc in &self.scratch[produced..n] {
                pool.put(Frame::new(*desc, self.memory));
            }
            self.receiving += produced as u32;
            if produced < want {
                break;
            }
        }
        if self.zero_copy && self.fill.needs_wakeup() {
            // A driver that found the fill ring empty waits to be told.
            wake_receiver(self.fd());
        }
    }

    /// Whether one more frame may go into the TX ring after `lined_up` others.
    #[inline]
    pub fn has_room(&mut self, lined_up: usize) -> bool {
        lined_up < self.quota.send.saturating_sub(self.sending) as usize
            && self.tx.nb_free(lined_up as u32 + 1) as usize > lined_up
    }

    /// Moves packets from the front of `frames` into the TX ring, as many as it has room for.
    #[inline]
    pub fn submit(&mut self, frames: &mut Vec<Frame>) -> usize {
        if self.polls {
            self.stop_polling();
        }
        let room = self.tx.nb_free(frames.len() as u32) as usize;
        let room = room.min(self.quota.send.saturating_sub(self.sending) as usize);
        let take = frames.len().min(room);
        let mut moved = 0;
        while moved < take {
            let n = (take - moved).min(BATCH);
            for (to, frame) in self.scratch.iter_mut().zip(frames.drain(..n)) {
                *to = frame.into_desc();
            }
            // SAFETY: the frames were the caller's alone; they are in the ring from now on.
            let produced = unsafe { self.tx.produce(&self.scratch[..n]) };
            debug_assert_eq!(produced, n, "the room was asked for");
            for desc in &self.scratch[..n] {
                self.order[(self.submitted % u64::from(TX_RING)) as usize] = *desc;
                self.submitted += 1;
            }
            moved += n;
        }
        self.sending += moved as u32;
        moved
    }

    /// Makes the kernel send what is in the TX ring. `refused` is told of each frame that the kernel took and did not send; its
    /// completion comes all the same.
    ///
    /// In copy mode the kernel answers EBUSY for exactly one frame, the last that it read (`xsk_generic_xmit()`, net/xdp/xsk.c). Which
    /// one that is it says through the ring's consumer, from Linux 6.17 on at once; before, only when the ring is empty. There the
    /// frame after the last one known to be read is taken: right where all are refused, as without carrier, and else of the same batch.
    #[inline]
    pub fn kick(&mut self, mut refused: impl FnMut(u32)) -> Link {
        if self.zero_copy && !self.tx.needs_wakeup() {
            return Link::Up;
        }
        let mut in_vain = 0;
        loop {
            let before = self.consumed();
            if before == self.submitted {
                return Link::Up;
            }
            match self.wake() {
                // In zero-copy mode the driver reads the ring in its own time.
                0 if self.zero_copy => return Link::Up,
                libc::ENETDOWN | libc::ENXIO => return Link::Down,
                libc::EBUSY if !self.zero_copy => {
                    self.consumed = self.consumed().max(before + 1);
                    let number = self.consumed - 1;
                    if number >= self.void_below {
                        let desc = self.order[(number % u64::from(TX_RING)) as usize];
                        refused((desc.addr() >> self.frame_shift) as u32);
                    }
                }
                // The budget of one call, or of the socket, is used up: go on as long as that helps. A kernel that hides its
                // progress gets as many calls as its budget needs for the whole ring; from one that shows it, none means that the
                // interface takes nothing now.
                _ if self.consumed() > before => in_vain = 0,
                _ if !kernel::shows_tx_consumer() && in_vain < TX_RING / LEAST_BUDGET => in_vain += 1,
                _ => return Link::Up,
            }
        }
    }

    /// Whether the interface takes packets, where its TX ring holds none that count.
    pub fn probe(&mut self) -> Link {
        match self.wake() {
            libc::ENETDOWN | libc::ENXIO => Link::Down,
            _ => Link::Up,
        }
    }

    /// After [`Link::Down`]: takes back what the kernel has not read, where that can be known (copy mode, and a kernel that shows its
    /// consumer). Elsewhere those frames stay, and `keeps` is told of each: they complete once the interface is up again.
    pub fn take_back(&mut self, mut give: impl FnMut(Frame), mut keeps: impl FnMut(u32)) {
        let numbers = self.consumed().max(self.void_below)..self.submitted;
        for number in numbers {
            let desc = self.order[(number % u64::from(TX_RING)) as usize];
            if let Some(ring) = &mut self.ring {
                ring.void(number);
                self.sending -= 1;
                give(Frame::new(desc, self.memory));
            } else {
                keeps((desc.addr() >> self.frame_shift) as u32);
            }
        }
        if self.ring.is_some() {
            self.void_below = self.submitted;
        }
    }

    /// Hands over the frames that the kernel is done sending.
    #[inline]
    pub fn completed(&mut self, mut give: impl FnMut(Frame)) -> usize {
        let mut total = 0;
        loop {
            // SAFETY: the scratch descriptors are not in use; what comes back are frames that the kernel has let go of.
            let n = unsafe { self.completion.consume(&mut self.scratch) };
            for desc in &self.scratch[..n] {
                // Some kernels complete a descriptor that was made invalid, address and all; its frame came back long ago.
                if desc.addr() < self.umem_end {
                    give(Frame::new(*desc, self.memory));
                    total += 1;
                }
            }
            if n < self.scratch.len() {
                self.sending -= total as u32;
                return total;
            }
        }
    }

    /// How many descriptors the kernel is known to have read.
    #[inline]
    fn consumed(&mut self) -> u64 {
        let unread = u64::from(TX_RING - self.tx.nb_free_exact());
        self.consumed = self.consumed.max(self.submitted - unread);
        self.consumed
    }

    /// One wake-up call for sending: 0, or its errno.
    #[inline]
    fn wake(&self) -> i32 {
        // SAFETY: `sendto` with no buffer and no address.
        match unsafe { libc::sendto(self.fd(), ptr::null(), 0, libc::MSG_DONTWAIT, ptr::null(), 0) } {
            -1 => io::Error::last_os_error().raw_os_error().unwrap_or(libc::EAGAIN),
            _ => 0,
        }
    }
}

/// Whether an AF_XDP socket is still bound to its interface: the kernel unbinds it when that is deleted, or moved to another network
/// namespace (`xsk_notifier()`, net/xdp/xsk.c).
pub fn is_bound(socket: RawFd) -> bool {
    wake_receiver(socket) >= 0 || io::Error::last_os_error().raw_os_error() != Some(libc::ENXIO)
}

/// One wake-up call for receiving, of which the datagram is none, its bytes none: negative, with errno, or 0.
#[inline]
fn wake_receiver(socket: RawFd) -> isize {
    // SAFETY: `recvfrom` with no buffer and no address.
    unsafe { libc::recvfrom(socket, ptr::null_mut(), 0, libc::MSG_DONTWAIT, ptr::null_mut(), ptr::null_mut()) }
}

/// The errno that xsk-rs keeps as the source of its error.
fn errno(error: SocketCreateError) -> io::Error {
    let source = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<io::Error>());
    match source.and_then(io::Error::raw_os_error) {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::other(error),
    }
}
