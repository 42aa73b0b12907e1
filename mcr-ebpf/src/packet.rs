//! A packet's bytes, behind the program's one bounds check.

use aya_ebpf::programs::XdpContext;
use mcr_common::parse::Packet;

/// The bytes between the context's `data` and `data_end`.
pub struct Frame {
    start: usize,
    end: usize,
}

impl Frame {
    /// The packet that the program runs for. Stale once the packet's head has been moved.
    #[inline(always)]
    pub fn of(ctx: &XdpContext) -> Self {
        Self { start: ctx.data(), end: ctx.data_end() }
    }

    /// Bytes in the frame's first buffer.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.end - self.start
    }
}

impl Packet for Frame {
    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let at = self.start + offset;
        if at + N > self.end {
            return None;
        }
        // SAFETY: `at..at + N` lies within the packet, by the check above, which the verifier repeats.
        Some(unsafe { *(at as *const [u8; N]) })
    }
}
