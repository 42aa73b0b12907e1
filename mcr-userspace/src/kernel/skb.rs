//! Where the running kernel keeps what tells datagrams that it has merged ([`mcr_common::skb`]).

use std::{io, path::Path};

use mcr_common::skb::Offsets;

use super::btf::{Btf, VMLINUX};

/// `SMP_CACHE_BYTES` of the architectures that mcr runs on (arch/*/include/asm/cache.h); the end of an skb's head is aligned to it.
const CACHE_LINE: u32 = 64;

/// Asks the kernel's own description.
///
/// # Errors
/// The kernel has none (`CONFIG_DEBUG_INFO_BTF`), or lacks a field.
pub fn offsets() -> io::Result<Offsets> {
    let btf = Btf::read(Path::new(VMLINUX))?;
    let lacks = |what: String| io::Error::new(io::ErrorKind::NotFound, format!("the kernel's BTF has no {what}"));
    let field = |name: &str, field: &str| btf.offset(name, field).ok_or_else(|| lacks(format!("{name}.{field}")));
    let size = |name: &str| btf.size(name).ok_or_else(|| lacks(name.to_owned()));
    Ok(Offsets {
        hard_start: field("xdp_buff", "data_hard_start")?,
        frame_size: field("xdp_buff", "frame_sz")?,
        queue: field("xdp_buff", "rxq")?,
        device: field("xdp_rxq_info", "dev")?,
        queues: field("net_device", "_rx")?,
        queue_info: field("netdev_rx_queue", "xdp_rxq")?,
        queue_size: size("netdev_rx_queue")?,
        shared_info: size("skb_shared_info")?.next_multiple_of(CACHE_LINE),
        gso_size: field("skb_shared_info", "gso_size")?,
        gso_type: field("skb_shared_info", "gso_type")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_running_kernel_has_all() {
        if Path::new(VMLINUX).exists() {
            let offsets = offsets().expect("this kernel describes itself");
            assert!(offsets.shared_info > offsets.gso_size && offsets.queue_size > 0, "{offsets:?}");
        }
    }
}
