//! Of several rules that take a packet the most specific one has it: outputs tell which it was by their port.

use std::net::Ipv4Addr;

use netns_tests::packet::Packet;

use crate::row::{Table, same};

const IN: &str = "239.N.1.1:5001";

fn from(a: u8, b: u8, c: u8, d: u8) -> impl Fn(&mut Packet) {
    move |p| p.source = Ipv4Addr::new(a, b, c, d)
}

pub fn rows(t: &mut Table) {
    sources_and_groups(t);
    ports(t);

    let row = t
        .row("tags are apart: each has a rule of its own")
        .rule("v1 group=239.N.1.1 port=5001", &["v2 port=1001"])
        .rule("v1 group=239.N.1.1 port=5001 vlan=7", &["v2 port=1002"])
        .rule("v1 group=239.N.0.0/16 vlan=8", &["v2 port=1003"]);
    row.sent(IN, same).out("v3", "239.N.1.1:1001", same);
    row.sent(IN, |p| p.tag = Some(super::tags::tag(7))).out("v3", "239.N.1.1:1002", same);
    row.sent(IN, |p| p.tag = Some(super::tags::tag(8))).out("v3", "239.N.1.1:1003", same);
    row.sent(IN, |p| p.tag = Some(super::tags::tag(9))).passes("pass_vlan");
}

fn sources_and_groups(t: &mut Table) {
    let row = t
        .row("(S,G) beats (*,G)")
        .rule("v1 group=239.N.1.1 port=5001", &["v2 port=1001"])
        .rule("v1 group=239.N.1.1 port=5001 source=10.9.0.5", &["v2 port=1002"]);
    row.sent(IN, from(10, 9, 0, 5)).out("v3", "239.N.1.1:1002", same);
    row.sent(IN, from(10, 9, 0, 6)).out("v3", "239.N.1.1:1001", same);

    let row = t
        .row("the longer source prefix beats the shorter")
        .rule("v1 group=239.N.1.1 port=5001 source=10.0.0.0/8", &["v2 port=1001"])
        .rule("v1 group=239.N.1.1 port=5001 source=10.9.0.0/24", &["v2 port=1002"]);
    row.sent(IN, from(10, 9, 0, 5)).out("v3", "239.N.1.1:1002", same);
    row.sent(IN, from(10, 9, 1, 5)).out("v3", "239.N.1.1:1001", same);

    let row = t
        .row("a longer source beats a longer group and an exact port")
        .rule("v1 group=239.N.1.1 port=5001 source=10.9.0.0/16", &["v2 port=1001"])
        .rule("v1 group=239.N.0.0/16 source=10.9.0.0/24", &["v2 port=1002"]);
    row.sent(IN, from(10, 9, 0, 5)).out("v3", "239.N.1.1:1002", same);
    row.sent(IN, from(10, 9, 1, 5)).out("v3", "239.N.1.1:1001", same);

    let row = t
        .row("a longer group beats an exact port")
        .rule("v1 group=239.N.0.0/16 port=5001", &["v2 port=1001"])
        .rule("v1 group=239.N.1.0/24", &["v2 port=1002"]);
    row.sent(IN, same).out("v3", "239.N.1.1:1002", same);
    row.sent("239.N.2.1:5001", same).out("v3", "239.N.2.1:1001", same);
    row.sent("239.N.2.1:5002", same).passes("pass_no_rule");

    let row = t
        .row("group prefixes in one another")
        .rule("v1 group=239.N.0.0/16", &["v2 port=1001"])
        .rule("v1 group=239.N.1.0/24", &["v2 port=1002"])
        .rule("v1 group=239.N.1.0/31", &["v2 port=1003"])
        .rule("v1 group=239.N.1.1", &["v2 port=1004"]);
    row.sent("239.N.1.1:5001", same).out("v3", "239.N.1.1:1004", same);
    row.sent("239.N.1.0:5001", same).out("v3", "239.N.1.0:1003", same);
    row.sent("239.N.1.2:5001", same).out("v3", "239.N.1.2:1002", same);
    row.sent("239.N.2.1:5001", same).out("v3", "239.N.2.1:1001", same);
}

fn ports(t: &mut Table) {
    let row = t
        .row("an exact port beats a range, a range any port")
        .rule("v1 group=239.N.1.1", &["v2 port=1001"])
        .rule("v1 group=239.N.1.1 port=5000-5010", &["v2 group=238.N.1.1"])
        .rule("v1 group=239.N.1.1 port=5001", &["v2 port=1003"]);
    row.sent("239.N.1.1:5001", same).out("v3", "239.N.1.1:1003", same);
    row.sent("239.N.1.1:5002", same).out("v3", "238.N.1.1:5002", same);
    row.sent("239.N.1.1:5011", same).out("v3", "239.N.1.1:1001", same);

    // 5008 to 5023 is all of a block of 16 that the wider range holds too: both want the same entry of the map.
    let row = t
        .row("the narrower of ranges in one another")
        .rule("v1 group=239.N.1.1 port=1-60000", &["v2 group=238.N.1.1"])
        .rule("v1 group=239.N.1.1 port=4096-8191", &["v2 group=238.N.2.1"])
        .rule("v1 group=239.N.1.1 port=5000-5100", &["v2 group=238.N.3.1"])
        .rule("v1 group=239.N.1.1 port=5008-5023", &["v2 group=238.N.4.1"]);
    for (port, group) in [
        (4_095, 1),
        (4_096, 2),
        (4_999, 2),
        (5_000, 3),
        (5_007, 3),
        (5_008, 4),
        (5_016, 4),
        (5_023, 4),
        (5_024, 3),
        (5_100, 3),
        (5_101, 2),
        (8_191, 2),
        (8_192, 1),
        (60_000, 1),
    ] {
        row.sent(&format!("239.N.1.1:{port}"), same).out("v3", &format!("238.N.{group}.1:{port}"), same);
    }
    row.sent("239.N.1.1:60001", same).passes("pass_no_rule");

    let row = t
        .row("the narrower range starts, or ends, where the wider does")
        .rule("v1 group=239.N.1.1 port=5000-5100", &["v2 group=238.N.1.1"])
        .rule("v1 group=239.N.1.1 port=5000-5001", &["v2 group=238.N.2.1"])
        .rule("v1 group=239.N.1.1 port=5099-5100", &["v2 group=238.N.3.1"]);
    for (port, group) in [(5_000, 2), (5_001, 2), (5_002, 1), (5_098, 1), (5_099, 3), (5_100, 3)] {
        row.sent(&format!("239.N.1.1:{port}"), same).out("v3", &format!("238.N.{group}.1:{port}"), same);
    }
}
