//! What becomes of a packet.

use aya_ebpf::{
    bindings::xdp_action,
    helpers::{bpf_xdp_adjust_meta, bpf_xdp_adjust_tail},
    programs::XdpContext,
};
use aya_log_ebpf::warn;
use mcr_common::{
    counter::Verdict,
    flow::{Datagram, FlowValue, Generic, InterfaceFacts, Vlan},
    limits::MAX_MERGED,
    lookup::group_entry,
    parse::{Packet, Parsed, parse},
    steered::{Kind, Merged, Steered},
    wire::UDP_LEN,
};

use crate::{
    count,
    find::find,
    generic::{self, Content},
    maps::{FRAGMENT_SAID, INTERFACES, Rules, XSKS},
    packet::Frame,
    record,
};

/// Decides on the packet and, where a rule takes it, sets the redirect up.
#[inline(always)]
pub fn steer(ctx: &XdpContext) -> Verdict {
    let frame = Frame::of(ctx);
    let ifindex = ctx.ingress_ifindex() as u32;
    match parse(&frame) {
        Parsed::Other => record::not_read(ctx, ifindex),
        Parsed::Fragment(datagram) => {
            record::passed(ifindex, &datagram, true, not_taken(ctx, ifindex, &datagram, true))
        }
        Parsed::Datagram(datagram) => match Rules::now().and_then(|rules| find(rules, ifindex, &datagram)) {
            Some(rule) => match redirect(ctx, rule, &frame, &datagram) {
                Verdict::Steered => Verdict::Steered,
                verdict => record::passed(ifindex, &datagram, false, verdict),
            },
            None => record::passed(ifindex, &datagram, false, not_taken(ctx, ifindex, &datagram, false)),
        },
    }
}

/// Hands the packet to the socket of this interface and queue, with the rule's slot before it.
#[inline(always)]
fn redirect(ctx: &XdpContext, rule: FlowValue, frame: &Frame, datagram: &Datagram) -> Verdict {
    let queue = ctx.rx_queue_index();
    let facts = INTERFACES.get(rule.xsk_base).filter(|_| queue < rule.queues);
    let Some(facts) = facts else { return Verdict::PassUnservedQueue };
    if datagram.is_unicast && !is_for(facts, frame) {
        return Verdict::PassNoRule;
    }
    let index = rule.xsk_base + queue;
    // The flags are the verdict where no socket stands under the index.
    if XSKS.redirect(index, u64::from(xdp_action::XDP_PASS)) != Ok(xdp_action::XDP_REDIRECT) {
        return Verdict::PassUnservedQueue;
    }
    let bytes = frame.len();
    if facts.generic != Generic::Never as u16 || bytes > facts.capacity as usize {
        mark_unusual(ctx, rule.slot, facts, bytes, u32::from(datagram.udp_offset) + UDP_LEN as u32);
    } else {
        count::steered(rule.slot, 1, bytes);
        mark(ctx, Steered::new(Kind::Whole, rule.slot));
    }
    Verdict::Steered
}

/// Whether the frame is for the interface's own Ethernet address. Frames for another host's are not the rule's to take.
#[inline(always)]
fn is_for(facts: &InterfaceFacts, frame: &Frame) -> bool {
    frame.load::<6>(0).is_some_and(|mac| mac == facts.mac)
}

/// Writes the metadata, where the driver has room for it; elsewhere the worker looks the packet up by itself.
#[inline(always)]
fn mark(ctx: &XdpContext, steered: Steered) {
    // SAFETY: the helper takes any context; it fails where the driver has no metadata.
    if unsafe { bpf_xdp_adjust_meta(ctx.ctx, -(Steered::LEN as i32)) } != 0 {
        return;
    }
    let at = ctx.metadata();
    if at + Steered::LEN > ctx.metadata_end() {
        return;
    }
    // SAFETY: `at..at + LEN` lies within the metadata, by the check above; metadata is aligned to four bytes.
    unsafe { *(at as *mut Steered) = steered };
}

/// Writes the metadata of a merged packet. Generic XDP always has room for it.
#[inline(always)]
fn mark_merged(ctx: &XdpContext, slot: u32, merged: Merged) {
    const LEN: usize = Merged::LEN + Steered::LEN;
    // SAFETY: as in `mark`.
    if unsafe { bpf_xdp_adjust_meta(ctx.ctx, -(LEN as i32)) } != 0 {
        return;
    }
    let at = ctx.metadata();
    if at + LEN > ctx.metadata_end() {
        return;
    }
    // SAFETY: as in `mark`; both are multiples of four bytes.
    unsafe {
        *(at as *mut Merged) = merged;
        *((at + Merged::LEN) as *mut Steered) = Steered::new(Kind::Merged, slot);
    }
}

/// Counts and marks a packet of `bytes`, whose headers take `headers` bytes, that may be several datagrams or too long for a frame. Such
/// a packet is cut to its headers, so that the worker counts it for the rule's `oversize`. Off the fast path of a driver's own packets.
#[inline(never)]
fn mark_unusual(ctx: &XdpContext, slot: u32, facts: &InterfaceFacts, bytes: usize, headers: u32) {
    let content = match facts.generic {
        generic if generic == Generic::Never as u16 => Content::Datagram,
        generic => generic::content(ctx, generic == Generic::Sometimes as u16),
    };
    let length = bytes as u32;
    match content {
        Content::Datagrams(size)
            if length <= facts.merged.max(facts.capacity)
                && headers + size <= facts.capacity
                && length / size < MAX_MERGED =>
        {
            let merged = Merged::of(length.saturating_sub(headers), size);
            count::steered(slot, merged.count, bytes + (merged.count as usize - 1) * headers as usize);
            // The packet itself is counted on the way out.
            count::add(ctx, Verdict::Steered, merged.count - 1);
            mark_merged(ctx, slot, merged);
        }
        Content::Datagram if length <= facts.capacity => {
            count::steered(slot, 1, bytes);
            mark(ctx, Steered::new(Kind::Whole, slot));
        }
        _ => {
            count::steered(slot, 1, bytes);
            // SAFETY: the helper takes any context. Where it fails the socket drops what does not fit: the rule's `rx_ring`.
            unsafe { bpf_xdp_adjust_tail(ctx.ctx, headers as i32 - bytes as i32) };
            mark(ctx, Steered::new(Kind::Cut, slot));
        }
    }
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

/// Whether the frame is for another host's Ethernet address, on the interface of this rule.
#[inline(always)]
fn is_for_another(ctx: &XdpContext, rule: FlowValue, datagram: &Datagram) -> bool {
    datagram.is_unicast && !INTERFACES.get(rule.xsk_base).is_some_and(|facts| is_for(facts, &Frame::of(ctx)))
}

/// Why no rule takes it: for the counters only. One copy in the program, off the fast path.
#[inline(never)]
fn not_taken(ctx: &XdpContext, ifindex: u32, datagram: &Datagram, is_fragment: bool) -> Verdict {
    let Some(rules) = Rules::now() else { return Verdict::PassNoRule };
    if let Some(rule) = group_entry(&rules, ifindex, datagram.vlan, datagram) {
        let is_named = is_fragment && !is_for_another(ctx, rule, datagram);
        return if is_named { fragment(ctx, rule, datagram) } else { Verdict::PassNoRule };
    }
    // Some rule is for the group, but none under this frame's tag.
    match group_entry(&rules, ifindex, Vlan::ANY, datagram) {
        Some(rule) if !is_for_another(ctx, rule, datagram) => Verdict::PassVlan,
        _ => Verdict::PassNoRule,
    }
}
