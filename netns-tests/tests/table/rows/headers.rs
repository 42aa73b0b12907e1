//! What an output changes in the headers, and what it keeps.

use std::net::Ipv4Addr;

use netns_tests::packet::Packet;

use crate::row::{Table, same};

/// The match that most rows use.
const STREAM: &str = "v1 group=239.N.1.1 port=5001";
const IN: &str = "239.N.1.1:5001";
const OUT: &str = "238.N.1.1:6001";

pub fn rows(table: &mut Table) {
    addresses(table);
    ttl(table);
    kept(table);
}

fn addresses(t: &mut Table) {
    t.row("what a router changes, alone").rule(STREAM, &["v2"]).sent(IN, same).out("v3", IN, same);
    t.row("group").rule(STREAM, &["v2 group=238.N.1.1"]).sent(IN, same).out("v3", "238.N.1.1:5001", same);
    t.row("port").rule(STREAM, &["v2 port=6001"]).sent(IN, same).out("v3", "239.N.1.1:6001", same);
    t.row("group and port").rule(STREAM, &["v2 group=238.N.1.1 port=6001"]).sent(IN, same).out("v3", OUT, same);
    t.row("source: the interface's, in words").rule(STREAM, &["v2 source=interface"]).sent(IN, same).out(
        "v3",
        IN,
        |p| p.source = Ipv4Addr::new(10, 2, 0, 1),
    );
    t.row("source: kept")
        .rule(STREAM, &["v2 source=keep"])
        .sent(IN, |p| p.source = Ipv4Addr::new(198, 51, 100, 9))
        .out("v3", IN, |p| p.source = Ipv4Addr::new(198, 51, 100, 9));
    t.row("source: an address")
        .rule(STREAM, &["v2 source=203.0.113.5"])
        .sent(IN, same)
        .out("v3", IN, |p| p.source = Ipv4Addr::new(203, 0, 113, 5));
    t.row("group, port and source")
        .rule(STREAM, &["v2 group=238.N.1.1 port=6001 source=203.0.113.5"])
        .sent(IN, same)
        .out("v3", OUT, |p| p.source = Ipv4Addr::new(203, 0, 113, 5));
    t.row("all that can be, at once")
        .rule(STREAM, &["v2 group=238.N.1.1 port=6001 source=203.0.113.5 ttl=99 dscp=10 vlan=77"])
        .sent(IN, |p| (p.dscp, p.ecn) = (46, 1))
        .out("v3", OUT, |p| {
            (p.source, p.ttl, p.dscp) = (Ipv4Addr::new(203, 0, 113, 5), 99, 10);
            p.tag = Some(super::tags::tag(77));
        });
    t.row("nothing but the MACs")
        .rule(STREAM, &["v2 source=keep ttl=keep"])
        .sent(IN, same)
        .out("v3", IN, |p| (p.source, p.ttl) = (Ipv4Addr::new(192, 0, 2, 7), 16));
    t.row("the group's MAC has 23 of its bits").rule(STREAM, &["v2 group=238.200.N.1"]).sent(IN, same).out(
        "v3",
        "238.200.N.1:5001",
        |p| assert_eq!(p.to_mac[..4], [0x01, 0x00, 0x5e, 72]),
    );
    t.row("the highest group and ports")
        .rule("v1 group=239.N.255.255 port=65535", &["v2 group=239.255.255.N port=65535"])
        .sent("239.N.255.255:65535", same)
        .out("v3", "239.255.255.N:65535", same);
    t.row("the lowest group and ports")
        .rule("v1 group=224.0.1.N port=1", &["v2 group=224.0.2.N port=1"])
        .sent("224.0.1.N:1", same)
        .out("v3", "224.0.2.N:1", same);
}

fn ttl(t: &mut Table) {
    let mut row = |name, output, came: u8, goes: Option<u8>| {
        let row = t.row(name).rule(STREAM, &[output]).sent(IN, |p| p.ttl = came);
        match goes {
            Some(ttl) => row.out("v3", IN, |p| p.ttl = ttl),
            None => row.drops("ttl_expired"),
        };
    };
    row("TTL 255 less one", "v2", 255, Some(254));
    row("TTL less one, in words", "v2 ttl=decrement", 64, Some(63));
    row("TTL 2: the last router but one", "v2", 2, Some(1));
    row("TTL 1 expires", "v2", 1, None);
    row("TTL 0 has expired", "v2", 0, None);
    row("TTL kept", "v2 ttl=keep", 33, Some(33));
    row("TTL 1 kept", "v2 ttl=keep", 1, Some(1));
    row("TTL 0 kept is expired", "v2 ttl=keep", 0, None);
    row("TTL set, higher", "v2 ttl=64", 16, Some(64));
    row("TTL set, lower", "v2 ttl=1", 16, Some(1));
    row("TTL set on an expiring packet", "v2 ttl=255", 1, Some(255));
    row("TTL set on an expired packet", "v2 ttl=7", 0, Some(7));
}

fn kept(t: &mut Table) {
    t.row("DSCP kept, and ECN").rule(STREAM, &["v2"]).sent(IN, |p| (p.dscp, p.ecn) = (46, 2)).out("v3", IN, same);
    t.row("DSCP set, ECN kept").rule(STREAM, &["v2 dscp=34"]).sent(IN, |p| (p.dscp, p.ecn) = (46, 3)).out(
        "v3",
        IN,
        |p| (p.dscp, p.ecn) = (34, 3),
    );
    t.row("DSCP set to 0, ECN kept").rule(STREAM, &["v2 dscp=0"]).sent(IN, |p| (p.dscp, p.ecn) = (63, 1)).out(
        "v3",
        IN,
        |p| (p.dscp, p.ecn) = (0, 1),
    );
    t.row("DSCP set to 63 where there was none")
        .rule(STREAM, &["v2 dscp=63"])
        .sent(IN, same)
        .out("v3", IN, |p| p.dscp = 63);
    t.row("DF kept").rule(STREAM, &["v2 group=238.N.1.1"]).sent(IN, |p| p.dont_fragment = true).out(
        "v3",
        "238.N.1.1:5001",
        same,
    );
    let stream = t.row("source ports kept, 0 too").rule(STREAM, &["v2 port=6001"]);
    for port in [0, 1, 319, 65_535] {
        stream.sent(IN, |p| p.source_port = port).out("v3", "239.N.1.1:6001", same);
    }
    for (name, bytes) in [
        ("IP options of one word kept", vec![1, 1, 1, 0]),
        ("IP options of five words kept", [vec![0x94, 4, 0, 0], vec![1; 16]].concat()),
        ("IP options of ten words kept", (0..40).map(|at| if at < 39 { 1 } else { 0 }).collect()),
    ] {
        t.row(name).rule(STREAM, &["v2 group=238.N.1.1 port=6001 ttl=9"]).sent(IN, |p| p.options = bytes).out(
            "v3",
            OUT,
            |p| p.ttl = 9,
        );
    }
    t.row("an IPv4 header checksum that becomes 0")
        .rule(STREAM, &["v2 source=keep"])
        .sent(IN, |p| p.source = source_for_checksum_0(p))
        .out("v3", IN, |p| {
            p.source = source_for_checksum_0(&Packet { ttl: p.ttl + 1, ..p.clone() });
            assert_eq!(p.ip().header_checksum, 0);
        });
}

/// The source with which the header's checksum is 0 once the TTL is one less.
fn source_for_checksum_0(packet: &Packet) -> Ipv4Addr {
    let with = |low: u16| Packet { source: Ipv4Addr::from(0xc633_0000 | u32::from(low)), ..packet.clone() };
    let goes = |packet: &Packet| Packet { ttl: packet.ttl - 1, ..packet.clone() }.ip().header_checksum;
    (0..=u16::MAX).map(with).find(|packet| goes(packet) == 0).expect("a word balances any sum").source
}
