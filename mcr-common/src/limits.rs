//! Sizes that more than one crate must agree on.

/// Rules that a daemon holds unless `[limits] rules` says otherwise.
pub const DEFAULT_RULES: u32 = 65_536;
/// Outputs of one rule.
pub const MAX_OUTPUTS: usize = 64;
/// Distinct shapes (source length, group length, kind of port) over all rules.
pub const MAX_SHAPES: usize = 64;
/// Bytes that the kernel keeps free before a packet in a UMEM frame (`XDP_PACKET_HEADROOM`, linux/bpf.h).
pub const XDP_HEADROOM: u32 = 256;

/// Entries of the table of shapes: each of [`MAX_SHAPES`] at worst stands for the four block sizes of port ranges, and one
/// [`Shape::END`](crate::flow::Shape::END).
pub const TABLE_SHAPES: u32 = MAX_SHAPES as u32 * 4 + 1;
/// Entries of the table of group prefix lengths: 4 to 32, and an end.
pub const GROUP_SHAPES: u32 = 30;
/// Tables of shapes in the kernel: one is in use while the other is written.
pub const SHAPE_BANKS: u32 = 2;
/// AF_XDP sockets over all interfaces and queues: entries of `XSKS`. Each interface has room for 16 at least, so that all of
/// [`MAX_INTERFACES`] fit, or half of them with 64 queues each.
pub const MAX_SOCKETS: u32 = 32_768;
/// Interfaces with the program: entries of `VERDICTS`.
pub const MAX_INTERFACES: u32 = 1024;
/// Datagrams of a merged packet, beyond which it is not split: the kernel merges at most 128 (`UDP_MAX_SEGMENTS`, include/linux/udp.h).
pub const MAX_MERGED: u32 = 512;
