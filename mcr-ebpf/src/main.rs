//! The XDP program: parse, look up, redirect to this queue's AF_XDP socket; all else goes on to the host.
#![no_std]
#![no_main]

mod packet;
mod maps;
mod find;
mod generic;
mod record;
mod steer;
mod count;
mod object;

use aya_ebpf::{bindings::xdp_action, macros::xdp, programs::XdpContext};
use mcr_common::counter::Verdict;

/// Entry point, attached to every interface with a socket.
#[xdp]
fn mcr(ctx: XdpContext) -> u32 {
    let verdict = steer::steer(&ctx);
    // Counting returns what it counted, so no way out forgets it.
    match count::verdict(&ctx, verdict) {
        Verdict::Steered => xdp_action::XDP_REDIRECT,
        Verdict::PassNoRule | Verdict::PassFragment | Verdict::PassVlan | Verdict::PassUnservedQueue => {
            xdp_action::XDP_PASS
        }
    }
}
