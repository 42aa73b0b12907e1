//! Virtual machines under QEMU's own emulation: Debian's kernels, real zero-copy on virtio_net, no KVM.
//!
//! In the order a test meets them: which kernels there are and where they come from, what is in the guest, the machine
//! around it, how it is spoken to, and `mcrd` inside it, with the traffic past it. The guest is an initramfs with this machine's own programs in
//! it, so nothing is installed anywhere, and a guest is gone with its process.

pub mod kernel;
pub mod modules;

pub mod cpio;
pub mod initramfs;

pub mod boot;
pub mod channel;
pub mod guest;
pub mod machine;
pub mod qemu;

pub mod relay;
pub mod wire;
pub mod own;
