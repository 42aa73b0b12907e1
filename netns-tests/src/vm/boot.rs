//! What a kernel is told at its boot, and what a guest knows by that: where its memory is, and its interfaces' addresses.

use std::ops::Range;

/// A panic ends the machine; IPv6 would add packets of its own; emulated processors need no protection from each other.
const WORDS: &str = "console=ttyS0 panic=-1 ipv6.disable=1 mitigations=off random.trust_cpu=on";
/// Physical memory that the kernel must not use. Nobody writes there, so it is zero.
///
/// virtio_net as a module gives the device a wrong address for the header that is before every packet sent by zero-copy
/// (docs/kernel.md). With the kernel where it was linked to be, which `nokaslr` sees to, it is as far above 1 GiB as the driver is
/// above where modules begin; else it is anywhere, and where it hits memory in use the host drops all of these packets.
pub(super) const SET_ASIDE: Range<u64> = 0x4000_0000..0x4400_0000;
/// What virtual addresses of the kernel are above physical ones, without KASLR; wrong for modules.
pub(super) const KERNEL_MAP: u64 = 0xffff_ffff_8000_0000;

/// The kernel's command line.
pub(super) fn kernel_words() -> String {
    format!("{WORDS} nokaslr memmap={:#x}${:#x}", SET_ASIDE.end - SET_ASIDE.start, SET_ASIDE.start)
}

/// The Ethernet address of interface `i`.
pub fn mac(i: usize) -> String {
    format!("52:54:00:00:00:{i:02x}")
}
