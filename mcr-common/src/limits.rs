//! Sizes that more than one crate must agree on.

/// Rules that a daemon holds unless `[limits] rules` says otherwise.
pub const DEFAULT_RULES: u32 = 65_536;
/// Outputs of one rule.
pub const MAX_OUTPUTS: usize = 64;
/// Distinct shapes (source length, group length, kind of port) over all rules.
pub const MAX_SHAPES: usize = 64;
/// Bytes that the kernel keeps free before a packet in a UMEM frame (`XDP_PACKET_HEADROOM`, linux/bpf.h).
pub const XDP_HEADROOM: u32 = 256;
