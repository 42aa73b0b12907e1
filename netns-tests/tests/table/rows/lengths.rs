//! Lengths: payloads, what stands behind the datagram and behind the packet, and the MTU.

use crate::row::{SMALL_MTU, Table, same};

const IN: &str = "239.N.1.1:5001";
const OUT: &str = "238.N.1.1:6001";
const STREAM: &str = "v1 group=239.N.1.1 port=5001";
const CHANGED: &str = "v2 group=238.N.1.1 port=6001";

/// Bytes of an IPv4 header and a UDP header.
const HEADERS: usize = 28;

pub fn rows(table: &mut Table) {
    payloads(table);
    behind(table);
    mtu(table);
}

fn payloads(t: &mut Table) {
    for (name, lengths) in [
        ("no payload", vec![0]),
        ("a payload of one byte", vec![1]),
        ("short payloads, odd and even", vec![2, 3, 17, 18, 19]),
        ("long payloads, odd and even", vec![1001, 1316, 1470, 1471]),
        ("the largest payload", vec![1472]),
    ] {
        let row = t.row(name).rule(STREAM, &[CHANGED]);
        for length in lengths {
            row.sent(IN, |p| p.payload = (0..length).map(|i| (i * 7 + 3) as u8).collect()).out("v3", OUT, same);
        }
    }
}

fn behind(t: &mut Table) {
    let row = t.row("Ethernet padding is not forwarded").rule(STREAM, &[CHANGED]);
    for payload in [0, 1, 5, 17] {
        row.sent(IN, |p| p.payload = vec![9; payload]).bytes(|frame| frame.resize(60, 0)).out("v3", OUT, same);
    }
    t.row("nor is padding that is not zero")
        .rule(STREAM, &[CHANGED])
        .sent(IN, |p| p.payload = vec![9; 5])
        .bytes(|frame| frame.resize(64, 0xee))
        .out("v3", OUT, same);
    t.row("nor are bytes behind a long packet")
        .rule(STREAM, &[CHANGED])
        .sent(IN, |p| p.payload = vec![9; 701])
        .bytes(|frame| frame.extend([0xaa; 13]))
        .out("v3", OUT, same);
    t.row("nor is padding where a tag is popped, or pushed")
        .rule("v1 group=239.N.1.1 port=5001 vlan=100", &[CHANGED, "v4 vlan=200"])
        .sent(IN, |p| (p.payload, p.tag) = (vec![9; 3], Some(super::tags::tag(100))))
        .bytes(|frame| frame.resize(64, 0xee))
        .out("v3", OUT, same)
        .out("v5", IN, |p| p.tag = Some(super::tags::tag(200)));
    t.row("nor is padding where a tag is pushed")
        .rule(STREAM, &["v2 vlan=200"])
        .sent(IN, |p| p.payload = vec![9; 3])
        .bytes(|frame| frame.resize(60, 0xee))
        .out("v3", IN, |p| p.tag = Some(super::tags::tag(200)));
    let row = t.row("bytes of the packet behind its datagram stay").rule(STREAM, &[CHANGED]);
    for (payload, behind) in [(32, vec![1]), (33, vec![1, 2, 3]), (0, vec![0xff; 100])] {
        row.sent(IN, |p| (p.payload, p.behind) = (vec![9; payload], behind)).out("v3", OUT, same);
    }
}

fn mtu(t: &mut Table) {
    let fits = SMALL_MTU - HEADERS;
    t.row("an MTU's last byte").rule(STREAM, &["v6"]).sent(IN, |p| p.payload = vec![5; fits]).out("v7", IN, same);
    t.row("one byte more").rule(STREAM, &["v6"]).sent(IN, |p| p.payload = vec![5; fits + 1]).drops("too_big");
    t.row("IP options count")
        .rule(STREAM, &["v6"])
        .sent(IN, |p| (p.payload, p.options) = (vec![5; fits - 8], vec![1; 8]))
        .out("v7", IN, same)
        .sent(IN, |p| (p.payload, p.options) = (vec![5; fits - 7], vec![1; 8]))
        .drops("too_big");
    t.row("bytes behind the datagram count")
        .rule(STREAM, &["v6"])
        .sent(IN, |p| (p.payload, p.behind) = (vec![5; fits - 3], vec![6; 3]))
        .out("v7", IN, same)
        .sent(IN, |p| (p.payload, p.behind) = (vec![5; fits - 3], vec![6; 4]))
        .drops("too_big");
    t.row("a pushed tag does not count")
        .rule(STREAM, &["v6 vlan=200"])
        .sent(IN, |p| p.payload = vec![5; fits])
        .out("v7", IN, |p| p.tag = Some(super::tags::tag(200)))
        .sent(IN, |p| p.payload = vec![5; fits + 1])
        .drops("too_big");
    t.row("a tag that came along does not count")
        .rule("v1 group=239.N.1.1 port=5001 vlan=100", &["v6", "v6 vlan=keep"])
        .sent(IN, |p| (p.payload, p.tag) = (vec![5; fits], Some(super::tags::tag(100))))
        .out("v7", IN, same)
        .out("v7", IN, |p| p.tag = Some(super::tags::tag(100)));
    t.row("bytes behind the packet do not count")
        .rule(STREAM, &["v6"])
        .sent(IN, |p| p.payload = vec![5; fits])
        .bytes(|frame| frame.extend([0; 50]))
        .out("v7", IN, same);
    t.row("DF changes nothing: what is too large is never cut")
        .rule(STREAM, &["v6"])
        .sent(IN, |p| (p.payload, p.dont_fragment) = (vec![5; 1000], true))
        .drops("too_big")
        .sent(IN, |p| (p.payload, p.dont_fragment) = (vec![5; 1000], false))
        .drops("too_big");
    t.row("the largest payload with a pushed tag")
        .rule(STREAM, &["v2 vlan=200"])
        .sent(IN, |p| p.payload = vec![5; 1472])
        .out("v3", IN, |p| p.tag = Some(super::tags::tag(200)));
}
