//! The XDP program: parse, look up, redirect to this queue's AF_XDP socket; all else goes on to the host.
#![no_std]
#![no_main]

mod packet;
mod maps;
mod find;
mod steer;
mod count;

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

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    // Nothing here panics; the verifier would refuse the loop if anything could.
    loop {}
}

/// The kernel lets only GPL-compatible programs use some helpers; the object is also under the GPL.
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
