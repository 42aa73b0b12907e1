//! A stream's frames, as both senders make them.

use std::net::Ipv4Addr;

use mcr_common::checksum::Sum;
use netns_tests::packet::{Checksum, Packet};

use super::layout::{HEAD, MAGIC, NUMBER, PAYLOAD, RUN, Streams, TIME};

/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;
/// Offset of the UDP checksum.
const CHECKSUM: usize = 40;

/// Where a load comes from.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// Source address.
    pub source: Ipv4Addr,
    /// Source Ethernet address.
    pub mac: [u8; 6],
}

/// A frame of one stream, ready but for number and time.
#[derive(Clone, Debug)]
pub struct Template {
    frame: Vec<u8>,
    /// One's complement sum of all that the UDP checksum covers, with number, time and the checksum itself 0.
    sum: u16,
}

/// One's complement sum of the payload behind the stamp in a frame of `size` bytes.
pub fn filling_sum(size: u32) -> u16 {
    Sum::default().bytes(&filling(size)).fold()
}

/// A frame with a right length and filling, whose headers the in-kernel sender writes.
pub fn blank(size: u32) -> Vec<u8> {
    let mut frame = vec![0; HEAD];
    frame.extend(filling(size));
    frame
}

/// IPv4 total length in a frame of `size` bytes.
pub fn total_length(size: u32) -> u16 {
    (size as usize - ETHERNET) as u16
}

/// The payload behind the stamp.
fn filling(size: u32) -> Vec<u8> {
    (HEAD..size as usize).map(|at| at as u8).collect()
}

impl Template {
    /// A frame of `size` bytes (without FCS, [`HEAD`] at least) of stream `stream`.
    pub fn new(streams: &Streams, stream: u32, origin: Origin, run: u32, size: u32) -> Self {
        let mut payload = vec![0; HEAD - PAYLOAD];
        payload[..2].copy_from_slice(&MAGIC.to_be_bytes());
        payload[RUN - PAYLOAD..NUMBER - PAYLOAD].copy_from_slice(&run.to_ne_bytes());
        payload.extend(filling(size));
        let group = Ipv4Addr::from_bits(streams.group + stream);
        let packet = Packet {
            from_mac: origin.mac,
            source: origin.source,
            payload,
            checksum: Checksum::Right,
            ..Packet::new(group, (streams.port + stream) as u16)
        };
        let sum = !packet.right_checksum();
        Self { frame: packet.frame(), sum }
    }

    /// The frame of packet `number`, sent at `now` (CLOCK_MONOTONIC in nanoseconds).
    pub fn stamped(&mut self, number: u32, now: u64) -> &[u8] {
        self.frame[NUMBER..TIME].copy_from_slice(&number.to_ne_bytes());
        self.frame[TIME..HEAD].copy_from_slice(&now.to_ne_bytes());
        let checksum = match Sum::default().word(self.sum).bytes(&self.frame[NUMBER..HEAD]).finish() {
            0 => 0xffff,
            checksum => checksum,
        };
        self.frame[CHECKSUM..CHECKSUM + 2].copy_from_slice(&checksum.to_be_bytes());
        &self.frame
    }
}

#[cfg(test)]
mod tests {
    use etherparse::SlicedPacket;

    use super::*;

    const STREAMS: Streams = Streams { group: 0xef01_0101, port: 5001, count: 50, scattered: 0 };
    const ORIGIN: Origin = Origin { source: Ipv4Addr::new(10, 1, 0, 1), mac: [2, 0, 0, 0, 0, 1] };

    #[test]
    fn a_stamped_frame_is_right_at_every_size() {
        for size in [60, 64, 65, 1024, 1400] {
            let mut template = Template::new(&STREAMS, 7, ORIGIN, 0xdead_beef, size);
            for (number, now) in [(0, 0), (1, 2), (u32::MAX, u64::MAX), (77, 123_456_789_012)] {
                let frame = template.stamped(number, now).to_vec();
                assert_eq!(frame.len(), size as usize);
                let sliced = SlicedPacket::from_ethernet(&frame).unwrap();
                let Some(etherparse::TransportSlice::Udp(udp)) = sliced.transport else { panic!("{sliced:?}") };
                let (from, to) = (ORIGIN.source.octets(), [239, 1, 1, 8]);
                let right = udp.to_header().calc_checksum_ipv4_raw(from, to, udp.payload()).unwrap();
                assert_eq!((udp.destination_port(), udp.checksum()), (5008, right), "{size} B, number {number}");
            }
        }
    }
}
