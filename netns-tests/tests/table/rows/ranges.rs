//! Ranges of groups, of ports and of sources, matched and translated.

use std::net::Ipv4Addr;

use crate::row::{Table, same};

pub fn rows(table: &mut Table) {
    ports(table);
    groups(table);
    sources(table);
}

fn ports(t: &mut Table) {
    let row = t.row("a port range moves").rule("v1 group=239.N.1.1 port=5001-5050", &["v2 port=6001"]);
    row.sent("239.N.1.1:5001", same).out("v3", "239.N.1.1:6001", same);
    row.sent("239.N.1.1:5010", same).out("v3", "239.N.1.1:6010", same);
    row.sent("239.N.1.1:5050", same).out("v3", "239.N.1.1:6050", same);
    row.sent("239.N.1.1:5000", same).passes("pass_no_rule");
    row.sent("239.N.1.1:5051", same).passes("pass_no_rule");

    let row = t.row("a port range moves down to 1").rule("v1 group=239.N.1.1 port=5001-5050", &["v2 port=1"]);
    row.sent("239.N.1.1:5001", same).out("v3", "239.N.1.1:1", same);
    row.sent("239.N.1.1:5050", same).out("v3", "239.N.1.1:50", same);

    let row = t.row("a port range moves up to 65535").rule("v1 group=239.N.1.1 port=64001-64100", &["v2 port=65436"]);
    row.sent("239.N.1.1:64001", same).out("v3", "239.N.1.1:65436", same);
    row.sent("239.N.1.1:64100", same).out("v3", "239.N.1.1:65535", same);

    let row = t.row("a port range kept").rule("v1 group=239.N.1.1 port=5001-5050", &["v2 group=238.N.1.1"]);
    row.sent("239.N.1.1:5001", same).out("v3", "238.N.1.1:5001", same);
    row.sent("239.N.1.1:5033", same).out("v3", "238.N.1.1:5033", same);

    let row = t.row("every port as a range").rule("v1 group=239.N.1.1 port=1-65535", &["v2"]);
    for target in ["1", "318", "321", "4095", "4096", "8191", "65535"].map(|port| format!("239.N.1.1:{port}")) {
        row.sent(&target, same).out("v3", &target, same);
    }
    row.sent("239.N.1.1:0", same).passes("pass_no_rule");

    let row = t.row("any port kept").rule("v1 group=239.N.1.1", &["v2"]);
    for target in ["0", "1", "5001", "65535"].map(|port| format!("239.N.1.1:{port}")) {
        row.sent(&target, same).out("v3", &target, same);
    }
    let row = t.row("any port to one").rule("v1 group=239.N.1.1", &["v2 port=6001"]);
    for target in ["0", "1", "5001", "65535"].map(|port| format!("239.N.1.1:{port}")) {
        row.sent(&target, same).out("v3", "239.N.1.1:6001", same);
    }
}

fn groups(t: &mut Table) {
    let row = t.row("a group prefix moves").rule("v1 group=239.N.1.0/28 port=5001", &["v2 group=238.N.9.16"]);
    row.sent("239.N.1.0:5001", same).out("v3", "238.N.9.16:5001", same);
    row.sent("239.N.1.5:5001", same).out("v3", "238.N.9.21:5001", same);
    row.sent("239.N.1.15:5001", same).out("v3", "238.N.9.31:5001", same);
    row.sent("239.N.1.16:5001", same).passes("pass_no_rule");
    row.sent("239.N.0.255:5001", same).passes("pass_no_rule");

    let row = t.row("a long group prefix moves").rule("v1 group=239.N.0.0/16 port=5001", &["v2 group=238.N.0.0"]);
    row.sent("239.N.0.0:5001", same).out("v3", "238.N.0.0:5001", same);
    row.sent("239.N.255.254:5001", same).out("v3", "238.N.255.254:5001", same);

    let row = t.row("a group prefix kept").rule("v1 group=239.N.0.0/16 port=5001", &["v2 port=6001"]);
    row.sent("239.N.77.5:5001", same).out("v3", "239.N.77.5:6001", same);

    let row = t
        .row("a group prefix and a port range move")
        .rule("v1 group=239.N.1.0/24 port=5001-5050", &["v2 group=238.N.2.0 port=6001"]);
    row.sent("239.N.1.0:5001", same).out("v3", "238.N.2.0:6001", same);
    row.sent("239.N.1.77:5049", same).out("v3", "238.N.2.77:6049", same);
    row.sent("239.N.1.255:5050", same).out("v3", "238.N.2.255:6050", same);

    let row = t.row("each output moves the ranges to its own").rule(
        "v1 group=239.N.1.0/24 port=5001-5050",
        &["v2 group=238.N.2.0 port=6001", "v4 group=238.N.3.0", "v2 port=7001"],
    );
    row.sent("239.N.1.8:5003", same).out("v3", "238.N.2.8:6003", same).out("v5", "238.N.3.8:5003", same).out(
        "v3",
        "239.N.1.8:7003",
        same,
    );

    let row = t.row("a group prefix and any port to one").rule("v1 group=239.N.1.0/24", &["v2 group=238.N.2.0 port=9"]);
    row.sent("239.N.1.3:5001", same).out("v3", "238.N.2.3:9", same);
}

fn sources(t: &mut Table) {
    let from = |a, b, c, d| move |p: &mut netns_tests::packet::Packet| p.source = Ipv4Addr::new(a, b, c, d);
    let row = t.row("one source").rule("v1 group=239.N.1.1 port=5001 source=10.9.0.5", &["v2"]);
    row.sent("239.N.1.1:5001", from(10, 9, 0, 5)).out("v3", "239.N.1.1:5001", same);
    row.sent("239.N.1.1:5001", from(10, 9, 0, 6)).passes("pass_no_rule");

    let row = t.row("a source prefix").rule("v1 group=239.N.1.1 port=5001 source=10.9.0.0/16", &["v2 source=keep"]);
    row.sent("239.N.1.1:5001", from(10, 9, 0, 1)).out("v3", "239.N.1.1:5001", from(10, 9, 0, 1));
    row.sent("239.N.1.1:5001", from(10, 9, 255, 254)).out("v3", "239.N.1.1:5001", from(10, 9, 255, 254));
    row.sent("239.N.1.1:5001", from(10, 8, 255, 255)).passes("pass_no_rule");
    row.sent("239.N.1.1:5001", from(10, 10, 0, 0)).passes("pass_no_rule");

    let row = t.row("half of all sources").rule("v1 group=239.N.1.1 port=5001 source=128.0.0.0/1", &["v2"]);
    row.sent("239.N.1.1:5001", from(192, 0, 2, 7)).out("v3", "239.N.1.1:5001", same);
    row.sent("239.N.1.1:5001", from(127, 255, 255, 255)).passes("pass_no_rule");
}
