//! What `cargo xtask bench` runs in the kernel: a sender, a sink, and the forwarder that is the limit for all others. No part
//! of mcr.
#![no_std]
#![no_main]

mod layout;
mod head;
mod send;
mod sink;
mod rewrite;

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    // Nothing here panics; the verifier would refuse the loop if anything could.
    loop {}
}

/// The kernel lets only GPL-compatible programs use some helpers; the object is also under the GPL.
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
