//! What stays with the host, untouched, beside rules that are near.

use std::net::Ipv4Addr;

use etherparse::{
    ArpHardwareId, ArpOperation, ArpPacket, EtherType, Ethernet2Header, IpHeaders, IpNumber, PacketBuilder,
};
use netns_tests::packet::Packet;

use crate::row::{Table, same};

const IN: &str = "239.N.1.1:5001";
const STREAM: &str = "v1 group=239.N.1.1 port=5001";

/// Offset of the flags and the fragment offset in an untagged frame.
const FRAGMENT: usize = 20;

pub fn rows(table: &mut Table) {
    near(table);
    fragments(table);
    never_forwarded(table);
    other_protocols(table);
    addresses(table);
}

fn near(t: &mut Table) {
    let row = t.row("no rule: another port, another group").rule(STREAM, &["v2"]);
    for target in ["239.N.1.1:5000", "239.N.1.1:5002", "239.N.1.2:5001", "239.N.1.0:5001", "238.N.1.1:5001"] {
        row.sent(target, same).passes("pass_no_rule");
    }
    t.row("no rule at all").sent(IN, same).passes("pass_no_rule");
    t.row("no rule for what is damaged either")
        .rule(STREAM, &["v2"])
        .sent("239.N.1.2:5001", same)
        .bytes(|frame| frame[24] ^= 0xff)
        .passes("pass_no_rule");
}

fn fragments(t: &mut Table) {
    let row = t.row("fragments: first, middle, last").rule("v1 group=239.N.1.1", &["v2"]);
    for bits in [0x2000u16, 0x2010, 0x0010] {
        row.sent(IN, same).bytes(|frame| fragment(frame, bits)).passes("pass_fragment");
    }
    row.sent(IN, same).out("v3", IN, same);
    t.row("a fragment of no rule's group")
        .rule(STREAM, &["v2"])
        .sent("239.N.1.2:5001", same)
        .bytes(|frame| fragment(frame, 0x2000))
        .passes("pass_no_rule");
    t.row("a fragment under another tag")
        .rule("v1 group=239.N.1.1 port=5001 vlan=100", &["v2"])
        .sent(IN, same)
        .bytes(|frame| fragment(frame, 0x2000))
        .passes("pass_vlan");
}

/// Makes the packet a fragment, its header checksum right.
fn fragment(frame: &mut [u8], bits: u16) {
    frame[FRAGMENT..FRAGMENT + 2].copy_from_slice(&bits.to_be_bytes());
    frame[24..26].fill(0);
    let sum = etherparse::checksum::Sum16BitWords::new().add_slice(&frame[14..34]).ones_complement();
    frame[24..26].copy_from_slice(&sum.to_ne_bytes());
}

fn never_forwarded(t: &mut Table) {
    let row = t
        .row("PTP, under any port and under a range")
        .rule("v1 group=239.N.1.1", &["v2"])
        .rule("v1 group=239.N.2.2 port=300-330", &["v2"]);
    for target in ["239.N.1.1:319", "239.N.1.1:320", "239.N.2.2:319", "239.N.2.2:320"] {
        row.sent(target, same).passes("pass_no_rule");
    }
    for target in ["239.N.1.1:318", "239.N.2.2:321"] {
        row.sent(target, same).out("v3", target, same);
    }
    let row = t.row("224.0.0.0/24, under a prefix that holds it").rule("v1 group=224.0.0.0/8 port=9999", &["v2"]);
    for target in ["224.0.0.0:9999", "224.0.0.1:9999", "224.0.0.251:9999", "224.0.0.255:9999"] {
        row.sent(target, same).passes("pass_no_rule");
    }
    for target in ["224.0.1.0:9999", "224.0.1.129:9999", "224.255.255.255:9999"] {
        row.sent(target, same).out("v3", target, same);
    }
}

fn other_protocols(t: &mut Table) {
    for (name, protocol) in [("IGMP", 2), ("TCP", 6), ("UDP-Lite", 136)] {
        let row = t.row(name).rule("v1 group=239.N.1.1", &["v2"]);
        row.sent(IN, same).bytes(|frame| protocol_of(frame, protocol)).passes("pass_no_rule");
    }
    let row = t.row("ARP").rule(STREAM, &["v2"]);
    row.sent(IN, same).bytes(|frame| *frame = arp()).passes("pass_no_rule");
    let row = t.row("IPv6").rule(STREAM, &["v2"]);
    row.sent(IN, same).bytes(|frame| *frame = ipv6()).passes("pass_no_rule");
    let row = t.row("TCP, whole").rule("v1 group=239.N.1.1", &["v2"]);
    let id = row.id();
    row.sent(IN, same).bytes(|frame| *frame = tcp(&frame[30..34], id)).passes("pass_no_rule");
    t.row("no IPv4: version 5, a header of 16 bytes")
        .rule(STREAM, &["v2"])
        .sent(IN, same)
        .bytes(|frame| frame[14] = 0x55)
        .passes("pass_no_rule")
        .sent(IN, same)
        .bytes(|frame| frame[14] = 0x44)
        .passes("pass_no_rule");
    t.row("a length where the EtherType would be")
        .rule(STREAM, &["v2"])
        .sent(IN, same)
        .bytes(|frame| frame[12..14].copy_from_slice(&[0, 60]))
        .passes("pass_no_rule");
    t.row("cut in the UDP header")
        .rule(STREAM, &["v2"])
        .sent(IN, same)
        .bytes(|frame| frame.truncate(41))
        .passes("pass_no_rule");
}

fn addresses(t: &mut Table) {
    own_mac(t);
    t.row("another host's MAC over a group")
        .rule(STREAM, &["v2"])
        .sent(IN, |p| p.to_mac = [0x02, 0, 0, 0, 0, 0x55])
        .passes("pass_no_rule");
    t.row("a multicast MAC over a unicast address")
        .rule(STREAM, &["v2"])
        .sent("10.1.0.77:5001", |p| p.to_mac = [0x01, 0x00, 0x5e, 1, 1, 1])
        .passes("pass_no_rule");
    t.row("a broadcast")
        .rule(STREAM, &["v2"])
        .sent("255.255.255.255:5001", |p| p.to_mac = [0xff; 6])
        .passes("pass_no_rule");
    t.row("a broadcast MAC over a group: the group decides")
        .rule(STREAM, &["v2"])
        .sent(IN, |p| p.to_mac = [0xff; 6])
        .out("v3", IN, same)
        .sent("239.N.1.2:5001", |p| p.to_mac = [0xff; 6])
        .passes("pass_no_rule");
    t.row("another group's MAC: the group decides")
        .rule(STREAM, &["v2"])
        .sent(IN, |p| p.to_mac = [0x01, 0x00, 0x5e, 9, 9, 9])
        .out("v3", IN, same);
}

fn protocol_of(frame: &mut [u8], protocol: u8) {
    frame[23] = protocol;
    fragment(frame, 0);
}

/// Who has an address that nobody has.
fn arp() -> Vec<u8> {
    let from = [0x02, 0, 0, 0, 0, 0x77];
    let asked = [[10, 1, 0, 1], [10, 1, 0, 99]];
    let (hardware, operation) = (ArpHardwareId::ETHERNET, ArpOperation::REQUEST);
    let arp = ArpPacket::new(hardware, EtherType::IPV4, operation, &from, &asked[0], &[0; 6], &asked[1]);
    let header = Ethernet2Header { source: from, destination: [0xff; 6], ether_type: EtherType::ARP };
    [&header.to_bytes()[..], &arp.expect("lengths that fit").to_bytes()[..]].concat()
}

fn ipv6() -> Vec<u8> {
    let (from, to) =
        ([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], [0xff, 0x3e, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
    let builder = PacketBuilder::ethernet2([0x02, 0, 0, 0, 0, 0x77], [0x33, 0x33, 0, 0, 0, 9]).ipv6(from, to, 16);
    let mut frame = Vec::new();
    builder.udp(7777, 5001).write(&mut frame, &[5; 32]).expect("a vector takes it");
    frame
}

fn tcp(group: &[u8], id: u16) -> Vec<u8> {
    let group: [u8; 4] = group.try_into().expect("an address");
    let packet = Packet { id, ..Packet::new(Ipv4Addr::from(group), 5001) };
    let mut ip = packet.ip();
    ip.protocol = IpNumber::TCP;
    let builder = PacketBuilder::ethernet2(packet.from_mac, packet.to_mac).ip(IpHeaders::Ipv4(ip, Default::default()));
    let mut frame = Vec::new();
    builder.tcp(7777, 5001, 1, 100).syn().write(&mut frame, &[]).expect("a vector takes it");
    frame
}

/// Multicast that a bridge or an access point sends to each receiver alone, under the receiver's own MAC.
fn own_mac(t: &mut Table) {
    let (own, other_interface) = (t.relay_mac("v0"), t.relay_mac("w0"));
    t.row("the interface's own MAC over a group")
        .rule(STREAM, &["v2", "v4 group=238.N.1.1"])
        .sent(IN, |p| p.to_mac = own)
        .out("v3", IN, same)
        .out("v5", "238.N.1.1:5001", same)
        .sent("239.N.1.1:5002", |p| p.to_mac = own)
        .passes("pass_no_rule");
    t.row("the interface's own MAC in a VLAN")
        .rule("v1 group=239.N.1.1 port=5001 vlan=100", &["v2"])
        .sent(IN, |p| (p.to_mac, p.tag) = (own, Some(super::tags::tag(100))))
        .out("v3", IN, same)
        .sent(IN, |p| (p.to_mac, p.tag) = (own, Some(super::tags::tag(101))))
        .passes("pass_vlan");
    t.row("a fragment to the interface's own MAC")
        .rule(STREAM, &["v2"])
        .sent(IN, |p| p.to_mac = own)
        .bytes(|frame| fragment(frame, 0x2000))
        .passes("pass_fragment");
    t.row("the MAC of another interface of the host")
        .rule(STREAM, &["v2"])
        .sent(IN, |p| p.to_mac = other_interface)
        .passes("pass_no_rule");
    t.row("another host's MAC over a fragment")
        .rule(STREAM, &["v2"])
        .sent(IN, |p| p.to_mac = [0x02, 0, 0, 0, 0, 0x55])
        .bytes(|frame| fragment(frame, 0x2000))
        .passes("pass_no_rule");
    t.row("another host's MAC in another VLAN than the rule's")
        .rule(STREAM, &["v2"])
        .sent(IN, |p| (p.to_mac, p.tag) = ([0x02, 0, 0, 0, 0, 0x55], Some(super::tags::tag(100))))
        .passes("pass_no_rule");
}
