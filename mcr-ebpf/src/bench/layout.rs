//! What the bench's programs and the bench itself must agree on; part of both (`netns-tests/bench/src/load/layout.rs`).

/// First two bytes of a payload, big-endian: "mB".
pub const MAGIC: u16 = 0x6d42;
/// Offset of the payload in a frame: Ethernet 14, IPv4 without options 20, UDP 8.
pub const PAYLOAD: usize = 42;
/// Offset of the run: four bytes, native order like all that follow.
pub const RUN: usize = PAYLOAD + 2;
/// Offset of the packet's number within its run, from 0: four bytes.
pub const NUMBER: usize = RUN + 4;
/// Offset of the time of sending: CLOCK_MONOTONIC in nanoseconds, eight bytes.
pub const TIME: usize = NUMBER + 4;
/// Bytes of a frame up to the end of what is read or written: the smallest frame.
pub const HEAD: usize = TIME + 8;

/// Numbers of one bitmap word: the upper half is the run that it is of, so that nothing needs to be cleared.
pub const NUMBERS: u32 = 32;
/// Bitmap words: 128 million numbers, shared by the outputs.
pub const WORDS: u32 = 1 << 22;
/// Classes of delay, see [`class`].
pub const CLASSES: u32 = 64 * 40;
/// Rewriting flows at most: ten thousand, with room to spare.
pub const FLOWS: u32 = 1 << 15;

/// The sender's orders and how far it is.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Orders {
    /// Nanoseconds between two packets, in 1/1024; 0 is as fast as it goes.
    pub interval: u64,
    /// When number 0 was due; moved on when the sender was held up, so that it never catches up in a burst.
    pub start: u64,
    /// When the first packet was sent.
    pub began: u64,
    /// When the last packet was sent.
    pub ended: u64,
    /// The next number.
    pub next: u64,
    /// Which streams.
    pub streams: Streams,
    /// Source address, host byte order.
    pub source: u32,
    /// Source Ethernet address.
    pub mac: [u8; 6],
    /// IPv4 total length.
    pub length: u16,
    /// One's complement sum of the payload behind the stamp.
    pub filling: u32,
    /// The run.
    pub run: u32,
}

/// Streams: `count` from a group and port upwards, stream i with both + i.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Streams {
    /// First group, host byte order.
    pub group: u32,
    /// First UDP destination port.
    pub port: u32,
    /// How many.
    pub count: u32,
    /// 0: packets go round robin over them; 1: in an order without pattern.
    pub scattered: u32,
}

impl Streams {
    /// The stream of packet `number`.
    #[inline(always)]
    pub const fn of(&self, number: u32) -> u32 {
        let turn = match self.scattered {
            0 => number,
            // Knuth's multiplicative hash; its upper bits are the good ones.
            _ => number.wrapping_mul(0x9e37_79b1) >> 7,
        };
        if self.count == 0 { 0 } else { turn % self.count }
    }
}

/// What the sink expects, and what has come.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Tally {
    /// Different packets.
    pub unique: u64,
    /// Packets that came again.
    pub duplicated: u64,
    /// Packets of this run that no output has: a wrong group or port, or a number out of range.
    pub foreign: u64,
    /// Packets of earlier runs.
    pub stale: u64,
    /// Bytes of the different packets.
    pub bytes: u64,
    /// When the first came.
    pub first: u64,
    /// When the last came.
    pub last: u64,
    /// As they must come; output o has the group + o x 65,536.
    pub streams: Streams,
    /// How many outputs.
    pub outputs: u32,
    /// The run.
    pub run: u32,
    /// Delays are taken of packets whose number has none of these bits.
    pub unsampled: u32,
    /// Padding.
    pub spare: u32,
}

/// What the in-kernel forwarder makes of a group and port.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Rewrite {
    /// New group, host byte order.
    pub group: u32,
    /// New source, host byte order.
    pub source: u32,
    /// New port.
    pub port: u32,
    /// New source Ethernet address, and padding.
    pub mac: [u8; 8],
}

/// The class of a delay in nanoseconds: exact below 64, then 64 classes for each doubling, so within 1.6 %.
#[inline(always)]
pub const fn class(nanoseconds: u64) -> u32 {
    // Loops and leading_zeros are dear in BPF: halve the search five times.
    let (mut value, mut shift) = (nanoseconds, 0);
    let mut step = 32;
    while step > 0 {
        if value >> (step + 6) != 0 {
            value >>= step;
            shift += step;
        }
        step /= 2;
    }
    if value >> 7 != 0 {
        value >>= 1;
        shift += 1;
    }
    let class = if value < 64 { value as u32 } else { 64 + shift * 64 + (value as u32 - 64) };
    if class < CLASSES { class } else { CLASSES - 1 }
}
