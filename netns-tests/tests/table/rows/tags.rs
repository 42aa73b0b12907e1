//! 802.1Q tags: matched, popped, kept, changed and pushed.

use netns_tests::packet::Tag;

use crate::row::{Table, same};

const IN: &str = "239.N.1.1:5001";
const UNTAGGED: &str = "v1 group=239.N.1.1 port=5001";
const TAGGED: &str = "v1 group=239.N.1.1 port=5001 vlan=100";

/// A tag of no priority.
pub fn tag(id: u16) -> Tag {
    Tag { priority: 0, drop_eligible: false, id }
}

/// A tag whose other bits are set.
fn marked(id: u16) -> Tag {
    Tag { priority: 5, drop_eligible: true, id }
}

pub fn rows(t: &mut Table) {
    priority_tags(t);
    double_priority_tags(t);
    t.row("a tag popped").rule(TAGGED, &["v2"]).sent(IN, |p| p.tag = Some(marked(100))).out("v3", IN, same);
    t.row("a tag popped, in words")
        .rule(TAGGED, &["v2 group=238.N.1.1 vlan=none"])
        .sent(IN, |p| p.tag = Some(tag(100)))
        .out("v3", "238.N.1.1:5001", same);
    t.row("a tag kept, with its priority").rule(TAGGED, &["v2 vlan=keep"]).sent(IN, |p| p.tag = Some(marked(100))).out(
        "v3",
        IN,
        |p| p.tag = Some(marked(100)),
    );
    t.row("a tag changed, its priority kept")
        .rule(TAGGED, &["v2 vlan=200"])
        .sent(IN, |p| p.tag = Some(marked(100)))
        .out("v3", IN, |p| p.tag = Some(marked(200)));
    t.row("a tag pushed").rule(UNTAGGED, &["v2 group=238.N.1.1 port=6001 vlan=200"]).sent(IN, same).out(
        "v3",
        "238.N.1.1:6001",
        |p| p.tag = Some(tag(200)),
    );
    t.row("no tag kept is no tag").rule(UNTAGGED, &["v2 vlan=keep"]).sent(IN, same).out("v3", IN, same);
    t.row("the highest VLAN ID changed to the lowest")
        .rule("v1 group=239.N.1.1 port=5001 vlan=4094", &["v2 vlan=1"])
        .sent(IN, |p| p.tag = Some(marked(4094)))
        .out("v3", IN, |p| p.tag = Some(marked(1)));
    t.row("one rule, every way with a tag")
        .rule(TAGGED, &["v2 port=1001 vlan=keep", "v4 port=1002", "v2 port=1003 vlan=300", "v4 port=1004 vlan=keep"])
        .sent(IN, |p| p.tag = Some(marked(100)))
        .out("v3", "239.N.1.1:1001", |p| p.tag = Some(marked(100)))
        .out("v5", "239.N.1.1:1002", same)
        .out("v3", "239.N.1.1:1003", |p| p.tag = Some(marked(300)))
        .out("v5", "239.N.1.1:1004", |p| p.tag = Some(marked(100)));
    t.row("one rule, pushed at some outputs")
        .rule(UNTAGGED, &["v2 port=1001 vlan=300", "v4 port=1002", "v2 port=1003", "v4 port=1004 vlan=4094"])
        .sent(IN, |p| p.options = vec![1; 8])
        .out("v3", "239.N.1.1:1001", |p| p.tag = Some(tag(300)))
        .out("v5", "239.N.1.1:1002", same)
        .out("v3", "239.N.1.1:1003", same)
        .out("v5", "239.N.1.1:1004", |p| p.tag = Some(tag(4094)));

    t.row("untagged, and the rule has a tag").rule(TAGGED, &["v2"]).sent(IN, same).passes("pass_vlan");
    t.row("another tag than the rule's").rule(TAGGED, &["v2"]).sent(IN, |p| p.tag = Some(tag(101))).passes("pass_vlan");
    let row = t.row("tagged, and the rule has none").rule(UNTAGGED, &["v2"]);
    for id in [1, 100, 4095] {
        row.sent(IN, |p| p.tag = Some(marked(id))).passes("pass_vlan");
    }
    t.row("the rule's tag, another port")
        .rule(TAGGED, &["v2"])
        .sent("239.N.1.1:5002", |p| p.tag = Some(tag(100)))
        .passes("pass_no_rule");
    let row = t.row("two tags").rule(TAGGED, &["v2"]).rule(UNTAGGED, &["v2 port=6001"]);
    row.sent(IN, |p| p.tag = Some(tag(100)))
        .bytes(|frame| drop(frame.splice(12..12, [0x81, 0x00, 0x00, 0x64])))
        .passes("pass_no_rule");
    t.row("a service provider's tag")
        .rule(TAGGED, &["v2"])
        .sent(IN, |p| p.tag = Some(tag(100)))
        .bytes(|frame| frame[12..14].copy_from_slice(&[0x88, 0xa8]))
        .passes("pass_no_rule");
}

/// VLAN ID 0: a frame with a priority, and in no VLAN.
fn priority_tags(t: &mut Table) {
    let zero = "v1 group=239.N.1.1 port=5001 vlan=0";
    for (name, rule) in [("a priority tag is untagged", UNTAGGED), ("VLAN 0 is none", zero)] {
        t.row(name)
            .rule(rule, &["v2 port=1001", "v4 port=1002 vlan=keep", "v2 port=1003 vlan=300"])
            .sent(IN, |p| p.tag = Some(marked(0)))
            .out("v3", "239.N.1.1:1001", same)
            .out("v5", "239.N.1.1:1002", |p| p.tag = Some(marked(0)))
            .out("v3", "239.N.1.1:1003", |p| p.tag = Some(marked(300)))
            .sent(IN, same)
            .out("v3", "239.N.1.1:1001", same)
            .out("v5", "239.N.1.1:1002", same)
            .out("v3", "239.N.1.1:1003", |p| p.tag = Some(tag(300)));
    }
    t.row("a priority tag without a priority")
        .rule(UNTAGGED, &["v2"])
        .sent(IN, |p| (p.tag, p.options) = (Some(tag(0)), vec![1; 8]))
        .out("v3", IN, same);
    t.row("a priority tag, and the rule has a tag")
        .rule(TAGGED, &["v2"])
        .sent(IN, |p| p.tag = Some(marked(0)))
        .passes("pass_vlan");
    t.row("a provider's priority tag")
        .rule(UNTAGGED, &["v2"])
        .sent(IN, |p| p.tag = Some(marked(0)))
        .bytes(|frame| frame[12..14].copy_from_slice(&[0x88, 0xa8]))
        .out("v3", IN, same);
}

/// A priority tag before the tag that says the VLAN.
fn double_priority_tags(t: &mut Table) {
    let before = |frame: &mut Vec<u8>| drop(frame.splice(12..12, [0x81, 0x00, 0x60, 0x00]));
    t.row("a priority tag before the rule's")
        .rule(TAGGED, &["v2 port=1001", "v4 port=1002 vlan=keep", "v2 port=1003 vlan=300"])
        .sent(IN, |p| p.tag = Some(marked(100)))
        .bytes(before)
        .out("v3", "239.N.1.1:1001", same)
        .out("v5", "239.N.1.1:1002", |p| p.tag = Some(marked(100)))
        .out_bytes(before)
        .out("v3", "239.N.1.1:1003", |p| p.tag = Some(marked(300)));
    t.row("a priority tag before another than the rule's")
        .rule(TAGGED, &["v2"])
        .sent(IN, |p| p.tag = Some(marked(101)))
        .bytes(before)
        .passes("pass_vlan");
    t.row("two priority tags")
        .rule(UNTAGGED, &["v2"])
        .sent(IN, |p| p.tag = Some(marked(0)))
        .bytes(before)
        .out("v3", IN, same);
}
