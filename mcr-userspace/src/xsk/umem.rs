//! The memory that the kernel and one worker share.

use std::{io, num::NonZeroU32, ptr::NonNull};

use anyhow::Context;
use mcr_common::{
    limits::XDP_HEADROOM,
    steered::{Merged, Steered},
};
use xsk_rs::{
    Umem,
    config::{FrameSize, QueueSize, UmemConfig},
};

use super::frame::{Frame, Pool};
use crate::forward::fetch;

/// Bytes of the frames for packets up to an MTU of 1,774, the usual case.
pub const SMALL_FRAME: u32 = 2048;
/// Bytes of the frames for larger packets: the largest that AF_XDP has, a page.
pub const LARGE_FRAME: u32 = 4096;
/// Descriptors of each fill ring: what one queue can receive while its worker is away.
pub const FILL_RING: u32 = 8192;
/// Descriptors of each completion ring: as many as the TX ring's, so that it never overflows.
pub const COMPLETION_RING: u32 = 4096;

/// A UMEM. Frames of it are reached through it; they must not be mixed with another's.
#[derive(Debug)]
pub struct Memory {
    umem: Umem,
    base: NonNull<u8>,
    /// Bytes of a frame are two to the power of this.
    frame_shift: u32,
    frames: u32,
    number: u8,
    takes_chains: bool,
}

// SAFETY: `base` is the start of the UMEM's mapping, which `umem`, itself `Send` and `Sync`, keeps; bytes are only reached through a
// `&mut Frame`, and each frame has one owner.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    /// Allocates and registers a UMEM of `frames` frames of `frame_size` bytes (a power of two, 2,048 or 4,096), all in the pool.
    /// `number` tells its frames from those of others.
    pub fn new(number: u8, frames: u32, frame_size: u32) -> anyhow::Result<(Self, Pool)> {
        let count = NonZeroU32::new(frames).context("a UMEM needs frames")?;
        let config = UmemConfig::builder()
            .frame_size(FrameSize::new(frame_size).map_err(anyhow::Error::msg)?)
            .fill_queue_size(QueueSize::new(FILL_RING).map_err(anyhow::Error::msg)?)
            .comp_queue_size(QueueSize::new(COMPLETION_RING).map_err(anyhow::Error::msg)?)
            .build()
            .map_err(anyhow::Error::msg)?;
        let (umem, descs) = Umem::new(config, count, false).map_err(|error| memory_error(error, frames, frame_size))?;
        let first = descs.first().context("a UMEM needs frames")?;
        // SAFETY: the descriptor is of this UMEM, and its frame is in no ring.
        let packet = unsafe { umem.data(first) }.contents().as_ptr().cast_mut();
        // SAFETY: the packet of frame 0 starts this far into the mapping.
        let base = NonNull::new(unsafe { packet.sub(first.addr()) }).context("the UMEM is mapped")?;
        let frame_shift = frame_size.trailing_zeros();
        let pool = Pool::new(descs.into(), frame_shift, number);
        Ok((Self { umem, base, frame_shift, frames, number, takes_chains: false }, pool))
    }

    /// xsk-rs's handle, for sockets and descriptors.
    pub(super) fn umem(&self) -> &Umem {
        &self.umem
    }

    /// Which of its owner's UMEMs it is.
    #[inline]
    pub fn number(&self) -> u8 {
        self.number
    }

    /// Whether its sockets take packets that need several frames (`XDP_USE_SG`): so its first socket has been bound.
    pub fn takes_chains(&self) -> bool {
        self.takes_chains
    }

    /// Notes that its first socket has been bound so.
    pub(super) fn take_chains(&mut self) {
        self.takes_chains = true;
    }

    /// Bytes of a frame.
    #[inline]
    pub fn frame_size(&self) -> usize {
        1 << self.frame_shift
    }

    /// Bytes that a packet can have in a frame.
    pub fn capacity(&self) -> usize {
        Self::packet_capacity(self.frame_size() as u32) as usize
    }

    /// Which frame an address lies in, from 0.
    #[inline]
    pub(super) fn index(&self, address: usize) -> u32 {
        (address >> self.frame_shift) as u32
    }

    /// Frames in all.
    pub fn frames(&self) -> u32 {
        self.frames
    }

    /// Bytes that a packet can have in a frame of this size.
    pub fn packet_capacity(frame_size: u32) -> u32 {
        frame_size - XDP_HEADROOM
    }

    /// From the start of a frame's packet to the end of the frame.
    #[inline]
    pub(super) fn buffer<'a>(&'a self, frame: &'a mut Frame) -> &'a mut [u8] {
        let address = frame.desc().addr();
        let length = self.frame_size() - address % self.frame_size();
        debug_assert!(frame.memory() == self.number && address + length <= self.frames as usize * self.frame_size());
        // SAFETY: the kernel hands out only addresses within the UMEM, the range ends with the address's frame, and the `&mut Frame`
        // is that frame's only owner for as long as the slice lives.
        unsafe { std::slice::from_raw_parts_mut(self.base.as_ptr().add(address), length) }
    }

    /// `length` bytes of the packet that begins `offset` bytes into frame number `frame`.
    ///
    /// # Safety
    /// Nobody writes to that frame while the slice lives, as nobody does while it is lined up or in a TX or completion ring; and it has as
    /// many bytes.
    pub unsafe fn sent(&self, frame: u32, offset: usize, length: usize) -> &[u8] {
        debug_assert!(frame < self.frames && offset + length <= self.frame_size());
        // SAFETY: the range lies within the frame, and so within the mapping; nobody writes there, by the contract.
        unsafe {
            std::slice::from_raw_parts(self.base.as_ptr().add((frame as usize) << self.frame_shift).add(offset), length)
        }
    }

    /// A copy of [`metadata`](Self::metadata).
    #[inline]
    pub(super) fn peek(&self, frame: &Frame) -> [u8; Steered::LEN] {
        let address = frame.desc().addr();
        debug_assert!(address % self.frame_size() >= Steered::LEN);
        // SAFETY: as in `metadata`; the frame's owner is borrowed, so nobody writes.
        unsafe { self.base.as_ptr().add(address - Steered::LEN).cast::<[u8; Steered::LEN]>().read() }
    }

    /// A copy of the bytes before [`metadata`](Self::metadata).
    pub(super) fn peek_merged(&self, frame: &Frame) -> [u8; Merged::LEN] {
        let address = frame.desc().addr();
        debug_assert!(address % self.frame_size() >= Merged::LEN + Steered::LEN);
        // SAFETY: as in `metadata`; the frame's owner is borrowed, so nobody writes.
        unsafe { self.base.as_ptr().add(address - Steered::LEN - Merged::LEN).cast::<[u8; Merged::LEN]>().read() }
    }

    /// Fetches the cache lines of a frame's metadata and headers.
    #[inline]
    pub(super) fn fetch(&self, frame: &Frame) {
        let address = frame.desc().addr();
        // The packet starts on a line; what the program wrote is in the one before.
        for at in [address - Steered::LEN, address] {
            fetch::line(self.base.as_ptr().wrapping_add(at));
        }
    }

    /// The bytes right before a frame's packet, where the XDP program writes.
    #[inline]
    pub(super) fn metadata<'a>(&'a self, frame: &'a mut Frame) -> &'a mut [u8; Steered::LEN] {
        let address = frame.desc().addr();
        debug_assert!(address % self.frame_size() >= Steered::LEN);
        // SAFETY: as in `buffer`; the kernel leaves `XDP_PACKET_HEADROOM` bytes, less what the program took, before each packet.
        unsafe { &mut *self.base.as_ptr().add(address - Steered::LEN).cast() }
    }
}

/// What `Umem::new` hides: a limit, or memory that is not there.
fn memory_error(error: xsk_rs::umem::UmemCreateError, frames: u32, frame_size: u32) -> anyhow::Error {
    let cause =
        std::error::Error::source(&error).and_then(|e| e.downcast_ref::<io::Error>()).and_then(io::Error::raw_os_error);
    let mib = (u64::from(frames) * u64::from(frame_size)) >> 20;
    match cause {
        Some(libc::ENOBUFS | libc::ENOMEM) => anyhow::Error::from(error).context(format!(
            "{frames} frames of {frame_size} bytes ({mib} MiB) could not be had: lower [limits] frames, or raise the locked-memory limit (ulimit -l)"
        )),
        Some(libc::EPERM) => anyhow::Error::from(error).context("AF_XDP sockets need root, or the capability CAP_NET_RAW"),
        _ => anyhow::Error::from(error).context("creating the UMEM"),
    }
}
