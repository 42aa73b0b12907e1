//! What would become of a packet that nobody has sent: the workers' own functions on a frame that is made for it. Pure.

use std::net::Ipv4Addr;

use mcr_common::{
    counter::{OutputDrop, RuleDrop},
    flow::Datagram,
    parse::{Parsed, parse},
    wire::{self, ipv4, udp},
};

use super::{super::links::Link, obstacle::Obstacle};
use crate::{
    control::protocol::{ExplainedOutput, PacketSpec},
    forward::{
        passage::admit,
        plan::{EgressFacts, plan},
        rewrite::rewrite,
        rule::{Compiled, InterfaceId},
        validate::end_of_packet,
    },
};

/// Bytes of the longest IPv4 packet.
const LONGEST: usize = 65_535;
/// Highest VLAN ID that a tag can hold.
const MAX_TAG: u16 = 4095;

/// An egress interface as it is now.
#[derive(Clone, Debug)]
pub struct Egress {
    /// Its name.
    pub name: String,
    /// Its link.
    pub link: Link,
    /// What workers know of it.
    pub facts: EgressFacts,
}

/// The frame of a packet like this; or why there can be none.
pub fn frame(spec: &PacketSpec) -> Result<Vec<u8>, String> {
    let vlan = spec.vlan.filter(|vlan| *vlan != 0);
    if vlan.is_some_and(|vlan| vlan > MAX_TAG) {
        return Err(format!("--vlan {}: a VLAN ID is at most {MAX_TAG}", vlan.unwrap_or_default()));
    }
    if !spec.group.is_multicast() {
        return Err(format!("--group {}: this is no multicast group (224.0.0.0 to 239.255.255.255)", spec.group));
    }
    let ip = wire::ETHERNET_LEN + if vlan.is_some() { wire::VLAN_LEN } else { 0 };
    let headers = ip + wire::IPV4_MIN_LEN + wire::UDP_LEN;
    let length = spec.size as usize;
    if !(headers..=ip + LONGEST).contains(&length) {
        let most = ip + LONGEST;
        return Err(format!("--size {length}: such a frame has {headers} to {most} bytes, Ethernet header included"));
    }
    let mut frame = vec![0; length];
    let mut put = |at: usize, bytes: &[u8]| frame[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &wire::group_mac(spec.group.into()));
    // A locally administered address: any will do.
    put(6, &[2, 0, 0, 0, 0, 1]);
    if let Some(vlan) = vlan {
        put(wire::ETHERTYPE, &wire::ETHERTYPE_VLAN.to_be_bytes());
        put(wire::ETHERTYPE + 2, &vlan.to_be_bytes());
    }
    put(ip - 2, &wire::ETHERTYPE_IPV4.to_be_bytes());
    put(ip, &[0x45]);
    put(ip + ipv4::TOTAL_LENGTH, &((length - ip) as u16).to_be_bytes());
    put(ip + ipv4::TTL, &[spec.ttl, wire::PROTOCOL_UDP]);
    put(ip + ipv4::SOURCE, &spec.source.octets());
    put(ip + ipv4::DESTINATION, &spec.group.octets());
    let at = ip + wire::IPV4_MIN_LEN;
    put(at + udp::DESTINATION_PORT, &spec.port.to_be_bytes());
    put(at + udp::LENGTH, &((length - at) as u16).to_be_bytes());
    // The field is 0 while its own sum is taken. 0 in the UDP checksum is none.
    let checksum = !mcr_common::checksum::Sum::default().header(&frame[ip..at]).fold();
    frame[ip + ipv4::CHECKSUM..ip + ipv4::CHECKSUM + 2].copy_from_slice(&checksum.to_be_bytes());
    Ok(frame)
}

/// The packet as rules see it; `None` for what is never forwarded, whatever the rules.
pub fn datagram(frame: &[u8]) -> Option<Datagram> {
    match parse(frame) {
        Parsed::Datagram(datagram) => Some(datagram),
        Parsed::Fragment(_) | Parsed::Other => None,
    }
}

/// Why a packet is never forwarded, whatever the rules: a word, and a sentence.
pub fn never(spec: &PacketSpec) -> Option<(String, String)> {
    if !wire::is_forwardable_group(spec.group.into()) {
        let reason = "224.0.0.0/24 is link-local: such packets are never forwarded";
        return Some(("link_local".to_owned(), reason.to_owned()));
    }
    let ptp = Some(Obstacle::Ptp(spec.port)).filter(|_| wire::PTP_PORTS.contains(&spec.port));
    ptp.map(|ptp| (ptp.name().to_owned(), ptp.why()))
}

/// What each output of the rule that takes it does with the packet. `capacity`: bytes of the longest frame that the ingress takes.
pub fn outputs(
    frame: &[u8],
    datagram: &Datagram,
    rule: &Compiled,
    capacity: usize,
    egress: impl Fn(InterfaceId) -> Egress,
) -> Vec<ExplainedOutput> {
    let accepted = accept(frame, datagram, rule, capacity);
    let of = |id| {
        let Egress { name: interface, link, facts } = egress(id);
        (interface, link, facts)
    };
    let explained = rule.targets.iter().map(|target| {
        let (interface, link, facts) = of(target.egress);
        let packet = match accepted {
            Ok(end) => &frame[..end],
            Err(reason) => return ExplainedOutput::Dropped { interface, drop: reason.name().to_owned() },
        };
        let planned = match link {
            Link::Up | Link::NoCarrier => plan(packet, datagram, target, &facts),
            Link::Down | Link::Absent => Err(OutputDrop::LinkDown),
        };
        match planned {
            // The worker sends it, and the kernel refuses.
            Ok(_) if link == Link::NoCarrier => {
                ExplainedOutput::Dropped { interface, drop: OutputDrop::TxRefused.name().to_owned() }
            }
            Ok(new) => {
                let mut buffer = packet.to_vec();
                buffer.resize(packet.len() + wire::VLAN_LEN, 0);
                let length = rewrite(&mut buffer, packet.len(), datagram, &new);
                sent(interface, &buffer[..length])
            }
            Err(reason) => ExplainedOutput::Dropped { interface, drop: reason.name().to_owned() },
        }
    });
    explained.collect()
}

/// Where the packet ends in its frame, or why no output is offered it: in the order of [`passage`](crate::forward::passage).
fn accept(frame: &[u8], datagram: &Datagram, rule: &Compiled, capacity: usize) -> Result<usize, RuleDrop> {
    let datagram = admit(rule, rule.ifindex(), Some(*datagram))?;
    if frame.len() > capacity {
        return Err(RuleDrop::Oversize);
    }
    end_of_packet(frame, &datagram).ok_or(RuleDrop::Malformed)
}

/// Reads what leaves from its bytes.
fn sent(interface: String, frame: &[u8]) -> ExplainedOutput {
    let word = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    let is_tagged = word(wire::ETHERTYPE) == wire::ETHERTYPE_VLAN;
    let ip = wire::ETHERNET_LEN + if is_tagged { wire::VLAN_LEN } else { 0 };
    let address = |at: usize| Ipv4Addr::new(frame[at], frame[at + 1], frame[at + 2], frame[at + 3]);
    let header = usize::from(frame[ip] & 0xf) * 4;
    ExplainedOutput::Sent {
        interface,
        vlan: is_tagged.then(|| word(wire::ETHERTYPE + 2) & wire::VLAN_ID_MASK).filter(|id| *id != 0),
        source: address(ip + ipv4::SOURCE),
        group: address(ip + ipv4::DESTINATION),
        port: word(ip + header + udp::DESTINATION_PORT),
        ttl: frame[ip + ipv4::TTL],
        bytes: frame.len() as u64,
    }
}

#[cfg(test)]
mod tests;
