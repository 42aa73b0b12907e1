//! What every object of this crate ends with.

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    // Nothing here panics; the verifier would refuse the loop if anything could.
    loop {}
}

/// The kernel lets only GPL-compatible programs use some helpers; the object is also under the GPL.
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
