//! What is in an skb that generic XDP shows as a packet: one datagram, or several that the kernel has merged.
//!
//! A sender may hand several datagrams of one flow over at once (`UDP_SEGMENT`, udp(7)), and a receiver's kernel may merge them again
//! (`rx-udp-gro-forwarding`, `rx-gro-list`). They lie under one header then, and nothing in the packet tells. The skb does: its
//! `gso_size`. Generic XDP builds its `xdp_buff` over the skb's own head (`bpf_prog_run_generic_xdp()`, net/core/dev.c), so that
//! `struct skb_shared_info` lies where `xdp_get_shared_info_from_buff()` (include/net/xdp.h) would look.

use aya_ebpf::{helpers::bpf_probe_read_kernel, programs::XdpContext};
use mcr_common::skb::{self, Offsets};

/// Where the running kernel has what is read here; the daemon sets it when it loads the program. All 0: unknown.
#[unsafe(no_mangle)]
pub static OFFSETS: Offsets = Offsets::UNKNOWN;

/// What a packet is.
#[derive(Clone, Copy)]
pub enum Content {
    /// One datagram.
    Datagram,
    /// Several, each of so many bytes of payload but the last.
    Datagrams(u32),
    /// Several in a form that cannot be split.
    Other,
}

/// What the packet is, which is an skb; where `sometimes`, only if it can be seen to be one.
#[inline(always)]
pub fn content(ctx: &XdpContext, sometimes: bool) -> Content {
    // By itself, so that the verifier knows the value and drops what follows where it is 0: some machines forbid the helper.
    // SAFETY: a valid static, which the daemon's loader has changed: so it is not to be taken for the constant that it looks like.
    if unsafe { (&raw const OFFSETS.shared_info).read_volatile() } == 0 {
        return Content::Datagram;
    }
    // SAFETY: as above.
    let offsets = unsafe { (&raw const OFFSETS).read_volatile() };
    // What cannot be read is not there: then nothing can be said of the packet, and it is taken for one datagram.
    look(ctx, sometimes, &offsets).unwrap_or(Content::Datagram)
}

#[inline(always)]
fn look(ctx: &XdpContext, sometimes: bool, offsets: &Offsets) -> Result<Content, i32> {
    let buff = ctx.ctx.cast::<u8>().cast_const();
    if sometimes && !is_generic(ctx, buff, offsets)? {
        return Ok(Content::Datagram);
    }
    let start: u64 = read(buff, offsets.hard_start)?;
    let size: u32 = read(buff, offsets.frame_size)?;
    let shared = (start as usize + size as usize - offsets.shared_info as usize) as *const u8;
    let size: u16 = read(shared, offsets.gso_size)?;
    if size == 0 {
        return Ok(Content::Datagram);
    }
    let kind: u32 = read(shared, offsets.gso_type)?;
    Ok(match kind & !skb::DODGY {
        // One datagram that is longer than the MTU.
        skb::UDP => Content::Datagram,
        kind if kind & !(skb::FRAGLIST | skb::PARTIAL) == skb::UDP_L4 => Content::Datagrams(u32::from(size)),
        _ => Content::Other,
    })
}

/// Whether generic XDP runs the program: it names the stack's own receive queue (`netif_get_rxqueue()`, net/core/dev.c), where a driver
/// names a queue of its own.
#[inline(always)]
fn is_generic(ctx: &XdpContext, buff: *const u8, offsets: &Offsets) -> Result<bool, i32> {
    let queue: u64 = read(buff, offsets.queue)?;
    let device: u64 = read(queue as *const u8, offsets.device)?;
    let queues: u64 = read(device as *const u8, offsets.queues)?;
    let at = u64::from(ctx.rx_queue_index()) * u64::from(offsets.queue_size) + u64::from(offsets.queue_info);
    Ok(queue == queues + at)
}

#[inline(always)]
fn read<T>(base: *const u8, offset: u32) -> Result<T, i32> {
    // SAFETY: the helper checks the address, and fails where nothing is.
    unsafe { bpf_probe_read_kernel(base.wrapping_add(offset as usize).cast::<T>()) }
}
