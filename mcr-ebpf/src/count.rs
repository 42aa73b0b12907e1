//! Counting: each packet once by verdict, each steered one for its rule too.

use aya_ebpf::{helpers::bpf_get_smp_processor_id, programs::XdpContext};
use mcr_common::{counter::Verdict, flow::FlowCount};

use crate::maps::{COUNTS, SLOTS, VERDICTS};

/// Adds one to `verdict` of the packet's interface.
#[inline(always)]
pub fn verdict(ctx: &XdpContext, verdict: Verdict) -> Verdict {
    add(ctx, verdict, 1);
    verdict
}

/// Adds to `verdict` of the packet's interface: a merged packet is as many as its datagrams.
#[inline(always)]
pub fn add(ctx: &XdpContext, verdict: Verdict, packets: u32) {
    if let Some(counts) = VERDICTS.get_ptr_mut(ctx.ingress_ifindex() as u32) {
        // SAFETY: the entry is this CPU's own, XDP programs do not nest, and the daemon removes an interface's entry only
        // after the program is detached from it.
        unsafe { (*counts)[verdict as usize] += u64::from(packets) };
    }
}

/// Adds `packets` of `bytes` together to what was steered for `slot`, on this CPU. An array of all CPUs' costs one cache line; the kernel's own
/// kind for each CPU costs another for where this CPU's is.
#[inline(always)]
pub fn steered(slot: u32, packets: u32, bytes: usize) {
    // SAFETY: a valid static, which the daemon's loader has changed: so it is not to be taken for the constant that it looks like.
    let slots = unsafe { (&raw const SLOTS).read_volatile() };
    // SAFETY: the helper has no arguments.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    if let Some(count) = COUNTS.get_ptr_mut(cpu * slots + slot) {
        // SAFETY: as above; array entries live as long as the map.
        let count: &mut FlowCount = unsafe { &mut *count };
        count.packets += u64::from(packets);
        count.bytes += bytes as u64;
    }
}
