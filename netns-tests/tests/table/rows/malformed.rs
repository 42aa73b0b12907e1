//! Matched, and not what it says it is: dropped, and counted once, whatever the number of outputs.

use crate::row::{Table, same};

const IN: &str = "239.N.1.1:5001";
const STREAM: &str = "v1 group=239.N.1.1 port=5001";

/// Offsets in an untagged frame without options.
const TOTAL_LENGTH: usize = 16;
const IP_CHECKSUM: usize = 24;
const UDP_LENGTH: usize = 38;

/// Bytes of a row's packet: 20 of IPv4, 8 of UDP, 32 of payload.
const WHOLE: u16 = 60;

pub fn rows(t: &mut Table) {
    let mut row = |name, changes: Vec<fn(&mut Vec<u8>)>| {
        let row = t.row(name).rule(STREAM, &["v2", "v4"]);
        for change in changes {
            row.sent(IN, same).bytes(change).drops("malformed");
        }
        // And the next packet is as good as any.
        row.sent(IN, same).out("v3", IN, same).out("v5", IN, same);
    };
    row(
        "a wrong IPv4 header checksum",
        vec![|f| f[IP_CHECKSUM] ^= 0x01, |f| f[IP_CHECKSUM + 1] ^= 0x80, |f| f[IP_CHECKSUM..IP_CHECKSUM + 2].fill(0)],
    );
    row("a UDP length beyond the packet", vec![|f| put(f, UDP_LENGTH, WHOLE - 20 + 1), |f| put(f, UDP_LENGTH, 0xffff)]);
    row("a UDP length below its header", vec![|f| put(f, UDP_LENGTH, 0), |f| put(f, UDP_LENGTH, 7)]);
    row("an IPv4 length beyond the frame", vec![|f| total_length(f, WHOLE + 1), |f| total_length(f, 0xffff)]);
    row("a frame cut in its payload", vec![|f| f.truncate(f.len() - 1), |f| f.truncate(42)]);
    row(
        "an IPv4 length below its headers",
        vec![|f| total_length(f, 0), |f| total_length(f, 19), |f| total_length(f, 20), |f| total_length(f, 27)],
    );
    row("an IPv4 length below the datagram's", vec![|f| total_length(f, WHOLE - 1)]);
    row(
        "a changed source, TTL or DSCP under the old checksum",
        vec![|f| f[26] ^= 0x01, |f| f[22] -= 1, |f| f[15] ^= 0x04],
    );
}

fn put(frame: &mut [u8], at: usize, value: u16) {
    frame[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

/// Changes the IPv4 length, and the header checksum with it, which is right.
fn total_length(frame: &mut [u8], length: u16) {
    put(frame, TOTAL_LENGTH, length);
    put(frame, IP_CHECKSUM, 0);
    let sum = etherparse::checksum::Sum16BitWords::new().add_slice(&frame[14..34]).ones_complement();
    frame[IP_CHECKSUM..IP_CHECKSUM + 2].copy_from_slice(&sum.to_ne_bytes());
}
