//! Malformed packets, field by field. Sound ones, and partial checksums in sound ones: see `rewrite`'s tests.

use mcr_common::parse::{Parsed, parse};
use proptest::{prelude::*, test_runner::RngSeed};

use super::*;

/// A frame of 4 bytes of options and a payload of `payload` bytes, with sound checksums.
fn frame(payload: usize) -> Vec<u8> {
    let mut frame = Vec::new();
    let mut ip =
        etherparse::Ipv4Header::new(0, 16, etherparse::IpNumber::UDP, [10, 0, 0, 5], [239, 1, 1, 1]).expect("it fits");
    ip.options = [1, 1, 1, 0].into();
    etherparse::PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [1, 0, 0x5e, 1, 1, 1])
        .ip(etherparse::IpHeaders::Ipv4(ip, Default::default()))
        .udp(4000, 5001)
        .write(&mut frame, &vec![0xa5; payload])
        .expect("a vector takes it");
    frame
}

fn datagram(frame: &[u8]) -> Datagram {
    let Parsed::Datagram(datagram) = parse(frame) else { panic!("no datagram") };
    datagram
}

/// Sets a word of the IP header and makes the header's checksum right again.
fn set(frame: &mut [u8], at: usize, value: u16) {
    frame[at..at + 2].copy_from_slice(&value.to_be_bytes());
    let ip = etherparse::Ipv4HeaderSlice::from_slice(&frame[14..]).expect("a header").to_header();
    frame[24..26].copy_from_slice(&ip.calc_header_checksum().to_be_bytes());
}

const TOTAL_LENGTH: usize = 16;
const UDP_LENGTH: usize = 42;

#[test]
fn the_packet_ends_where_ip_says() {
    let mut frame = frame(3);
    assert_eq!(frame.len(), 14 + 24 + 8 + 3);
    assert_eq!(end_of_packet(&frame, &datagram(&frame)), Some(49));
    frame.extend([0xff; 11]);
    assert_eq!(end_of_packet(&frame, &datagram(&frame)), Some(49), "padding");
}

#[test]
fn lengths_that_do_not_fit_are_malformed() {
    let sound = frame(10);
    let ends = |at: usize, value: u16| {
        let mut frame = sound.clone();
        set(&mut frame, at, value);
        end_of_packet(&frame, &datagram(&frame))
    };
    assert_eq!(ends(TOTAL_LENGTH, 42), Some(56));
    // Beyond the frame; not to the datagram's end; not past the headers.
    for total in [43, 41, 32, 24, 20, 0, 0xffff] {
        assert_eq!(ends(TOTAL_LENGTH, total), None, "total length {total}");
    }
    for length in [0, 7, 19, 0xffff] {
        assert_eq!(ends(UDP_LENGTH, length), None, "UDP length {length}");
    }
    // Shorter than the IP packet is what receivers accept.
    for length in [8, 17, 18] {
        assert_eq!(ends(UDP_LENGTH, length), Some(56), "UDP length {length}");
    }
}

#[test]
fn every_flipped_bit_of_the_ip_header_is_found() {
    let sound = frame(10);
    let datagram = datagram(&sound);
    for bit in 14 * 8..38 * 8 {
        let mut frame = sound.clone();
        frame[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(end_of_packet(&frame, &datagram), None, "bit {bit}");
    }
}

#[test]
fn a_checksum_that_is_not_partial_stays() {
    let sound = frame(9);
    let datagram = datagram(&sound);
    let partial = pseudo_header(datagram.source, datagram.group, 17).fold();
    for checksum in [0, 1, partial - 1, partial + 1, 0xffff] {
        let mut frame = sound.clone();
        frame[44..46].copy_from_slice(&checksum.to_be_bytes());
        let before = frame.clone();
        complete_checksum(&mut frame, &datagram);
        assert_eq!(frame, before, "{checksum:#x}");
    }
    let mut frame = sound.clone();
    frame[44..46].copy_from_slice(&partial.to_be_bytes());
    complete_checksum(&mut frame, &datagram);
    assert_eq!(frame, sound);
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), ..ProptestConfig::with_cases(5_000) })]

    /// Whatever parses is judged without a panic, and what is found sound ends within the frame.
    #[test]
    fn nothing_makes_them_panic(
        mut bytes in (0usize..60).prop_map(frame),
        hits in proptest::collection::vec((14usize..64, any::<u8>()), 0..4),
        keep in 0usize..120,
        sound_header in any::<bool>(),
    ) {
        for (at, value) in hits {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        if let (true, Ok(ip)) = (sound_header, etherparse::Ipv4HeaderSlice::from_slice(&bytes[14..])) {
            let checksum = ip.to_header().calc_header_checksum();
            bytes[24..26].copy_from_slice(&checksum.to_be_bytes());
        }
        bytes.truncate(keep);
        if let Parsed::Datagram(datagram) = parse(bytes.as_slice())
            && let Some(end) = end_of_packet(&bytes, &datagram)
        {
            prop_assert!(end <= bytes.len() && end >= usize::from(datagram.udp_offset) + 8);
            complete_checksum(&mut bytes[..end], &datagram);
        }
    }
}
