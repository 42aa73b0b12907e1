//! Files of captured packets in the pcapng format: as much of it as `mcrctl capture` writes and reads.
//!
//! The format is that of the IETF's draft-ietf-opsawg-pcapng; "section" in this module's comments is one of that text. All numbers are
//! written in little-endian byte order, which the section header tells a reader (section 4.1).

mod read;
mod write;

pub use read::{Block, next, parse};
pub use write::{Inbound, comment, interface, packet, section, statistics};

/// Block types (section 10.1).
mod kind {
    pub const SECTION: u32 = 0x0a0d_0d0a;
    pub const INTERFACE: u32 = 1;
    pub const STATISTICS: u32 = 5;
    pub const PACKET: u32 = 6;
}

/// Option codes, each of its block (sections 3.5, 4.1 to 4.6).
mod code {
    pub const END: u16 = 0;
    pub const COMMENT: u16 = 1;
    pub const SECTION_APPLICATION: u16 = 4;
    pub const INTERFACE_NAME: u16 = 2;
    pub const INTERFACE_RESOLUTION: u16 = 9;
    pub const PACKET_FLAGS: u16 = 2;
    pub const STATISTICS_START: u16 = 2;
    pub const STATISTICS_END: u16 = 3;
    pub const STATISTICS_RECEIVED: u16 = 4;
    pub const STATISTICS_DROPPED: u16 = 5;
}

/// The byte order magic (section 4.1).
const MAGIC: u32 = 0x1a2b_3c4d;
/// Bytes of a block beside its body: its type, and its length twice (section 3.1).
const AROUND: usize = 12;

#[cfg(test)]
mod tests;
