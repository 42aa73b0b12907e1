//! The experiment that this project was founded on: fifty senders on one bridge, fifty receivers on another, 3,000 packets a
//! second each, and between them one mcrd or fifty socats; and one stream of 150,000 packets a second for a minute.

use std::{
    net::Ipv4Addr,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use netns_tests::{
    daemon::{Daemon, Files},
    deadline::{SOON, until},
    probe::{Load, Share, joined},
    process::Process,
    rules::{self, RECEIVED, SENT, stream},
    topology::{BRIDGES, Network, Topology},
};
use nix::unistd::Pid;

use super::bench::{Bench, Turns};
use crate::{
    interrupt,
    load::{
        socket::Pace,
        stage::{Sender, Trial},
    },
    machine::process::{cpu_seconds, resident_kib},
    relay::{Contender, Job, socat_words},
    results::{Key, What},
};

/// Streams, senders and receivers.
pub const STREAMS: u16 = 50;
/// Packets a second of each.
const RATE: u64 = 3_000;
/// Packets a second of the chain's one stream.
pub const CHAIN_RATE: u32 = 150_000;
/// Bytes of a frame, in both.
const SIZE: u32 = 1024;
/// Queues of the relay's interfaces: a veth's has 256 entries, and a hundred processes keep both CPUs.
const QUEUES: u32 = 4;

/// Measures both, once.
///
/// # Errors
/// As [`super::throughput::measure`].
pub fn measure(bench: &mut Bench) -> Result<()> {
    let (bridge_seconds, chain_seconds, seconds) = (bench.plan.bridge, bench.plan.chain, bench.plan.budget.founding);
    let contenders = bench.who(|contender| matches!(contender, Contender::McrEfficient | Contender::Socat));
    let turns = Turns { name: "dual bridge", contenders: contenders.clone(), repeats: 1, seconds };
    // A hundred namespaces, made once.
    let mut network = None;
    bench.take_turns(turns, |bench, contender, _| {
        let network = match &mut network {
            Some(network) => network,
            none => none.insert(Topology::dual_bridge(STREAMS.into(), QUEUES).build()?),
        };
        bridge(bench, network, contender, bridge_seconds)
    })?;
    drop(network);
    let turns = Turns { name: "long chain", contenders, repeats: 1, seconds };
    bench.take_turns(turns, |bench, contender, _| {
        let mut running = contender.start(Job::of(1))?;
        let outcome = running.trial(&Trial {
            size: SIZE,
            packets: (f64::from(CHAIN_RATE) * chain_seconds) as u32,
            rate: Some(f64::from(CHAIN_RATE)),
            sender: Sender::Socket(Pace::Sleeping),
            every_delay: false,
        })?;
        let key = |what| Key::of(what, contender).rate(CHAIN_RATE);
        bench.results.add(key(What::ChainDelivered), outcome.delivered as f64);
        bench.results.add(key(What::ChainLost), outcome.lost() as f64);
        Ok(())
    })
}

/// What forwards on the dual bridge.
struct Relay {
    daemon: Option<Daemon>,
    processes: Vec<Process>,
    /// Commands that a user types for it.
    steps: u32,
}

impl Relay {
    fn start(contender: Contender, network: &Network) -> Result<Self> {
        let flags = ["--workers", "1"];
        if contender.is_mcr() {
            let file = rules::file(&rules::streams(STREAMS, "v1", "v2"));
            let daemon = Daemon::start_with(Files::new(&file)?, network.relay(), &flags)?;
            return Ok(Self { daemon: Some(daemon), processes: Vec::new(), steps: 1 });
        }
        let start = |i| {
            let ((group, port), (to, to_port)) = (stream(SENT, i), stream(RECEIVED, i));
            let [program, words @ ..] = socat_words((group, port), (to, to_port), ("10.1.0.1", "10.2.0.1"));
            Process::spawn(network.relay().command(program).args(words))
        };
        let processes = (0..STREAMS).map(start).collect::<Result<Vec<_>>>()?;
        joined(network.relay(), "v1", SENT.0, STREAMS)?;
        Ok(Self { daemon: None, processes, steps: STREAMS.into() })
    }

    fn pids(&self) -> Vec<Pid> {
        self.processes.iter().map(Process::pid).chain(self.daemon.iter().map(Daemon::pid)).collect()
    }
}

fn bridge(bench: &mut Bench, network: &Network, contender: Contender, seconds: u64) -> Result<()> {
    let relay = Relay::start(contender, network)?;
    let part = |i| Load { first: stream(SENT, i), streams: 1, rate: RATE, size: SIZE, seconds };
    let each = |letter: char, i: u16| network.namespace(&format!("{letter}{i}"));
    let receivers = (0..STREAMS)
        .map(|i| part(i).receive(each('r', i), "e0", stream(RECEIVED, i), Share::Many))
        .collect::<Result<Vec<_>>>()?;
    members(network, "br0", SENT.0, |_| "v1".into())?;
    members(network, "br1", RECEIVED.0, |i| format!("r{i}"))?;
    interrupt::check()?;

    let pids = relay.pids();
    let (before, start) = (cpu_seconds(&pids)?, Instant::now());
    let senders = (0..STREAMS).map(|i| part(i).send(each('s', i), "e0", Share::Many)).collect::<Result<Vec<_>>>()?;
    while senders.iter().map(Process::running).collect::<Result<Vec<_>>>()?.contains(&true) {
        interrupt::check()?;
        sleep(Duration::from_millis(100));
    }
    let mut sent = 0;
    for (i, sender) in (0..).zip(senders) {
        sent += part(i).sent(sender)?.packets;
    }
    let share = (cpu_seconds(&pids)? - before) / start.elapsed().as_secs_f64();
    let memory = resident_kib(&pids)?;
    let mut delivered = 0;
    for (i, receiver) in (0..).zip(receivers) {
        interrupt::check()?;
        let received = part(i).received(receiver)?;
        ensure!(received.duplicated + received.foreign == 0, "receiver {i} was sent what is not its own: {received:?}");
        delivered += received.packets;
    }
    let key = |what| Key::of(what, contender).streams(STREAMS.into()).rate((RATE * u64::from(STREAMS)) as u32);
    for (what, value) in [
        (What::BridgeDelivered, delivered as f64),
        (What::BridgeLost, (sent - delivered) as f64),
        (What::BridgeProcesses, pids.len() as f64),
        (What::BridgeCpu, 100.0 * share),
        (What::BridgeMemory, memory as f64 / 1024.0),
        (What::BridgeSteps, f64::from(relay.steps)),
    ] {
        bench.results.add(key(what), value);
    }
    Ok(())
}

/// Waits until each group from `first` upwards has its member, a port, in `bridge`'s database.
fn members(network: &Network, bridge: &str, first: Ipv4Addr, port: impl Fn(u16) -> String) -> Result<()> {
    let limit = SOON + Duration::from_secs(10);
    until(&format!("all memberships in {bridge}"), limit, || {
        let mdb = network.namespace(BRIDGES).run(&format!("bridge mdb show dev {bridge}"))?;
        let entry = |i| format!("port {} grp {} ", port(i), stream((first, 0), i).0);
        Ok((0..STREAMS).all(|i| mdb.contains(&entry(i))).then_some(()))
    })
    .with_context(|| network.namespace(BRIDGES).run("bridge mdb show").unwrap_or_default())
}
