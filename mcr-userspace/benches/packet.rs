//! What each step of a packet's way costs, in nanoseconds: the XDP program, and what a worker does between the rings.
//!
//! As root: `cargo bench -p mcr-userspace --bench packet`. One packet again and again, so caches and branches are warm; `lookup` has
//! thousands of rules and cold ones.

use std::{
    hint::black_box,
    sync::{Arc, LazyLock},
    time::Duration,
};

use aya::programs::{TestRun, TestRunOptions};
use criterion::{BatchSize, Criterion, Throughput, criterion_main};
use etherparse::PacketBuilder;
use mcr_common::{
    flow::{Datagram, FlowValue, InterfaceFacts},
    parse::{Parsed, parse},
};
use mcr_userspace::{
    forward::{
        capture::{Copies, Followed, Points, Seen, Tap, Taps},
        counters::RuleCounters,
        plan::{EgressFacts, plan},
        rewrite::rewrite,
        rule::Compiled,
        table::Table,
        validate::{complete_checksum, end_of_packet},
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
const GROUP: [u8; 4] = [239, 1, 1, 1];
const PORT: u16 = 5_001;
/// Bytes of the Ethernet frames.
const SIZES: [usize; 3] = [64, 256, 1_024];
static FACTS: LazyLock<EgressFacts> =
    LazyLock::new(|| EgressFacts { mac: [2, 0, 0, 0, 0, 9], mtu: 1_500, ..EgressFacts::default() });

/// A frame of so many bytes, with a whole checksum.
fn packet(size: usize) -> Vec<u8> {
    let mut packet = Vec::new();
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [1, 0, 0x5e, 1, 1, 1])
        .ipv4([10, 0, 0, 5], GROUP, 16)
        .udp(40_000, PORT)
        .write(&mut packet, &vec![0xa5; size - 42])
        .expect("a vector takes it");
    packet
}

/// Everything that changes, to `outputs` outputs.
fn rule(outputs: usize) -> Rule {
    let matcher = Match {
        interface: "lo".into(),
        group: Prefix::host(GROUP.into()),
        ports: Ports::Exact(PORT),
        source: Prefix { address: 0.into(), length: 0 },
        vlan: None,
    };
    let output = |i: usize| Output {
        name: None,
        interface: "out".into(),
        group: Some([239, 10, 1, i as u8].into()),
        port: Some(6_001),
        source: Source::Address([10, 2, 0, 1].into()),
        ttl: Ttl::Decrement,
        dscp: None,
        vlan: Vlan::None,
    };
    Rule {
        name: "r".into(),
        matcher,
        outputs: (0..outputs).map(output).collect(),
        stall_after: None,
        description: None,
        enabled: true,
    }
}

fn datagram(packet: &[u8]) -> Datagram {
    match parse(packet) {
        Parsed::Datagram(datagram) => datagram,
        other => panic!("{other:?}"),
    }
}

fn table(outputs: usize) -> Table {
    let rule = rule(outputs);
    let compiled = Compiled::new(&rule, LOOPBACK, &vec![0; outputs]).expect("a rule has outputs");
    let mut table = Table::default();
    table.install(0, rule.matcher, compiled, Arc::new(RuleCounters::new(outputs)));
    table
}

fn steps(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("step");
    group.throughput(Throughput::Elements(1));
    let table = table(1);
    let entry = table.get(0).expect("it was installed");
    let target = *entry.rule.targets.iter().next().expect("it has an output");
    let mut frame = packet(256);
    let datagram = datagram(&frame);
    group.bench_function("parse", |bencher| bencher.iter(|| parse(black_box(&frame[..]))));
    group.bench_function("lookup, the worker's own", |bencher| {
        bencher.iter(|| table.find(LOOPBACK, black_box(&datagram)))
    });
    group.bench_function("covers", |bencher| bencher.iter(|| entry.rule.covers(LOOPBACK, black_box(&datagram))));
    group.bench_function("validate", |bencher| bencher.iter(|| end_of_packet(black_box(&frame), &datagram)));
    let facts = &*FACTS;
    let planned = plan(&frame, &datagram, &target, facts).expect("it is sent");
    group.bench_function("plan", |bencher| bencher.iter(|| plan(black_box(&frame), &datagram, &target, facts)));
    let length = frame.len();
    group.bench_function("rewrite", |bencher| {
        bencher.iter(|| rewrite(black_box(&mut frame), length, &datagram, black_box(&planned)));
    });
    group.finish();
    let mut group = criterion.benchmark_group("checksum");
    for size in SIZES {
        let mut partial = packet(size);
        let parsed = self::datagram(&partial);
        let at = usize::from(parsed.udp_offset) + 6;
        let sum = mcr_common::checksum::pseudo_header(parsed.source, parsed.group, (size - 34) as u16).fold();
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(format!("complete a partial one, {size} B"), |bencher| {
            bencher.iter(|| {
                partial[at..at + 2].copy_from_slice(&sum.to_be_bytes());
                complete_checksum(black_box(&mut partial), &parsed);
            });
        });
    }
    group.finish();
}

/// All that a worker does between the rings, for one output and for eight.
fn whole(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("worker, a packet");
    group.throughput(Throughput::Elements(1));
    for outputs in [1, 8] {
        let table = table(outputs);
        let packet = packet(256);
        let mut copies = vec![packet.clone(); outputs - 1];
        let mut work = |frame: &mut Vec<u8>| {
            let datagram = datagram(frame);
            let entry = table.get(0).filter(|entry| entry.rule.covers(LOOPBACK, &datagram)).expect("its rule");
            entry.counters.received.add(1);
            let end = end_of_packet(frame, &datagram).expect("it is sound");
            // The last one that is served takes the frame itself.
            for at in (0..outputs).rev() {
                let target = entry.rule.targets.get(at).expect("as many as were made");
                let counters = entry.counters.outputs.get(at).expect("as many as targets");
                counters.offered.add(1);
                let new = plan(&frame[..end], &datagram, target, &FACTS).expect("it is sent");
                let out = match at.checked_sub(1) {
                    Some(copy) => {
                        copies[copy].copy_from_slice(frame);
                        &mut copies[copy]
                    }
                    None => &mut *frame,
                };
                black_box(rewrite(out, end, &datagram, &new));
                counters.sent.add(1);
                counters.sent_bytes.add(end as u64);
            }
        };
        // Each packet is fresh, and was not written just before it is read.
        group.bench_function(format!("{outputs} outputs"), |bencher| {
            bencher.iter_batched_ref(|| packet.clone(), &mut work, BatchSize::NumIterations(64));
        });
    }
    group.finish();
}

/// What those who capture cost a packet where it is counted: nobody; somebody who captures other rules; somebody who takes it.
fn capture(criterion: &mut Criterion) {
    /// Both ends of a tap on slot 0.
    fn tapped() -> (Taps, Copies) {
        let (tap, copies) = Tap::new(1, 65_535, 1 << 20);
        let mut taps = Taps::default();
        taps.add(tap);
        let points = Points { received: true, sent: true, dropped: true };
        taps.follow(1, 0, Arc::new(Followed::new(0, points, 1)));
        (taps, copies)
    }
    let note = |taps: &mut Option<&mut Taps>, slot: u32, packet: &[u8]| {
        if let Some(taps) = taps {
            taps.note(slot, Seen::In, packet, packet.len());
        }
    };
    let mut group = criterion.benchmark_group("capture, a packet");
    group.throughput(Throughput::Elements(1));
    let packet = packet(256);
    let mut nobody = black_box(None);
    group.bench_function("nobody", |bencher| bencher.iter(|| note(black_box(&mut nobody), 0, black_box(&packet))));
    let (mut taps, mut copies) = tapped();
    let mut tapped = Some(&mut taps);
    group.bench_function("of another rule", |bencher| {
        bencher.iter(|| note(black_box(&mut tapped), 1, black_box(&packet)));
    });
    // The daemon's part is timed with it: without it the ring would be full.
    group.bench_function("copied, and taken from the ring", |bencher| {
        bencher.iter(|| {
            note(black_box(&mut tapped), 0, black_box(&packet));
            let head = copies.peek().expect("it was copied");
            copies.take(&head, |parts| {
                black_box(parts);
            });
        });
    });
    group.finish();
}

/// The program's own time as the kernel tells it (`BPF_PROG_TEST_RUN`), once for each packet: what it writes before one would meet the
/// next. Both include the kernel's clock; a unicast packet is the host's own.
fn program(criterion: &mut Criterion) {
    let (mut program, maps) = Program::load(1, 1).expect("as root");
    program.attach(LOOPBACK, Attachment::Skb).expect("nobody else has one");
    let (memory, _pool) = Memory::new(0, 64, 2048).expect("64 frames");
    let port = Port::open(&memory, "lo", 0, Bind::Copy, Quota { fill: 0, send: 0 }).expect("a socket");
    let facts = InterfaceFacts { capacity: Memory::packet_capacity(2048), ..InterfaceFacts::default() };
    program.set_interface(0, facts).expect("there is room");
    program.set_socket(0, &port.fd()).expect("there is room");
    let mut flows = Flows::new(maps);
    flows.insert(LOOPBACK, &rule(1).matcher, FlowValue { slot: 0, xsk_base: 0, queues: 1 }).expect("one rule");
    let taken = packet(256);
    let mut unicast = taken.clone();
    unicast[0] = 2;
    unicast[30..34].copy_from_slice(&[10, 0, 0, 2]);
    let mut group = criterion.benchmark_group("XDP program");
    group.throughput(Throughput::Elements(1));
    for (name, packet) in [("a packet that a rule takes", &taken), ("a unicast packet", &unicast)] {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|times| {
                let once = |_| {
                    let mut options = TestRunOptions::new();
                    options.data_in = Some(packet);
                    program.program().test_run(options).expect("it runs").duration
                };
                (0..times).map(once).sum::<Duration>()
            });
        });
    }
    group.finish();
    program.detach(LOOPBACK).expect("it is attached");
}

fn all(criterion: &mut Criterion) {
    // SAFETY: takes an integer; concerns this thread, whose sockets are all made after it.
    assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0, "a network namespace of our own needs root");
    steps(criterion);
    whole(criterion);
    capture(criterion);
    program(criterion);
}

/// `criterion_group!` makes a function without a doc comment.
mod group {
    #![allow(missing_docs)]
    criterion::criterion_group!(benches, super::all);
}
criterion_main!(group::benches);
