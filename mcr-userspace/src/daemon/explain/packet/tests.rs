//! 100,000 random packets over random sets of rules: what is explained is what a worker's own table, checks, plan and rewrite make of them.

use std::{
    cell::Cell,
    collections::BTreeMap,
    sync::{Arc, mpsc::channel},
};

use mcr_common::flow;
use proptest::{
    prelude::*,
    sample::select,
    test_runner::{RngSeed, TestRunner},
};

use super::*;
use crate::{
    forward::{counters::RuleCounters, table::Table},
    kernel::flows::FlowIndex,
    rules::{
        rule::{Match, Output, Ports, Prefix, Rule, draw},
        set::RuleSet,
    },
};

const SETS: u32 = 500;
const PACKETS: usize = 200;
const INGRESS: u32 = 7;
const CAPACITY: usize = 1800;
const SOURCES: [u32; 5] = [0x0a00_0005, 0x0a00_0006, 0x0a00_8005, 0xc0a8_0101, 0x7f00_0001];
const GROUPS: [u32; 6] = [0xef01_0101, 0xef01_0102, 0xef81_0101, 0xe000_0101, 0xe000_0005, 0xe800_0001];
const VLANS: [Option<u16>; 4] = [None, Some(7), Some(100), Some(4_094)];

fn prefixes(addresses: &'static [u32], lengths: Vec<u8>) -> impl Strategy<Value = Prefix> {
    (select(addresses), select(lengths)).prop_map(|(address, length)| {
        let prefix = Prefix { address: address.into(), length };
        Prefix { address: (address & prefix.mask()).into(), length }
    })
}

fn ports() -> impl Strategy<Value = Ports> {
    (5000u16..5020, 1u16..300, 0u8..4).prop_map(|(first, more, kind)| match kind {
        0 => Ports::Any,
        1 => Ports::Range(first, first + more),
        _ => Ports::Exact(first),
    })
}

fn outputs() -> impl Strategy<Value = Output> {
    let (vlan, ttl, source) = (draw::vlan(), draw::ttl(), draw::source());
    let group = proptest::option::of(select(vec![0xef0a_0000u32, 0xef0b_0000]));
    (0usize..5, group, proptest::option::of(6000u16..6010), source, ttl, proptest::option::of(0u8..64), vlan).prop_map(
        |(egress, group, port, source, ttl, dscp, vlan)| Output {
            name: None,
            interface: format!("out{egress}"),
            group: group.map(Into::into),
            port,
            source,
            ttl,
            dscp,
            vlan,
        },
    )
}

fn rules() -> impl Strategy<Value = (Match, Vec<Output>)> {
    let matcher = (
        prefixes(&GROUPS, vec![32, 32, 31, 16, 8, 4]),
        ports(),
        prefixes(&SOURCES, vec![0, 0, 0, 32, 24, 8]),
        select(&VLANS[..]),
    );
    let matcher =
        matcher.prop_map(|(group, ports, source, vlan)| Match { interface: "in".into(), group, ports, source, vlan });
    (matcher, prop::collection::vec(outputs(), 1..5))
}

fn packets() -> impl Strategy<Value = PacketSpec> {
    let port = prop_oneof![5 => 4999u16..5030, 1 => any::<u16>(), 1 => 318u16..=321];
    let size = prop_oneof![3 => 46u32..400, 1 => 990u32..1040, 2 => 1490u32..1530, 1 => 1790u32..1810];
    let ttl = prop_oneof![3 => 2u8.., 1 => 0u8..=2];
    (select(&SOURCES[..]), select(&GROUPS[..]), port, select(&VLANS[..]), ttl, size).prop_map(
        |(source, group, port, vlan, ttl, size)| PacketSpec {
            interface: "in".into(),
            source: source.into(),
            group: group.into(),
            port,
            vlan,
            ttl,
            size,
        },
    )
}

/// One that is well, one with a small MTU, one without an address, one that is down, one without a carrier.
fn egress(id: InterfaceId) -> Egress {
    let facts = EgressFacts {
        mac: [2, 0, 0, 0, 1, id as u8],
        address: (id != 2).then_some(Ipv4Addr::new(10, 2, id as u8, 1)),
        mtu: if id == 1 { 1000 } else { 1500 },
        ..EgressFacts::default()
    };
    let link = [Link::Up, Link::Up, Link::Up, Link::Down, Link::NoCarrier][id];
    Egress { name: format!("out{id}"), link, facts }
}

/// What an output makes of a packet: the frame that it sends, or the reason why it sends none.
type Done = Result<Vec<u8>, &'static str>;

/// The way through a worker, with nothing but its own functions; what each output sent, or why not.
fn worker(table: &Table, frame: &[u8]) -> Option<(u32, Vec<Done>)> {
    let Parsed::Datagram(datagram) = parse(frame) else { return None };
    let slot = table.find(INGRESS, &datagram)?;
    let rule = &table.get(slot).expect("the rule of a slot that was found").rule;
    let accepted = admit(rule, INGRESS, Some(datagram)).and_then(|datagram| {
        // The XDP program cuts it.
        if frame.len() > CAPACITY {
            return Err(RuleDrop::Oversize);
        }
        end_of_packet(frame, &datagram).ok_or(RuleDrop::Malformed)
    });
    let sent = rule.targets.iter().map(|target| {
        let end = accepted.map_err(RuleDrop::name)?;
        let Egress { link, facts, .. } = egress(target.egress);
        if link == Link::Down {
            return Err(OutputDrop::LinkDown.name());
        }
        let new = plan(&frame[..end], &datagram, target, &facts).map_err(OutputDrop::name)?;
        let mut buffer = vec![0xee; 4096];
        buffer[..end].copy_from_slice(&frame[..end]);
        let length = rewrite(&mut buffer, end, &datagram, &new);
        buffer.truncate(length);
        if link == Link::NoCarrier { Err(OutputDrop::TxRefused.name()) } else { Ok(buffer) }
    });
    Some((slot, sent.collect()))
}

/// What leaves, as etherparse reads it.
fn read(interface: &str, frame: &[u8]) -> ExplainedOutput {
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};
    let sliced = SlicedPacket::from_ethernet(frame).expect("a sound frame");
    let Some(NetSlice::Ipv4(ip)) = &sliced.net else { panic!("no IPv4: {sliced:?}") };
    let Some(TransportSlice::Udp(udp)) = &sliced.transport else { panic!("no UDP: {sliced:?}") };
    let header = ip.header();
    assert_eq!(header.to_header().calc_header_checksum(), header.header_checksum());
    ExplainedOutput::Sent {
        interface: interface.to_owned(),
        vlan: sliced.vlan_ids().first().map(|id| id.value()),
        source: header.source_addr(),
        group: header.destination_addr(),
        port: udp.destination_port(),
        ttl: header.ttl(),
        bytes: frame.len() as u64,
    }
}

fn entered(drawn: Vec<(Match, Vec<Output>)>) -> (Table, FlowIndex, BTreeMap<u32, Compiled>) {
    let (mut set, mut table, mut index, mut compiled) =
        (RuleSet::new(1000), Table::default(), FlowIndex::default(), BTreeMap::new());
    for (slot, (matcher, outputs)) in (1u32..).zip(drawn) {
        let egresses: Vec<InterfaceId> =
            outputs.iter().map(|output| output.interface[3..].parse().expect("its number")).collect();
        let rule = Rule {
            name: format!("r{slot}"),
            matcher: matcher.clone(),
            outputs,
            stall_after: None,
            description: None,
            enabled: true,
        };
        if set.insert(rule.clone()).is_err() {
            continue;
        }
        let rule = Compiled::new(&rule, INGRESS, &egresses).expect("a rule has outputs");
        let counters = Arc::new(RuleCounters::new(rule.targets.iter().count()));
        table.install(slot, matcher.clone(), rule.clone(), counters);
        // As the daemon's own likeness of the kernel's table has it.
        index.insert(INGRESS, &matcher, flow::FlowValue { slot, xsk_base: 0, queues: 1 });
        compiled.insert(slot, rule);
    }
    (table, index, compiled)
}

#[test]
fn what_is_explained_is_what_workers_do() {
    let (sent, dropped, unmatched) = (Cell::new(0u32), Cell::new(0u32), Cell::new(0u32));
    let config = ProptestConfig {
        cases: SETS,
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        max_shrink_iters: 200,
        ..ProptestConfig::default()
    };
    let drawn = (prop::collection::vec(rules(), 1..24), prop::collection::vec(packets(), PACKETS));
    let outcome = TestRunner::new(config).run(&drawn, |(drawn, packets)| {
        let (mut table, index, compiled) = entered(drawn);
        for spec in packets {
            let frame = frame(&spec).expect("in range");
            prop_assert_eq!(frame.len(), spec.size as usize);
            let explained = datagram(&frame).and_then(|datagram| {
                let slot = mcr_common::lookup::find(&index, INGRESS, &datagram)?.slot;
                Some((slot, super::outputs(&frame, &datagram, &compiled[&slot], CAPACITY, egress)))
            });
            let Some((slot, done)) = worker(&table, &frame) else {
                prop_assert_eq!(explained, None, "{:?}", spec);
                unmatched.set(unmatched.get() + 1);
                continue;
            };
            let names = compiled[&slot].targets.iter().map(|target| format!("out{}", target.egress));
            let wanted = names.zip(done).map(|(interface, done)| match done {
                Ok(frame) => {
                    sent.set(sent.get() + 1);
                    read(&interface, &frame)
                }
                Err(reason) => {
                    dropped.set(dropped.get() + 1);
                    ExplainedOutput::Dropped { interface, drop: reason.to_owned() }
                }
            });
            prop_assert_eq!(explained, Some((slot, wanted.collect())), "{:?}", spec);
        }
        for slot in compiled.keys() {
            table.remove(*slot, channel().0);
        }
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    let counts = [sent, dropped, unmatched].map(Cell::into_inner);
    eprintln!("outputs that sent, outputs that dropped, packets of no rule: {counts:?}");
    assert!(counts.iter().all(|count| *count > 10_000), "{counts:?}");
}

#[test]
fn a_packet_that_cannot_be_is_refused() {
    let spec = |text: &str| -> PacketSpec { serde_json::from_str(text).expect("a packet") };
    let plain = r#"{"in":"eth0","source":"10.0.0.5","group":"239.1.1.1","port":5001}"#;
    let plain = spec(plain);
    assert_eq!((plain.ttl, plain.size, plain.vlan), (64, 1358, None));
    assert!(frame(&plain).is_ok_and(|frame| datagram(&frame).is_some()));
    assert!(frame(&PacketSpec { size: 41, ..plain.clone() }).is_err_and(|why| why.contains("42 to 65549")));
    assert!(frame(&PacketSpec { vlan: Some(4096), ..plain.clone() }).is_err_and(|why| why.contains("4095")));
    assert!(frame(&PacketSpec { group: [10, 0, 0, 1].into(), ..plain.clone() }).is_err());
    let link_local = frame(&PacketSpec { group: [224, 0, 0, 5].into(), ..plain.clone() }).expect("a frame");
    assert_eq!(datagram(&link_local), None);
    assert_eq!(datagram(&frame(&PacketSpec { port: 319, ..plain.clone() }).expect("a frame")), None);
    let why = |spec: &PacketSpec| never(spec).map(|(why, _)| why);
    assert_eq!(why(&PacketSpec { group: [224, 0, 0, 5].into(), ..plain.clone() }).as_deref(), Some("link_local"));
    assert_eq!(why(&PacketSpec { port: 319, ..plain.clone() }).as_deref(), Some("ptp"));
    assert_eq!(why(&plain), None);
}
