//! What a rule costs when it is one of ten or of ten thousand: the XDP program's run time and the worker's lookup, over
//! 1,000 random packets that rules take, with rules of 1, 8 and 64 shapes.
//!
//! As root: `cargo bench -p mcr-userspace --bench lookup`. Both sizes are measured in turns, so that what else the machine does
//! meets both; the ratio is what counts.

use std::{hint::black_box, sync::Arc, time::Instant};

use anyhow::{Context, Result};
use aya::programs::{TestRun, TestRunOptions};
use etherparse::PacketBuilder;
use mcr_common::{
    flow::{Datagram, FlowValue, InterfaceFacts},
    parse::{Parsed, parse},
};
use mcr_userspace::{
    forward::{
        counters::RuleCounters,
        plan::{EgressFacts, plan},
        rewrite::rewrite,
        rule::Compiled,
        table::Table,
        validate::end_of_packet,
    },
    kernel::{
        flows::Flows,
        program::{Attachment, Program},
    },
    rules::rule::{Match, Output, Ports, Prefix, Rule, Source, Ttl, Vlan},
    xsk::{
        port::{Bind, Port, Quota},
        umem::Memory,
    },
};

/// Test runs come in on the loopback interface of the caller's namespace, queue 0.
const LOOPBACK: u32 = 1;
const PACKETS: usize = 1_000;
/// Both sizes in turns so many times, each time so often in a row.
const ROUNDS: usize = 12;
const PASSES: usize = 4;
/// Bytes from one frame to the next.
const FRAME: usize = 2_048;
const FEW: u32 = 10;
const MANY: u32 = 10_000;

/// Rule `i` of a set with `shapes` shapes: source lengths 32 to 1, then the same with any port. Groups differ, so no two overlap.
fn matcher(i: u32, shapes: u32) -> Match {
    let shape = i % shapes;
    let length = 32 - (shape % 32) as u8;
    let source = Prefix { address: 0x0a00_0005.into(), length };
    Match {
        interface: "lo".into(),
        group: Prefix::host((0xef01_0000 + i).into()),
        ports: if shape < 32 { Ports::Exact(5_001) } else { Ports::Any },
        source: Prefix { address: (0x0a00_0005 & source.mask()).into(), length },
        vlan: None,
    }
}

/// A packet that rule `i` takes.
fn packet(i: u32) -> Vec<u8> {
    let [_, b, c, d] = (0xef01_0000 + i).to_be_bytes();
    let mut packet = Vec::new();
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [1, 0, 0x5e, b & 0x7f, c, d])
        .ipv4([10, 0, 0, 5], [0xef, b, c, d], 16)
        .udp(40_000, 5_001)
        .write(&mut packet, &[0xa5; 200])
        .expect("a vector takes it");
    packet
}

/// Numbers below `end` that look random, the same each time (a multiplicative congruence modulo a prime).
fn random(end: u32) -> impl Iterator<Item = u32> {
    let mut state = 48_271_u64;
    std::iter::repeat_with(move || {
        state = state * 48_271 % 0x7fff_ffff;
        (state % u64::from(end)) as u32
    })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Mean nanoseconds of the program over `packets`, each run once: what the kernel's clock costs included.
fn program_ns(program: &mut Program, packets: &[Vec<u8>]) -> Result<f64> {
    let mut sum = 0;
    for packet in packets {
        let mut options = TestRunOptions::new();
        options.data_in = Some(packet);
        sum += program.program().test_run(options)?.duration.as_nanos();
    }
    Ok(sum as f64 / packets.len() as f64)
}

/// The kernel's side: (a packet that is no business of rules, a packet that a rule takes).
fn kernel_ns(rules: u32, shapes: u32, packets: &[Vec<u8>]) -> Result<Vec<(f64, f64)>> {
    let (mut program, maps) = Program::load(MANY, MANY)?;
    program.attach(LOOPBACK, Attachment::Skb)?;
    let (memory, _pool) = Memory::new(0, 64, 2048)?;
    let port = Port::open(&memory, "lo", 0, Bind::Copy, Quota { fill: 0, send: 0 })?;
    let facts = InterfaceFacts { capacity: Memory::packet_capacity(2048), ..InterfaceFacts::default() };
    program.set_interface(0, facts)?;
    program.set_socket(0, &port.fd())?;
    let mut flows = Flows::new(maps);
    let matchers: Vec<Match> = (0..rules).map(|i| matcher(i, shapes)).collect();
    flows.announce(matchers.iter())?;
    for (slot, matcher) in (0..).zip(&matchers) {
        flows.insert(LOOPBACK, matcher, FlowValue { slot, xsk_base: 0, queues: 1 })?;
    }
    let unicast: Vec<Vec<u8>> = packets
        .iter()
        .map(|packet| {
            let mut packet = packet.clone();
            packet[0] = 2;
            packet[30..34].copy_from_slice(&[10, 0, 0, 2]);
            packet
        })
        .collect();
    let passes = (0..PASSES).map(|_| Ok((program_ns(&mut program, &unicast)?, program_ns(&mut program, packets)?)));
    let passes = passes.collect::<Result<_>>()?;
    let taken: u64 = (0..rules).map(|slot| program.count(slot).packets).sum();
    let wanted = (PASSES * packets.len()) as u64;
    anyhow::ensure!(taken == wanted, "{taken} of {wanted} packets were taken");
    program.detach(LOOPBACK)?;
    Ok(passes)
}

/// The worker's side: nanoseconds for all that it does to a packet between the rings, its rule found by the kernel's word, and by its
/// own lookup. Each packet has a frame of its own, as it has in a fill ring of thousands.
fn worker_ns(rules: u32, shapes: u32, packets: &[Vec<u8>]) -> Vec<(f64, f64)> {
    let output = Output {
        name: None,
        interface: "out".into(),
        group: None,
        port: None,
        source: Source::Keep,
        ttl: Ttl::Set(16),
        dscp: None,
        vlan: Vlan::None,
    };
    let mut table = Table::default();
    for slot in 0..rules {
        let matcher = matcher(slot, shapes);
        let rule = Rule {
            name: "r".into(),
            matcher: matcher.clone(),
            outputs: vec![output.clone()],
            stall_after: None,
            description: None,
            enabled: true,
        };
        let compiled = Compiled::new(&rule, LOOPBACK, &[0]).expect("a rule has outputs");
        table.install(slot, matcher, compiled, Arc::new(RuleCounters::new(1)));
    }
    let facts = EgressFacts { mac: [2, 0, 0, 0, 0, 9], mtu: 1_500, ..EgressFacts::default() };
    let mut frames = vec![0; packets.len() * FRAME];
    let mut slots = Vec::new();
    for (frame, packet) in frames.chunks_exact_mut(FRAME).zip(packets) {
        frame[..packet.len()].copy_from_slice(packet);
        slots.push(table.find(LOOPBACK, &datagram(packet)).expect("a rule takes it"));
    }
    let mut mean = |find: &dyn Fn(u32, &Datagram) -> Option<u32>| {
        let start = Instant::now();
        for ((frame, packet), slot) in frames.chunks_exact_mut(FRAME).zip(packets).zip(&slots) {
            let datagram = datagram(&frame[..packet.len()]);
            let entry = find(*slot, &datagram).and_then(|slot| table.get(slot)).expect("a rule");
            entry.counters.received.add(1);
            assert!(entry.rule.covers(LOOPBACK, &datagram));
            let end = end_of_packet(&frame[..packet.len()], &datagram).expect("it is sound");
            for (target, counters) in entry.rule.targets.iter().zip(entry.counters.outputs.iter()) {
                counters.offered.add(1);
                let new = plan(&frame[..end], &datagram, target, &facts).expect("it is sent");
                black_box(rewrite(frame, end, &datagram, &new));
                counters.sent.add(1);
                counters.sent_bytes.add(end as u64);
            }
        }
        start.elapsed().as_nanos() as f64 / packets.len() as f64
    };
    let pass = |_| (mean(&|slot, _| Some(black_box(slot))), mean(&|_, datagram| table.find(LOOPBACK, datagram)));
    (0..PASSES).map(pass).collect()
}

fn datagram(packet: &[u8]) -> Datagram {
    match parse(packet) {
        Parsed::Datagram(datagram) => datagram,
        other => panic!("{other:?}"),
    }
}

fn main() -> Result<()> {
    own_namespace().context("a network namespace of our own (as root)")?;
    println!(
        "{PACKETS} random packets that a rule takes, ns each, median of {} passes in turns; goal: ratio at most 1.5\n",
        ROUNDS * PASSES
    );
    println!("{:<38}{:>7}{:>12}{:>12}{:>8}", "what", "shapes", "10 rules", "10,000", "ratio");
    for shapes in [1, 8, 64] {
        // As many shapes as rules at least.
        let sizes = [FEW.max(shapes), MANY];
        let packets = sizes.map(|rules| random(rules).take(PACKETS).map(packet).collect::<Vec<_>>());
        let mut samples: [[Vec<f64>; 2]; 4] = Default::default();
        for _ in 0..ROUNDS {
            for (at, rules) in sizes.into_iter().enumerate() {
                let kernel = kernel_ns(rules, shapes, &packets[at])?;
                let worker = worker_ns(rules, shapes, &packets[at]);
                for ((idle, taken), (by_hint, by_lookup)) in kernel.into_iter().zip(worker) {
                    for (samples, value) in samples.iter_mut().zip([taken, taken - idle, by_hint, by_lookup]) {
                        samples[at].push(value);
                    }
                }
            }
        }
        let names = [
            "XDP program, with the clock",
            "XDP program, over a unicast frame",
            "worker, a packet, by the kernel's word",
            "worker, a packet, by its own lookup",
        ];
        for (name, [few, many]) in names.into_iter().zip(samples) {
            let (few, many) = (median(few), median(many));
            println!("{name:<38}{shapes:>7}{few:>12.1}{many:>12.1}{:>8.2}", many / few);
        }
    }
    Ok(())
}

fn own_namespace() -> std::io::Result<()> {
    // SAFETY: takes an integer; this process has one thread.
    match unsafe { libc::unshare(libc::CLONE_NEWNET) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}
