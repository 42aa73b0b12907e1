//! The first bytes of a frame, which is all that the bench's programs read and write, behind their one bounds check.

use aya_ebpf::programs::XdpContext;

use crate::layout::{HEAD, MAGIC, PAYLOAD};

/// The head of the packet that the program runs for.
#[inline(always)]
pub fn head(ctx: &mut XdpContext) -> Option<&mut [u8; HEAD]> {
    if ctx.data() + HEAD > ctx.data_end() {
        return None;
    }
    // SAFETY: the bytes lie within the packet, by the check above, which the verifier repeats, and are this program's alone.
    Some(unsafe { &mut *(ctx.data() as *mut [u8; HEAD]) })
}

/// Whether this is a packet of the bench: IPv4 without options, UDP, the payload's magic.
#[inline(always)]
pub fn is_ours(head: &[u8; HEAD]) -> bool {
    head[12..15] == [8, 0, 0x45] && head[23] == 17 && head[PAYLOAD..PAYLOAD + 2] == MAGIC.to_be_bytes()
}

/// Two bytes in network order.
#[inline(always)]
pub fn word(head: &[u8; HEAD], at: usize) -> u16 {
    u16::from_be_bytes([head[at], head[at + 1]])
}

/// An address, host byte order.
#[inline(always)]
pub fn address(head: &[u8; HEAD], at: usize) -> u32 {
    u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]])
}

/// Writes bytes.
#[inline(always)]
pub fn put<const N: usize>(head: &mut [u8; HEAD], at: usize, bytes: [u8; N]) {
    head[at..at + N].copy_from_slice(&bytes);
}

/// Four bytes in native order.
#[inline(always)]
pub fn native32(head: &[u8; HEAD], at: usize) -> u32 {
    u32::from_ne_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]])
}

/// Eight bytes in native order.
#[inline(always)]
pub fn native64(head: &[u8; HEAD], at: usize) -> u64 {
    u64::from(native32(head, at)) | u64::from(native32(head, at + 4)) << 32
}
