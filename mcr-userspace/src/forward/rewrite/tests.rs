//! A packet's whole way through the pure code (parse, rule, validate, plan, rewrite) against the same packet with the
//! new values, built from scratch by etherparse.

use std::net::Ipv4Addr;

use etherparse::{
    EtherType, Ethernet2Header, IpDscp, IpEcn, IpNumber, Ipv4Header, SingleVlanHeader, UdpHeader, VlanId, VlanPcp,
    checksum::Sum16BitWords,
};
use mcr_common::{
    counter::OutputDrop,
    parse::{Parsed, parse},
};
use proptest::{prelude::*, sample::Index, test_runner::RngSeed};

use super::rewrite;
use crate::{
    forward::{
        plan::{EgressFacts, plan},
        rule::Compiled,
        validate::{complete_checksum, end_of_packet},
    },
    rules::rule::{Match, Output, Ports, Prefix, Rule, Source, Ttl, Vlan},
};

mod draw;
mod packet;

use draw::{Case, cases, mask};
use packet::{Checksum, Packet};

/// interface.md in values: the packet that is sent, or every reason that it has not to be.
fn expected(packet: &Packet, rule: &Rule, facts: &EgressFacts) -> Result<Packet, Vec<OutputDrop>> {
    let output = &rule.outputs[0];
    let mut reasons = Vec::new();
    let ttl = match output.ttl {
        Ttl::Decrement => i32::from(packet.ttl) - 1,
        Ttl::Keep => packet.ttl.into(),
        Ttl::Set(ttl) => ttl.into(),
    };
    if ttl <= 0 {
        reasons.push(OutputDrop::TtlExpired);
    }
    if 28 + packet.options.len() + packet.payload.len() + packet.behind.len() > facts.mtu as usize {
        reasons.push(OutputDrop::TooBig);
    }
    let source = match output.source {
        Source::Interface => facts.address,
        Source::Keep => Some(packet.source.into()),
        Source::Address(address) => Some(address),
    };
    if source.is_none() {
        reasons.push(OutputDrop::NoSource);
    }
    let Some(source) = source.filter(|_| reasons.is_empty()) else { return Err(reasons) };
    // An aligned base: the host bits of the packet's group lie in the new range as they are.
    let group =
        output.group.map_or(packet.group, |base| u32::from(base) | packet.group & !mask(rule.matcher.group.length));
    let port = match (output.port, rule.matcher.ports) {
        (None, _) => packet.ports.1,
        (Some(base), Ports::Range(first, _)) => base + (packet.ports.1 - first),
        (Some(port), _) => port,
    };
    let tag = match (output.vlan, packet.tag) {
        (Vlan::None, _) => None,
        (Vlan::Keep, tag) => tag,
        (Vlan::Set(id), None) => Some((0, false, id)),
        (Vlan::Set(id), Some((priority, drop_eligible, _))) => Some((priority, drop_eligible, id)),
    };
    let [_, b, c, d] = group.to_be_bytes();
    Ok(Packet {
        from_mac: facts.mac,
        to_mac: [0x01, 0x00, 0x5e, b & 0x7f, c, d],
        tag,
        dscp: output.dscp.unwrap_or(packet.dscp),
        ttl: ttl as u8,
        source: source.into(),
        group,
        ports: (packet.ports.0, port),
        ..packet.clone()
    })
}

/// `right` off by as much as `found` is off `wanted`, as sums in one's complement, 0 written as all ones.
fn off_alike(right: u16, found: u16, wanted: u16) -> u16 {
    let sum = (u32::from(right) + u32::from(found) + 0xffff - u32::from(wanted)) % 0xffff;
    if sum == 0 { 0xffff } else { sum as u16 }
}

/// The frame that leaves, by the code that workers run.
fn forward(case: &Case, frame: &[u8]) -> Result<Vec<u8>, OutputDrop> {
    let Parsed::Datagram(datagram) = parse(frame) else { panic!("not parsed: {frame:02x?}") };
    let compiled = Compiled::new(&case.rule, 7, &vec![3; case.rule.outputs.len()]).expect("a rule has outputs");
    assert!(compiled.covers(7, &datagram), "{datagram:?}");
    let target = compiled.targets.get(0).expect("the output");
    assert_eq!(target.egress, 3);
    let end = end_of_packet(frame, &datagram).expect("well-formed");
    // A frame of the UMEM, with what an earlier packet left in it.
    let mut buffer = vec![0xee; 2048];
    buffer[..frame.len()].copy_from_slice(frame);
    if case.is_virtual {
        complete_checksum(&mut buffer[..end], &datagram);
    }
    let new = plan(&buffer[..end], &datagram, target, &case.facts)?;
    let length = rewrite(&mut buffer, end, &datagram, &new);
    buffer.truncate(length);
    Ok(buffer)
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), ..ProptestConfig::with_cases(20_000) })]

    #[test]
    fn a_rewritten_packet_is_one_built_from_scratch(case in cases()) {
        let packet = &case.packet;
        let (right, partial) = (packet.right_checksum(), packet.partial_checksum());
        let found = match case.checksum {
            Checksum::Right => right,
            Checksum::Zero => 0,
            // Adding all ones in one's complement adds nothing: no damage.
            Checksum::Damaged(by) => off_alike(right, by, 0),
            Checksum::Partial => partial,
        };
        let mut frame = packet.bytes(found);
        frame.extend(&case.padding);
        match (forward(&case, &frame), expected(packet, &case.rule, &case.facts)) {
            (Err(reason), Err(reasons)) => prop_assert!(reasons.contains(&reason), "{reason:?}, not {reasons:?}"),
            (Ok(sent), Ok(wanted)) => {
                let checksum = match found {
                    0 => 0,
                    found if found == partial && case.is_virtual => wanted.right_checksum(),
                    found => off_alike(wanted.right_checksum(), found, right),
                };
                prop_assert_eq!(&sent, &wanted.bytes(checksum));
                prop_assert_ne!(wanted.right_checksum(), 0, "etherparse sends a computed 0 as all ones too");
            }
            (sent, wanted) => prop_assert!(false, "{sent:?}, wanted {wanted:?}"),
        }
    }
}

/// That the generator above gets where it should: every reason, every kind of checksum on packets that are sent.
#[test]
fn the_cases_reach_every_corner() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let mut seen = std::collections::BTreeMap::<String, u32>::new();
    for _ in 0..4_000 {
        let case = cases().new_tree(&mut runner).expect("a case").current();
        let mut note = |what: String| *seen.entry(what).or_default() += 1;
        match expected(&case.packet, &case.rule, &case.facts) {
            Err(reasons) => reasons.iter().for_each(|reason| note(reason.name().to_owned())),
            Ok(sent) => {
                note(format!("{:?} {}", std::mem::discriminant(&case.checksum), case.is_virtual));
                if case.packet.right_checksum() == 0xffff {
                    note("computed 0 comes in".to_owned());
                }
                if sent.right_checksum() == 0xffff {
                    note("computed 0 goes out".to_owned());
                }
                note(format!("tagged {} to {}", case.packet.tag.is_some(), sent.tag.is_some()));
                note(format!("odd {}", case.packet.payload.len() % 2 == 1));
            }
        }
    }
    assert_eq!(seen.len(), 3 + 8 + 2 + 4 + 2, "{seen:#?}");
    assert!(seen.values().all(|count| *count >= 20), "{seen:#?}");
}
