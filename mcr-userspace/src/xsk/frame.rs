//! A frame of a UMEM, and the pool of those that are nowhere else.

use mcr_common::steered::{Kind, Merged, Steered};
use xsk_rs::FrameDesc;

use super::umem::Memory;

/// linux/if_xdp.h.
const XDP_PKT_CONTD: u32 = 1;

/// One frame of a UMEM, and the packet in it. Neither `Clone` nor `Copy`: xsk-rs's descriptor is both, and stays in here.
#[derive(Debug)]
pub struct Frame {
    desc: FrameDesc,
    memory: u8,
}

impl Frame {
    /// Takes a descriptor over from a ring or from a new UMEM, which must have no other copy of it in use.
    pub(super) fn new(desc: FrameDesc, memory: u8) -> Self {
        Self { desc, memory }
    }

    /// Gives the descriptor up, for a ring.
    pub(super) fn into_desc(mut self) -> FrameDesc {
        // It may have come with more behind it.
        self.desc.set_options(0);
        self.desc
    }

    /// Whether the next frame of the ring has more of the same packet (`XDP_PKT_CONTD`).
    #[inline]
    pub fn is_continued(&self) -> bool {
        self.desc.options() & XDP_PKT_CONTD != 0
    }

    /// The number of its UMEM, see [`Memory::number`].
    #[inline]
    pub fn memory(&self) -> u8 {
        self.memory
    }

    /// Bytes of its packet.
    #[inline]
    pub fn len(&self) -> usize {
        self.desc.lengths().data()
    }

    /// Whether it holds no packet.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Which frame of its UMEM it is, from 0.
    #[inline]
    pub fn index(&self, memory: &Memory) -> u32 {
        memory.index(self.desc.addr())
    }

    /// The packet's bytes.
    #[inline]
    pub fn bytes<'a>(&'a mut self, memory: &'a Memory) -> &'a mut [u8] {
        let len = self.len();
        &mut memory.buffer(self)[..len]
    }

    /// From the packet's start to the frame's end: where it may grow.
    #[inline]
    pub fn buffer<'a>(&'a mut self, memory: &'a Memory) -> &'a mut [u8] {
        memory.buffer(self)
    }

    /// Sets the packet's length, which the frame has room for.
    #[inline]
    pub fn set_len(&mut self, memory: &Memory, len: usize) {
        // SAFETY: this is the frame's only owner, and it was made for this UMEM.
        let mut data = unsafe { memory.umem().data_mut(&mut self.desc) };
        data.cursor().set_pos(len);
    }

    /// Makes the frame's packet a copy of another's.
    #[inline]
    pub fn copy_from(&mut self, memory: &Memory, packet: &[u8]) {
        memory.buffer(self)[..packet.len()].copy_from_slice(packet);
        self.set_len(memory, packet.len());
    }

    /// What the XDP program left before the packet, if anything: its kind and the rule's slot. Asked a second time, it is gone: what
    /// lies there when the frame next carries a packet without metadata must not be taken for that one's.
    #[inline]
    pub fn take_steered(&mut self, memory: &Memory) -> Option<(Kind, u32)> {
        let metadata = memory.metadata(self);
        let steered = Steered::read(*metadata);
        *metadata = [0; Steered::LEN];
        steered
    }

    /// The slot that [`take_steered`](Self::take_steered) will give.
    #[inline]
    pub fn slot(&self, memory: &Memory) -> Option<u32> {
        Steered::read(memory.peek(self)).map(|(_, slot)| slot)
    }

    /// What the XDP program left before the metadata of a packet of [`Kind::Merged`].
    pub fn merged(&self, memory: &Memory) -> Merged {
        Merged::read(memory.peek_merged(self))
    }

    /// Fetches the packet's headers and what lies before it.
    #[inline]
    pub fn fetch(&self, memory: &Memory) {
        memory.fetch(self);
    }

    /// Where its packet begins, in bytes from the start of the frame.
    #[inline]
    pub fn offset(&self, memory: &Memory) -> usize {
        self.desc.addr() % memory.frame_size()
    }

    /// Its descriptor, for the UMEM to find its bytes.
    #[inline]
    pub(super) fn desc(&self) -> &FrameDesc {
        &self.desc
    }
}

/// The frames that are in no ring and in nobody's hands, and who had each of the others last.
#[derive(Debug)]
pub struct Pool {
    free: Vec<Frame>,
    /// Every frame as it was made.
    made: Box<[FrameDesc]>,
    /// The number of the socket that each frame was last given to ([`Port::number`](super::port::Port::number)): with it, it is in
    /// that one's rings unless it is free.
    lent: Box<[u16]>,
    frame_shift: u32,
    memory: u8,
}

impl Pool {
    /// All frames of a new UMEM of this number, in their order, each of `1 << frame_shift` bytes.
    pub(super) fn new(made: Box<[FrameDesc]>, frame_shift: u32, memory: u8) -> Self {
        let free = made.iter().map(|desc| Frame::new(*desc, memory)).collect();
        let lent = vec![0; made.len()].into();
        Self { free, made, lent, frame_shift, memory }
    }

    /// A frame, or `None` when all are in use.
    #[inline]
    pub fn take(&mut self) -> Option<Frame> {
        self.free.pop()
    }

    /// A frame for the rings of socket `number`, or `None` when all are in use.
    #[inline]
    pub(super) fn lend(&mut self, number: u16) -> Option<Frame> {
        let frame = self.free.pop()?;
        self.note(&frame, number);
        Some(frame)
    }

    /// A frame is on its way into the rings of socket `number`.
    #[inline]
    pub fn note(&mut self, frame: &Frame, number: u16) {
        self.lent[frame.desc.addr() >> self.frame_shift] = number;
    }

    /// Puts a frame back.
    #[inline]
    pub fn put(&mut self, frame: Frame) {
        self.free.push(frame);
    }

    /// The frames in the rings of socket `number`, which the kernel has let go of, and which takes and gives no frame any more.
    /// What came out of its RX ring must have been put back, or be on its way into other rings.
    pub fn reclaim(&self, number: u16) -> Vec<Frame> {
        let mut is_free = vec![false; self.made.len()];
        for frame in &self.free {
            is_free[frame.desc.addr() >> self.frame_shift] = true;
        }
        let in_rings = self.lent.iter().zip(&is_free).zip(&self.made);
        let in_rings = in_rings.filter(|((lent, is_free), _)| **lent == number && !**is_free);
        in_rings.map(|(_, desc)| Frame::new(*desc, self.memory)).collect()
    }

    /// Frames in it.
    #[inline]
    pub fn len(&self) -> usize {
        self.free.len()
    }

    /// Whether all frames are in use.
    pub fn is_empty(&self) -> bool {
        self.free.is_empty()
    }
}
