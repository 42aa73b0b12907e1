//! Counting: each packet once by verdict, each steered one for its rule too.

use aya_ebpf::programs::XdpContext;
use mcr_common::{counter::Verdict, flow::FlowCount};

use crate::maps::{COUNTS, VERDICTS};

/// Adds one to `verdict` of the packet's interface.
#[inline(always)]
pub fn verdict(ctx: &XdpContext, verdict: Verdict) -> Verdict {
    if let Some(counts) = VERDICTS.get_ptr_mut(ctx.ingress_ifindex() as u32) {
        // SAFETY: the entry is this CPU's own, XDP programs do not nest, and the daemon removes an interface's entry only
        // after the program is detached from it.
        unsafe { (*counts)[verdict as usize] += 1 };
    }
    verdict
}

/// Adds a packet of `bytes` to what was steered for `slot`.
#[inline(always)]
pub fn steered(slot: u32, bytes: usize) {
    if let Some(count) = COUNTS.get_ptr_mut(slot) {
        // SAFETY: as above; array entries live as long as the map.
        let count: &mut FlowCount = unsafe { &mut *count };
        count.packets += 1;
        count.bytes += bytes as u64;
    }
}
