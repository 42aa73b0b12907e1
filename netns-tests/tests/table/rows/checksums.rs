//! The UDP checksum stays end to end.

use std::net::Ipv4Addr;

use netns_tests::packet::{Checksum, Packet};

use crate::row::{Table, same};

const IN: &str = "239.N.1.1:5001";
const OUT: &str = "238.N.1.1:6001";
const STREAM: &str = "v1 group=239.N.1.1 port=5001";
const CHANGED: &str = "v2 group=238.N.1.1 port=6001";

pub fn rows(t: &mut Table) {
    for (name, checksum) in [
        ("right", Checksum::Right),
        ("none stays none", Checksum::Zero),
        ("off by one stays off by one", Checksum::Damaged(1)),
        ("off by minus one stays so", Checksum::Damaged(0xfffe)),
        ("damaged stays as damaged", Checksum::Damaged(0x1234)),
        ("a partial one is completed", Checksum::Partial),
    ] {
        let row = t.row(name).rule(STREAM, &[CHANGED, "v4 source=keep ttl=keep", "v2 dscp=9 vlan=7"]);
        for payload in [0, 1, 33, 64, 1471] {
            row.sent(IN, |p| (p.payload, p.checksum) = ((0..payload).map(|i| (i * 31) as u8).collect(), checksum))
                .out("v3", OUT, same)
                .out("v5", IN, |p| (p.source, p.ttl) = (Ipv4Addr::new(192, 0, 2, 7), 16))
                .out("v3", IN, |p| (p.dscp, p.tag) = (9, Some(super::tags::tag(7))));
        }
    }
    t.row("a partial one is completed behind a tag, with options and bytes behind the datagram")
        .rule("v1 group=239.N.1.1 port=5001 vlan=100", &[CHANGED])
        .sent(IN, |p| {
            (p.checksum, p.tag) = (Checksum::Partial, Some(super::tags::tag(100)));
            (p.options, p.behind) = (vec![1; 12], vec![0xcc; 5]);
        })
        .out("v3", OUT, same);

    // All ones where the sum is 0 (RFC 768): in what goes out, in what comes in, in both.
    let row = t.row("a checksum that becomes 0 is all ones").rule(STREAM, &[CHANGED]);
    for checksum in [Checksum::Right, Checksum::Partial] {
        row.sent(IN, |p| (p.payload, p.checksum) = (balanced_going_out(p), checksum)).out("v3", OUT, sums_to_zero);
    }
    let row = t.row("a checksum of all ones is not none").rule(STREAM, &[CHANGED]);
    row.sent(IN, |p| {
        p.balance();
        sums_to_zero(p);
    })
    .out("v3", OUT, |p| assert!(![0, 0xffff].contains(&p.right_checksum())));
    t.row("a checksum of all ones stays so where nothing of it changes")
        .rule(STREAM, &["v2 source=keep ttl=9"])
        .sent(IN, Packet::balance)
        .out("v3", IN, |p| {
            (p.source, p.ttl) = (Ipv4Addr::new(192, 0, 2, 7), 9);
            sums_to_zero(p);
        });
    t.row("none stays none where a computed one would be 0")
        .rule(STREAM, &[CHANGED])
        .sent(IN, |p| (p.payload, p.checksum) = (balanced_going_out(p), Checksum::Zero))
        .out("v3", OUT, same);
}

fn sums_to_zero(packet: &mut Packet) {
    assert_eq!(packet.right_checksum(), 0xffff);
}

/// A payload with which the checksum is computed as 0 at `CHANGED`.
fn balanced_going_out(packet: &Packet) -> Vec<u8> {
    let [_, b, c, d] = packet.group.octets();
    let (source, group) = (Ipv4Addr::new(10, 2, 0, 1), Ipv4Addr::new(238, b, c, d));
    let mut out = Packet { source, group, port: 6001, ..packet.clone() };
    out.balance();
    out.payload
}
