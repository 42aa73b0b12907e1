//! What a probe packet carries: an 18-byte header, then a known filling.
//!
//! 18 bytes are all that a 60-byte Ethernet frame (without FCS) leaves after Ethernet (14), IPv4 (20)
//! and UDP (8). All fields are big-endian:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 2 | magic, 0x6d63 ("mc") |
//! | 2 | 2 | stream number, from 0 |
//! | 4 | 4 | run: a random number that the sender process draws when it starts |
//! | 8 | 5 | sequence number within the stream, from 0; 2^40 last 12 days at 1,000,000 a second |
//! | 13 | 5 | send time: CLOCK_REALTIME in nanoseconds modulo 2^40 (18.3 minutes) |
//! | 18 | rest | the byte at offset o is o modulo 256 |
//!
//! The filling is checked, since a forwarder that completes a partial checksum would also bless what it
//! has damaged itself.

/// Bytes of the header, the smallest payload.
pub const HEADER: usize = 18;
/// Bytes before the payload in an untagged frame: Ethernet 14, IPv4 without options 20, UDP 8.
pub const OVERHEAD: usize = 42;
/// Sequence numbers are below this.
pub const SEQ_END: u64 = 1 << 40;
/// Bytes of the largest UDP payload in an IPv4 packet.
pub const LARGEST: usize = 65_535 - 28;

const MAGIC: [u8; 2] = *b"mc";
const TIME_MASK: u64 = (1 << 40) - 1;

static FILLING: [u8; LARGEST] = {
    let mut bytes = [0; LARGEST];
    let mut at = 0;
    while at < LARGEST {
        bytes[at] = at as u8;
        at += 1;
    }
    bytes
};

/// The decoded header of one probe packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Which stream of its sender.
    pub stream: u16,
    /// Which sender process.
    pub run: u32,
    /// Position in its stream, from 0, below [`SEQ_END`].
    pub seq: u64,
    /// CLOCK_REALTIME when it was handed to the kernel, in nanoseconds modulo 2^40.
    pub sent_ns: u64,
}

impl Header {
    /// Writes the header over the first [`HEADER`] bytes; the sequence number and time modulo 2^40.
    pub fn encode(&self, payload: &mut [u8]) {
        payload[0..2].copy_from_slice(&MAGIC);
        payload[2..4].copy_from_slice(&self.stream.to_be_bytes());
        payload[4..8].copy_from_slice(&self.run.to_be_bytes());
        payload[8..13].copy_from_slice(&self.seq.to_be_bytes()[3..]);
        payload[13..18].copy_from_slice(&self.sent_ns.to_be_bytes()[3..]);
    }

    /// Reads a payload; `None` when it is too short, has another magic, or its filling is damaged.
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let (head, filling) = payload.split_first_chunk::<HEADER>()?;
        if head[0..2] != MAGIC || filling != FILLING.get(HEADER..payload.len())? {
            return None;
        }
        let forty = |at: usize| head[at..at + 5].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        Some(Self {
            stream: u16::from_be_bytes([head[2], head[3]]),
            run: u32::from_be_bytes([head[4], head[5], head[6], head[7]]),
            seq: forty(8),
            sent_ns: forty(13),
        })
    }

    /// Nanoseconds from sending to `now_ns` (CLOCK_REALTIME), in 0 to 2^40 - 1: a send time in the future
    /// gives a value near the upper end.
    pub fn age_ns(&self, now_ns: u64) -> u64 {
        now_ns.wrapping_sub(self.sent_ns) & TIME_MASK
    }
}

/// Fills a payload of at most 65,507 bytes; the header is then written over its start.
pub fn fill(payload: &mut [u8]) {
    payload.copy_from_slice(&FILLING[..payload.len()]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(len: usize, header: Header) -> Vec<u8> {
        let mut payload = vec![0; len];
        fill(&mut payload);
        header.encode(&mut payload);
        payload
    }

    const HIGH: Header = Header { stream: 0xfffe, run: 0xdead_beef, seq: SEQ_END - 1, sent_ns: TIME_MASK };
    const LOW: Header = Header { stream: 1, run: 2, seq: 3, sent_ns: 4 };

    #[test]
    fn what_is_encoded_is_decoded_at_every_size() {
        for len in [HEADER, HEADER + 1, 214, 1458, LARGEST] {
            for header in [LOW, HIGH] {
                assert_eq!(Header::decode(&packet(len, header)), Some(header), "{len} bytes");
            }
        }
    }

    #[test]
    fn bytes_stand_where_the_table_says() {
        let header = Header { stream: 0x0102, run: 0x0304_0506, seq: 0x07_0809_0a0b, sent_ns: 0x0c_0d0e_0f10 };
        let want = [b'm', b'c', 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 19];
        assert_eq!(packet(20, header), want);
    }

    #[test]
    fn damage_is_seen_in_magic_and_filling() {
        let good = packet(300, LOW);
        for at in [0, 1, HEADER, 150, 299] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert_eq!(Header::decode(&bad), None, "byte {at}");
        }
        assert_eq!(Header::decode(&good[..HEADER - 1]), None);
        assert_eq!(Header::decode(&[]), None);
    }

    #[test]
    fn age_survives_the_wrap_of_the_clock() {
        let sent = Header { sent_ns: TIME_MASK - 9, ..LOW };
        assert_eq!(sent.age_ns((1 << 40) + 20), 30);
        assert_eq!(Header { sent_ns: 100, ..LOW }.age_ns(5 << 40 | 150), 50);
        assert_eq!(Header { sent_ns: 100, ..LOW }.age_ns(99), TIME_MASK);
    }
}
