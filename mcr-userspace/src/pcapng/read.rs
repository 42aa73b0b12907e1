//! Reading blocks, from a stream that [`write`](super::write) made.

use std::io::{self, ErrorKind, Read};

use super::{AROUND, code, kind};

/// Bytes of the longest block that is taken: a packet of 64 KiB with its comments is far below.
const MAX_BLOCK: usize = 1 << 20;

/// What a block holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Block<'a> {
    /// Interface Description Block.
    Interface {
        /// `if_name`.
        name: &'a str,
    },
    /// Enhanced Packet Block.
    Packet {
        /// Number of the interface, from 0.
        interface: u32,
        /// Nanoseconds after 1970.
        time: u64,
        /// Bytes that the packet had.
        original: u32,
        /// Those of them that were captured.
        data: &'a [u8],
        /// Its comments.
        comments: Vec<&'a str>,
    },
    /// Interface Statistics Block.
    Statistics {
        /// Number of the interface, from 0.
        interface: u32,
        /// `isb_ifrecv`.
        received: u64,
        /// `isb_ifdrop`.
        dropped: u64,
    },
    /// Any other.
    Other,
}

/// Reads the next block as a whole into `block`, which is cleared first; `false` at the end of the stream.
///
/// # Errors
/// The stream fails, ends within a block, or is no pcapng.
pub fn next(from: &mut impl Read, block: &mut Vec<u8>) -> io::Result<bool> {
    block.clear();
    if from.by_ref().take(8).read_to_end(block)? == 0 {
        return Ok(false);
    }
    let length = word(block, 4).ok_or(ErrorKind::UnexpectedEof)? as usize;
    if !length.is_multiple_of(4) || !(AROUND..=MAX_BLOCK).contains(&length) {
        return Err(io::Error::new(ErrorKind::InvalidData, "not a stream of pcapng blocks"));
    }
    from.by_ref().take(length as u64 - 8).read_to_end(block)?;
    if block.len() < length { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(true) }
}

/// What a whole block holds; `None` where it is damaged.
pub fn parse(block: &[u8]) -> Option<Block<'_>> {
    let body = block.get(8..block.len().checked_sub(4)?)?;
    Some(match word(block, 0)? {
        kind::INTERFACE => {
            let name = options(body.get(8..)?).find(|(code, _)| *code == code::INTERFACE_NAME);
            Block::Interface { name: std::str::from_utf8(name?.1).ok()? }
        }
        kind::PACKET => {
            let length = word(body, 12)? as usize;
            let data = body.get(20..)?.get(..length)?;
            let comments = options(body.get(20 + length.next_multiple_of(4)..)?);
            let comments = comments.filter(|(code, _)| *code == code::COMMENT);
            Block::Packet {
                interface: word(body, 0)?,
                time: u64::from(word(body, 4)?) << 32 | u64::from(word(body, 8)?),
                original: word(body, 16)?,
                data,
                comments: comments.filter_map(|(_, text)| std::str::from_utf8(text).ok()).collect(),
            }
        }
        kind::STATISTICS => {
            let number = |wanted| {
                let (_, value) = options(body.get(12..)?).find(|(code, _)| *code == wanted)?;
                Some(u64::from_le_bytes(value.try_into().ok()?))
            };
            Block::Statistics {
                interface: word(body, 0)?,
                received: number(code::STATISTICS_RECEIVED)?,
                dropped: number(code::STATISTICS_DROPPED)?,
            }
        }
        _ => Block::Other,
    })
}

/// The options in `bytes` (section 3.5), up to the end or to the first that is damaged.
fn options(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let head = word(bytes, 0)?;
        let (code, length) = (head as u16, (head >> 16) as usize);
        let value = bytes.get(4..4 + length).filter(|_| code != code::END)?;
        bytes = bytes.get(4 + length.next_multiple_of(4)..)?;
        Some((code, value))
    })
}

/// The little-endian word at `at`.
fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}
