//! What no rule takes, recorded while somebody asks (`mcrctl unmatched`, `mcrctl explain`).

use core::hint::black_box;

use aya_ebpf::programs::XdpContext;
use mcr_common::{counter::Verdict, flow::Datagram, hidden, unmatched::UnmatchedKey};

use crate::{
    maps::{RECORDING, UNMATCHED},
    packet::Frame,
};

/// Records a packet that goes on to the host, where somebody asks; its verdict, as given.
#[inline(always)]
pub fn passed(ifindex: u32, datagram: &Datagram, is_fragment: bool, verdict: Verdict) -> Verdict {
    if is_asked_for() {
        record(ifindex, datagram, is_fragment, verdict);
    }
    verdict
}

/// Looks, where somebody asks, whether what the parser makes nothing of is multicast UDP all the same.
#[inline(always)]
pub fn not_read(ctx: &XdpContext, ifindex: u32) -> Verdict {
    if is_asked_for() {
        look(ctx, ifindex);
    }
    Verdict::PassNoRule
}

#[inline(always)]
fn is_asked_for() -> bool {
    RECORDING.get(0).is_some_and(|recording| *recording != 0)
}

/// One copy in the program, off every path but this.
#[inline(never)]
fn record(ifindex: u32, datagram: &Datagram, is_fragment: bool, verdict: Verdict) {
    add(&UnmatchedKey::new(ifindex, datagram, is_fragment, verdict));
}

/// As `record`.
#[inline(never)]
fn look(ctx: &XdpContext, ifindex: u32) {
    // Else the optimiser reads the packet's ends before the call and passes them on as numbers, which the verifier refuses.
    let ctx = XdpContext::new(black_box(ctx.ctx));
    if let Some(hidden) = hidden::look(&Frame::of(&ctx)) {
        add(&UnmatchedKey::hidden(ifindex, &hidden, Verdict::PassNoRule));
    }
}

#[inline(always)]
fn add(key: &UnmatchedKey) {
    match UNMATCHED.get_ptr_mut(key) {
        // SAFETY: this CPU's own value, and XDP programs do not nest. The kernel may give it to another flow meanwhile, which then counts
        // one too many.
        Some(count) => unsafe { *count += 1 },
        // No room: one more flow that is not told of.
        None => drop(UNMATCHED.insert(key, 1, 0)),
    }
}
