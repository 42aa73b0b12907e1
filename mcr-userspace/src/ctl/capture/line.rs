//! A captured packet as a line.

use std::{
    io::{self, Write},
    net::Ipv4Addr,
    time::{Duration, UNIX_EPOCH},
};

use mcr_common::{
    flow::{Datagram, Vlan},
    parse::{Parsed, parse},
};
use serde_json::json;

use super::sums::Sums;
use crate::pcapng::{self, Block};

/// What a packet's comments and its point tell.
#[derive(Debug, Default, PartialEq, Eq)]
struct Label<'a> {
    interface: &'a str,
    point: &'a str,
    rule: &'a str,
    output: Option<&'a str>,
    reason: Option<&'a str>,
}

/// Shows a block, where it is a packet: time, point, interface, source and group, length, rule and output, why it was dropped.
pub(super) fn show(block: &[u8], sums: &Sums, json: bool, out: &mut dyn Write) -> io::Result<()> {
    let Some(Block::Packet { interface, time, original, data, comments }) = pcapng::parse(block) else { return Ok(()) };
    let label = Label::of(sums.name(interface), &comments);
    let time = humantime::format_rfc3339_nanos(UNIX_EPOCH + Duration::from_nanos(time));
    let datagram = match parse(data) {
        Parsed::Datagram(datagram) | Parsed::Fragment(datagram) => Some(datagram),
        Parsed::Other => None,
    };
    let Label { interface, point, rule, output, reason } = label;
    if json {
        let from = datagram.as_ref().map(|datagram| Ipv4Addr::from(datagram.source));
        let group = datagram.as_ref().map(|datagram| Ipv4Addr::from(datagram.group));
        let object = json!({
            "time": time.to_string(), "point": point, "interface": interface, "source": from, "group": group,
            "port": datagram.as_ref().map(|datagram| datagram.port), "vlan": datagram.as_ref().and_then(vlan),
            "bytes": original, "rule": rule, "output": output, "reason": reason,
        });
        return writeln!(out, "{object}");
    }
    write!(out, "{time} {point:<7} {interface} ")?;
    match &datagram {
        Some(datagram) => {
            let (source, group) = (Ipv4Addr::from(datagram.source), Ipv4Addr::from(datagram.group));
            write!(out, "{source}{} > {group}:{}", source_port(datagram, data), datagram.port)?;
            if let Some(vlan) = vlan(datagram) {
                write!(out, " vlan {vlan}")?;
            }
        }
        None => write!(out, "headers not captured")?,
    }
    write!(out, " {original} bytes {rule}")?;
    output.iter().try_for_each(|output| write!(out, "/{output}"))?;
    reason.iter().try_for_each(|reason| write!(out, " {reason}"))?;
    writeln!(out)
}

impl<'a> Label<'a> {
    fn of(point: &'a str, comments: &[&'a str]) -> Self {
        let mut words = point.split(' ');
        let interface = words.next().unwrap_or_default();
        let mut label = Self { interface, point: words.next().unwrap_or_default(), ..Self::default() };
        for comment in comments {
            match comment.split_once(' ') {
                Some(("rule", name)) => label.rule = name,
                Some(("output", name)) => label.output = Some(name),
                Some(("dropped", reason)) => label.reason = Some(reason),
                _ => {}
            }
        }
        label
    }
}

fn vlan(datagram: &Datagram) -> Option<u16> {
    (datagram.vlan != Vlan::UNTAGGED).then(|| datagram.vlan.bits())
}

/// `:5000`; nothing where the packet ends before.
fn source_port(datagram: &Datagram, data: &[u8]) -> String {
    let port = data.get(usize::from(datagram.udp_offset)..).and_then(<[u8]>::first_chunk);
    port.map(|port| format!(":{}", u16::from_be_bytes(*port))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;

    use super::*;

    fn shown(json: bool, name: &str, comments: &[&str], cut: usize) -> String {
        let mut packet = Vec::new();
        let builder =
            PacketBuilder::ethernet2([2; 6], [1, 0, 0x5e, 1, 1, 1]).single_vlan(100.try_into().expect("an ID"));
        let builder = builder.ipv4([10, 0, 0, 1], [239, 1, 1, 1], 8).udp(40_000, 5_001);
        builder.write(&mut packet, &[7; 100]).expect("memory");
        let comments: Vec<Vec<u8>> = comments.iter().map(|text| pcapng::comment(text)).collect();
        let comments: Vec<&[u8]> = comments.iter().map(Vec::as_slice).collect();
        let (mut block, original) = (Vec::new(), packet.len() as u32);
        let data = &packet[..packet.len().min(cut)];
        pcapng::packet(&mut block, 0, 1_500_000_007, original, [data, &[]], pcapng::Inbound::Yes, &comments);
        let mut sums = Sums::default();
        sums.interface(name);
        let mut line = Vec::new();
        show(&block, &sums, json, &mut line).expect("memory");
        String::from_utf8(line).expect("UTF-8")
    }

    #[test]
    fn a_line_says_where_what_and_why() {
        let time = "1970-01-01T00:00:01.500000007Z";
        assert_eq!(
            shown(false, "eth0 in", &["rule feed-a"], 9_999),
            format!("{time} in      eth0 10.0.0.1:40000 > 239.1.1.1:5001 vlan 100 146 bytes feed-a\n")
        );
        assert_eq!(
            shown(false, "eth1 dropped feed-a/2", &["rule feed-a", "output 2", "dropped too_big"], 9_999),
            format!("{time} dropped eth1 10.0.0.1:40000 > 239.1.1.1:5001 vlan 100 146 bytes feed-a/2 too_big\n")
        );
        assert_eq!(
            shown(false, "eth0 in", &["rule feed-a"], 20),
            format!("{time} in      eth0 headers not captured 146 bytes feed-a\n")
        );
    }

    #[test]
    fn json_has_the_same() {
        let line = shown(true, "eth1 out feed-a/court1", &["rule feed-a", "output court1"], 9_999);
        let read: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        let wanted = json!({
            "time": "1970-01-01T00:00:01.500000007Z", "point": "out", "interface": "eth1", "source": "10.0.0.1",
            "group": "239.1.1.1", "port": 5_001, "vlan": 100, "bytes": 146, "rule": "feed-a", "output": "court1",
            "reason": null,
        });
        assert_eq!(read, wanted);
    }
}
