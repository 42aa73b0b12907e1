//! Writing blocks, each at the end of a buffer.

use super::{AROUND, MAGIC, code, kind};

/// `LINKTYPE_ETHERNET`, of the registry of link types that section 4.2 names.
const ETHERNET: u16 = 1;
/// Decimal digits of a second in a time stamp (`if_tsresol`, section 4.2): nanoseconds.
const NANOSECONDS: u8 = 9;
/// "Not specified" (section 4.1).
const UNKNOWN_LENGTH: u64 = u64::MAX;

/// Which way a packet goes, as its flags tell (`epb_flags`, section 4.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inbound {
    /// It came in.
    Yes,
    /// It went out.
    No,
}

/// The Section Header Block (section 4.1), which a file begins with.
pub fn section(to: &mut Vec<u8>, application: &str) {
    block(to, kind::SECTION, |to| {
        to.extend(MAGIC.to_le_bytes());
        // Version 1.0.
        to.extend(1u16.to_le_bytes());
        to.extend(0u16.to_le_bytes());
        to.extend(UNKNOWN_LENGTH.to_le_bytes());
        option(to, code::SECTION_APPLICATION, application.as_bytes());
        end_of_options(to);
    });
}

/// An Interface Description Block (section 4.2): the next interface, from 0, whose packets are Ethernet frames, cut to `snaplen` bytes.
pub fn interface(to: &mut Vec<u8>, name: &str, snaplen: u32) {
    block(to, kind::INTERFACE, |to| {
        to.extend(ETHERNET.to_le_bytes());
        to.extend(0u16.to_le_bytes());
        to.extend(snaplen.to_le_bytes());
        option(to, code::INTERFACE_NAME, name.as_bytes());
        option(to, code::INTERFACE_RESOLUTION, &[NANOSECONDS]);
        end_of_options(to);
    });
}

/// An Enhanced Packet Block (section 4.3): the bytes of `data`, one part behind the other, of a packet of `original` bytes that was seen
/// `time` nanoseconds after 1970. `comments` are options made by [`comment`].
pub fn packet(
    to: &mut Vec<u8>,
    interface: u32,
    time: u64,
    original: u32,
    data: [&[u8]; 2],
    way: Inbound,
    comments: &[&[u8]],
) {
    block(to, kind::PACKET, |to| {
        let length: usize = data.iter().map(|part| part.len()).sum();
        for word in [interface, (time >> 32) as u32, time as u32, length as u32, original] {
            to.extend(word.to_le_bytes());
        }
        data.iter().for_each(|part| to.extend_from_slice(part));
        pad(to, length);
        comments.iter().for_each(|comment| to.extend_from_slice(comment));
        let flags: u32 = match way {
            Inbound::Yes => 0b01,
            Inbound::No => 0b10,
        };
        option(to, code::PACKET_FLAGS, &flags.to_le_bytes());
        end_of_options(to);
    });
}

/// An Interface Statistics Block (section 4.6) of the time from `start` to `end`, in nanoseconds after 1970: `received` packets were
/// there for the capture, of which `dropped` are not in the file.
pub fn statistics(to: &mut Vec<u8>, interface: u32, (start, end): (u64, u64), received: u64, dropped: u64) {
    block(to, kind::STATISTICS, |to| {
        to.extend(interface.to_le_bytes());
        to.extend(stamp(end));
        option(to, code::STATISTICS_START, &stamp(start));
        option(to, code::STATISTICS_END, &stamp(end));
        option(to, code::STATISTICS_RECEIVED, &received.to_le_bytes());
        option(to, code::STATISTICS_DROPPED, &dropped.to_le_bytes());
        end_of_options(to);
    });
}

/// A comment (`opt_comment`, section 3.5.1) as an option of [`packet`].
pub fn comment(text: &str) -> Vec<u8> {
    let mut made = Vec::with_capacity(text.len() + 8);
    option(&mut made, code::COMMENT, text.as_bytes());
    made
}

/// A block (section 3.1) with this body.
fn block(to: &mut Vec<u8>, kind: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let start = to.len();
    to.extend(kind.to_le_bytes());
    to.extend([0; 4]);
    body(to);
    let length = (to.len() - start + AROUND - 8) as u32;
    to.extend(length.to_le_bytes());
    to[start + 4..start + 8].copy_from_slice(&length.to_le_bytes());
}

/// An option (section 3.5), cut to the longest that there is.
fn option(to: &mut Vec<u8>, code: u16, value: &[u8]) {
    let value = &value[..value.len().min(usize::from(u16::MAX))];
    to.extend(code.to_le_bytes());
    to.extend((value.len() as u16).to_le_bytes());
    to.extend_from_slice(value);
    pad(to, value.len());
}

/// `opt_endofopt` (section 3.5).
fn end_of_options(to: &mut Vec<u8>) {
    to.extend(code::END.to_le_bytes());
    to.extend(0u16.to_le_bytes());
}

/// Zeros up to the next multiple of four, after `length` bytes.
fn pad(to: &mut Vec<u8>, length: usize) {
    to.extend(std::iter::repeat_n(0, length.next_multiple_of(4) - length));
}

/// A time stamp: its high half first (section 4.6).
fn stamp(time: u64) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&((time >> 32) as u32).to_le_bytes());
    bytes[4..].copy_from_slice(&(time as u32).to_le_bytes());
    bytes
}
