//! What becomes of a packet.

use aya_ebpf::{bindings::xdp_action, helpers::bpf_xdp_adjust_meta, programs::XdpContext};
use aya_log_ebpf::warn;
use mcr_common::{
    counter::Verdict,
    flow::{Datagram, FlowValue, Steered, Vlan},
    lookup::group_entry,
    parse::{Parsed, parse},
};

use crate::{
    count,
    find::find,
    maps::{FRAGMENT_SAID, Rules, XSKS},
    packet::Frame,
};

/// Decides on the packet and, where a rule takes it, sets the redirect up.
#[inline(always)]
pub fn steer(ctx: &XdpContext) -> Verdict {
    let frame = Frame::of(ctx);
    let ifindex = ctx.ingress_ifindex() as u32;
    match parse(&frame) {
        Parsed::Other => Verdict::PassNoRule,
        Parsed::Fragment(datagram) => not_taken(ctx, ifindex, &datagram, true),
        Parsed::Datagram(datagram) => match Rules::now().and_then(|rules| find(rules, ifindex, &datagram)) {
            Some(rule) => redirect(ctx, rule, frame.len()),
            None => not_taken(ctx, ifindex, &datagram, false),
        },
    }
}

/// Hands the packet to the socket of this interface and queue, with the rule's slot before it.
#[inline(always)]
fn redirect(ctx: &XdpContext, rule: FlowValue, bytes: usize) -> Verdict {
    let queue = ctx.rx_queue_index();
    if queue >= rule.queues {
        return Verdict::PassUnservedQueue;
    }
    let index = rule.xsk_base + queue;
    // The flags are the verdict where no socket stands under the index.
    if XSKS.redirect(index, u64::from(xdp_action::XDP_PASS)) != Ok(xdp_action::XDP_REDIRECT) {
        return Verdict::PassUnservedQueue;
    }
    count::steered(rule.slot, bytes);
    mark(ctx, rule.slot);
    Verdict::Steered
}

/// Writes the metadata, where the driver has room for it; elsewhere the worker looks the packet up by itself.
#[inline(always)]
fn mark(ctx: &XdpContext, slot: u32) {
    // SAFETY: the helper takes any context; it fails where the driver has no metadata.
    if unsafe { bpf_xdp_adjust_meta(ctx.ctx, -(Steered::LEN as i32)) } != 0 {
        return;
    }
    let at = ctx.metadata();
    if at + Steered::LEN > ctx.metadata_end() {
        return;
    }
    // SAFETY: `at..at + LEN` lies within the metadata, by the check above; metadata is aligned to four bytes.
    unsafe { *(at as *mut Steered) = Steered { tag: Steered::TAG, slot } };
}

/// Passes a fragment on, and says so the first time for the rule.
#[inline(always)]
fn fragment(ctx: &XdpContext, rule: FlowValue, datagram: &Datagram) -> Verdict {
    if let Some(said) = FRAGMENT_SAID.get_ptr_mut(rule.slot) {
        // SAFETY: array entries live as long as the map. Two CPUs may both find it unsaid: then it is said twice.
        unsafe {
            if *said == 0 {
                *said = 1;
                warn!(
                    ctx,
                    "interface {}: a fragment from {:i} to {:i} is passed to the host: fragments carry no ports to match; lower the sender's packet size",
                    ctx.ingress_ifindex() as u32,
                    datagram.source,
                    datagram.group
                );
            }
        }
    }
    Verdict::PassFragment
}

/// Why no rule takes it: for the counters only. One copy in the program, off the fast path.
#[inline(never)]
fn not_taken(ctx: &XdpContext, ifindex: u32, datagram: &Datagram, is_fragment: bool) -> Verdict {
    let Some(rules) = Rules::now() else { return Verdict::PassNoRule };
    if let Some(rule) = group_entry(&rules, ifindex, datagram.vlan, datagram) {
        return if is_fragment { fragment(ctx, rule, datagram) } else { Verdict::PassNoRule };
    }
    // Some rule is for the group, but none under this frame's tag.
    match group_entry(&rules, ifindex, Vlan::ANY, datagram) {
        Some(_) => Verdict::PassVlan,
        None => Verdict::PassNoRule,
    }
}
