//! How many outputs a rule has, and on which interfaces.

use std::net::Ipv4Addr;

use crate::row::{Table, same};

const IN: &str = "239.N.1.1:5001";
const STREAM: &str = "v1 group=239.N.1.1 port=5001";

pub fn rows(table: &mut Table) {
    many(table);
    interfaces(table);
    some_drop(table);
}

fn many(t: &mut Table) {
    t.row("two outputs on one interface")
        .rule(STREAM, &["v2 group=238.N.1.1", "v2 group=238.N.1.2 port=6001"])
        .sent(IN, same)
        .out("v3", "238.N.1.1:5001", same)
        .out("v3", "238.N.1.2:6001", same);
    t.row("the same output twice").rule(STREAM, &["v2", "v2"]).sent(IN, same).out("v3", IN, same).out("v3", IN, same);
    t.row("an output on each interface")
        .rule(STREAM, &["v2", "v4", "v6", "v8 source=keep", "v1 group=238.N.1.1", "w1"])
        .sent(IN, same)
        .out("v3", IN, same)
        .out("v5", IN, same)
        .out("v7", IN, same)
        .out("v9", IN, |p| p.source = Ipv4Addr::new(192, 0, 2, 7))
        .out("v0", "238.N.1.1:5001", same)
        .out("w0", IN, same);
    for (name, n, ends) in [
        ("8 outputs over two interfaces", 8, vec![("v2", "v3"), ("v4", "v5")]),
        ("64 outputs on one interface", 64, vec![("v4", "v5")]),
        ("64 outputs over three interfaces", 64, vec![("v2", "v3"), ("v4", "v5"), ("v6", "v7")]),
    ] {
        let ends: Vec<_> = ends.into_iter().cycle().take(n).enumerate().map(|(i, ends)| (i + 1, ends)).collect();
        // Each is different, so that none can stand for another.
        let outputs: Vec<String> =
            ends.iter().map(|(i, (near, _))| format!("{near} group=238.N.2.{i} ttl={i}")).collect();
        let row = t.row(name).rule(STREAM, &outputs.iter().map(String::as_str).collect::<Vec<_>>()).sent(IN, same);
        for (i, (_, far)) in ends {
            row.out(far, &format!("238.N.2.{i}:5001"), |p| p.ttl = i as u8);
        }
    }
    t.row("every change at one output, and the next sees none of it")
        .rule(
            STREAM,
            &[
                "v2 group=238.N.1.1 port=6001 source=203.0.113.5 ttl=99 dscp=10 vlan=77",
                "v4",
                "v2 ttl=keep source=keep",
            ],
        )
        .sent(IN, |p| (p.dscp, p.options) = (46, vec![1; 4]))
        .out("v3", "238.N.1.1:6001", |p| {
            (p.source, p.ttl, p.dscp) = (Ipv4Addr::new(203, 0, 113, 5), 99, 10);
            p.tag = Some(super::tags::tag(77));
        })
        .out("v5", IN, same)
        .out("v3", IN, |p| (p.source, p.ttl) = (Ipv4Addr::new(192, 0, 2, 7), 16));
}

fn interfaces(t: &mut Table) {
    t.row("back out where it came in, to another group").rule(STREAM, &["v1 group=238.N.1.1"]).sent(IN, same).out(
        "v0",
        "238.N.1.1:5001",
        same,
    );
    t.row("in where others go out, and the other way")
        .rule("v2 group=239.N.1.1 port=5001", &["v4", "v1"])
        .rule("v1 group=239.N.1.1 port=5001", &["v2 port=6001"])
        .sent_on("v3", IN, same)
        .out("v5", IN, same)
        .out("v0", IN, same)
        .sent(IN, same)
        .out("v3", "239.N.1.1:6001", same);
    t.row("two interfaces for one group: each has its rule")
        .rule("v1 group=239.N.1.1 port=5001", &["v2 port=1001"])
        .rule("w1 group=239.N.1.1 port=5001", &["v4 port=1002"])
        .sent(IN, same)
        .out("v3", "239.N.1.1:1001", same)
        .sent_on("w0", IN, same)
        .out("v5", "239.N.1.1:1002", same);
    t.row("a rule of one interface takes nothing on another")
        .rule("v1 group=239.N.1.1 port=5001", &["v2"])
        .rule("w1 group=239.N.2.2 port=5001", &["v2"])
        .sent_on("w0", IN, same)
        .passes("pass_no_rule")
        .sent("239.N.2.2:5001", same)
        .passes("pass_no_rule");
    t.row("an interface without an address, the source kept").rule(STREAM, &["v8 source=keep"]).sent(IN, same).out(
        "v9",
        IN,
        |p| p.source = Ipv4Addr::new(192, 0, 2, 7),
    );
    t.row("an interface without an address, the source given")
        .rule(STREAM, &["v8 source=203.0.113.5 vlan=12"])
        .sent(IN, same)
        .out("v9", IN, |p| (p.source, p.tag) = (Ipv4Addr::new(203, 0, 113, 5), Some(super::tags::tag(12))));
    t.row("a rule that waits for an address takes nothing").rule(STREAM, &["v8"]).sent(IN, same).passes("pass_no_rule");
    t.row("an output that waits for an address costs the other nothing")
        .rule(STREAM, &["v2", "v8"])
        .sent(IN, same)
        .out("v3", IN, same)
        .drops("no_source");
}

fn some_drop(t: &mut Table) {
    t.row("the first output drops, the last sends")
        .rule(STREAM, &["v2", "v4 ttl=9"])
        .sent(IN, |p| p.ttl = 1)
        .drops("ttl_expired")
        .out("v5", IN, |p| p.ttl = 9);
    t.row("the last output drops, the first sends")
        .rule(STREAM, &["v4 ttl=9", "v2"])
        .sent(IN, |p| p.ttl = 1)
        .drops("ttl_expired")
        .out("v5", IN, |p| p.ttl = 9);
    t.row("every output drops")
        .rule(STREAM, &["v2", "v4", "v2 port=6001"])
        .sent(IN, |p| p.ttl = 1)
        .drops("ttl_expired")
        .drops("ttl_expired")
        .drops("ttl_expired");
    t.row("one is too small, one expires, two send")
        .rule(STREAM, &["v6 port=1001", "v2 port=1002 ttl=5", "v2 port=1003", "v4 port=1004 ttl=5"])
        .sent(IN, |p| (p.ttl, p.payload) = (1, vec![7; 1000]))
        .drops("ttl_expired")
        .drops("ttl_expired")
        .out("v3", "239.N.1.1:1002", |p| p.ttl = 5)
        .out("v5", "239.N.1.1:1004", |p| p.ttl = 5);
    t.row("too large for one output, not for the others")
        .rule(STREAM, &["v2", "v6", "v4"])
        .sent(IN, |p| p.payload = vec![7; 1000])
        .out("v3", IN, same)
        .drops("too_big")
        .out("v5", IN, same);
}
