//! Senders' addresses that no datagram on a network may come from (RFC 1812, section 5.3.7): dropped, whatever an output makes of them.

use std::net::Ipv4Addr;

use crate::row::{Table, same};

const IN: &str = "239.N.1.1:5001";

pub fn rows(t: &mut Table) {
    let row = t
        .row("martian senders")
        .rule("v1 group=239.N.1.1 port=5001", &["v2", "v4 source=keep ttl=keep", "v2 port=6001 source=192.0.2.99"]);
    for source in [
        [0, 0, 0, 0],
        [0, 255, 255, 255],
        [127, 0, 0, 1],
        [127, 255, 255, 255],
        [224, 0, 0, 5],
        [239, 1, 1, 1],
        [240, 0, 0, 1],
        [255, 255, 255, 254],
        [255, 255, 255, 255],
    ] {
        row.sent(IN, |p| p.source = source.into()).drops("martian_source");
    }
    // Its headers are not looked at any further.
    row.sent(IN, |p| p.source = Ipv4Addr::LOCALHOST).bytes(|frame| frame[24] ^= 0xff).drops("martian_source");
    row.sent(IN, |p| (p.source, p.ttl) = (Ipv4Addr::LOCALHOST, 1)).drops("martian_source");

    let row = t.row("a martian in a VLAN").rule("v1 group=239.N.1.1 port=5001 vlan=100", &["v2"]);
    row.sent(IN, |p| (p.source, p.tag) = (Ipv4Addr::LOCALHOST, Some(super::tags::tag(100)))).drops("martian_source");

    let row = t
        .row("the neighbours of martians, and link-local senders")
        .rule("v1 group=239.N.1.1 port=5001", &["v2", "v4 source=keep"]);
    for source in [[1, 0, 0, 0], [126, 255, 255, 255], [128, 0, 0, 1], [169, 254, 7, 7], [223, 255, 255, 255]] {
        row.sent(IN, |p| p.source = source.into()).out("v3", IN, same).out("v5", IN, |p| p.source = source.into());
    }
    t.row("a martian that no rule takes")
        .rule("v1 group=239.N.1.1 port=5001 source=10.0.0.0/8", &["v2"])
        .sent(IN, |p| p.source = Ipv4Addr::LOCALHOST)
        .passes("pass_no_rule");
}
