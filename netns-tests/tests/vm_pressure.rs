//! Zero-copy under pressure: an output that stalls, links that go down and come back, a receive ring driven over, SIGTERM under
//! load. Every frame stays accounted for, and the host's own traffic goes on. One boot for all of it.

use std::{
    io::{BufReader, Read},
    os::unix::net::UnixStream,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
};

use anyhow::{Result, ensure};
use netns_tests::{
    crossing::Crossing,
    deadline::until,
    ledger::{self, Deleted},
    needs_root,
    packet::is_stream,
    probe::{Load, Received, Share},
    rules::{self, Output},
    stats::{self, Stats, sum},
    topology::{GEN, Network, SINK},
    vm::{
        guest::{Guest, LIMIT},
        kernel,
        machine::{Machine, Nic},
        own,
        relay::Relay,
        wire,
    },
};

/// What emulation carries beside pings and TCP, and long enough for those.
const LONG: Load = Load { first: rules::SENT, streams: 10, rate: 500, size: 256, seconds: 24 };
const SHORT: Load = Load { seconds: 6, ..LONG };
/// More than a queue has frames for receiving (8,192) and the NIC has places (1,024).
const FLOOD: Load = Load { rate: 2_000, seconds: 6, ..LONG };
/// Ingress, an egress to a receiver, and one whose frames go nowhere as long as nobody reads them.
const NICS: [Nic; 3] = [Nic::Tap(1), Nic::Tap(1), Nic::Wire];
const WIRE: usize = 2;

#[test]
fn no_frame_is_lost_under_pressure() -> Result<()> {
    needs_root!();
    let guest = Machine { kernel: kernel::newest()?, cpus: 2, nics: NICS.into() }.boot()?;
    let network = wire::chain(&guest, 0, 1)?;
    guest.run(&format!("ip addr add 10.3.0.1/24 dev eth{WIRE}; ip link set eth{WIRE} up"))?;
    let relay = Relay::start(&guest, &config(), "--mode zerocopy --metrics-listen 127.0.0.1:9469")?;
    let start = relay.stats_at_rest()?;
    for i in 0..NICS.len() {
        let interface = start.interface(&format!("eth{i}"));
        assert_eq!((&*interface.xdp, &*interface.xsk), ("driver", "zerocopy"), "{interface:?}");
    }
    let bench = Bench { guest: &guest, network: &network, start, relay };
    bench.an_output_stalls()?;
    let reader = Reader::start(guest.wire(WIRE)?)?;
    bench.rests(&reader)?;
    bench.metadata_came_along()?;
    bench.links_go_and_come()?;
    bench.rests(&reader)?;
    bench.a_ring_is_driven_over()?;
    bench.rests(&reader)?;
    bench.ends_under_load(&reader)?;
    guest.healthy()
}

fn config() -> String {
    let mut rules = rules::streams(LONG.streams, "eth0", "eth1");
    for rule in &mut rules {
        let other = Output { interface: format!("eth{WIRE}"), ..rule.outputs[0].clone() };
        rule.outputs.push(other);
    }
    rules::file(&rules)
}

/// A relay in a guest, and who is around it.
struct Bench<'a> {
    guest: &'a Guest,
    network: &'a Network,
    relay: Relay<'a>,
    start: Stats,
}

impl Bench<'_> {
    /// Nobody reads what goes out by the wire: its output fills and drops, the other gets everything, and ping and TCP work over the
    /// interfaces that the streams come in and go out by.
    fn an_output_stalls(&self) -> Result<()> {
        let network = self.network;
        let received = thread::scope(|scope| -> Result<Crossing> {
            let crossing = scope.spawn(|| Crossing::of_chain(network, &LONG));
            until("an output that is full", LIMIT, || {
                Ok((dropped(&self.relay.stats()?, WIRE, "tx_ring_full") > 0).then_some(()))
            })?;
            for (label, address) in [(GEN, "10.1.0.2"), (SINK, "10.2.0.1")] {
                own::traffic(self.guest, self.network.namespace(label), address)?;
            }
            let stats = self.relay.stats()?;
            ensure!(stats.totals.matched_packets < LONG.packets(), "the streams had ended: nothing was shown");
            crossing.join().expect("no panic")
        })?;
        self.each_once(&received, &LONG)
    }

    /// Sockets fall behind links: what was in them is counted, and comes back.
    fn links_go_and_come(&self) -> Result<()> {
        for interface in ["eth1", "eth0"] {
            let (before, network) = (self.relay.stats_at_rest()?, self.network);
            let received = thread::scope(|scope| -> Result<Crossing> {
                let crossing = scope.spawn(|| Crossing::of_chain(network, &SHORT));
                until("the streams", LIMIT, || {
                    let sent = self.relay.stats()?.totals.sent_packets;
                    Ok((sent > before.totals.sent_packets + 200).then_some(()))
                })?;
                self.guest.run(&format!("ip link set {interface} down; sleep 1; ip link set {interface} up"))?;
                crossing.join().expect("no panic")
            })?;
            let stats = self.relay.stats_at_rest()?;
            let sent = sent(&stats, 1) - sent(&before, 1);
            let down = dropped(&stats, 1, "link_down") - dropped(&before, 1, "link_down");
            // Where the driver has the frames of an interface that is down, they may still go out when it is up.
            let seen = received.received.packets;
            ensure!(sent <= seen && seen <= sent + down, "sent {sent}, link_down {down}, received {seen}: {stats:?}");
            ensure!(received.received.duplicated == 0 && received.received.foreign == 0, "{:?}", received.received);
            if interface == "eth1" {
                ensure!(down > 0, "the link was not down: {stats:?}");
            }
            self.each_once(&Crossing::of_chain(self.network, &SHORT)?, &SHORT)?;
        }
        Ok(())
    }

    /// A relay that does not run lets its fill ring run empty. What the NIC had no frame for never reached the program; all else
    /// is forwarded once the relay runs.
    fn a_ring_is_driven_over(&self) -> Result<()> {
        let before = self.relay.stats_at_rest()?;
        self.relay.signal("STOP")?;
        let sent = FLOOD.sent(FLOOD.send(self.network.namespace(GEN), "v0", Share::Many)?)?;
        assert_eq!(sent.packets, FLOOD.packets());
        self.relay.signal("CONT")?;
        let stats = self.relay.stats_at_rest()?;
        let matched = stats.totals.matched_packets - before.totals.matched_packets;
        ensure!((8_192..FLOOD.packets()).contains(&matched), "matched {matched} of {}: {stats:?}", FLOOD.packets());
        self.each_once(&Crossing::of_chain(self.network, &SHORT)?, &SHORT)
    }

    /// SIGTERM in the middle of the streams: what was taken in goes out.
    fn ends_under_load(self, reader: &Reader) -> Result<()> {
        let before = self.relay.stats_at_rest()?;
        let on_wire = reader.count();
        let receiver = SHORT.receive(self.network.namespace(SINK), "v3", rules::RECEIVED, Share::Many)?;
        let sender = SHORT.send(self.network.namespace(GEN), "v0", Share::Many)?;
        until("the streams", LIMIT, || {
            Ok((self.relay.stats()?.totals.sent_packets > before.totals.sent_packets + 500).then_some(()))
        })?;
        let end = self.relay.stop()?;
        SHORT.sent(sender)?;
        let Received { packets, duplicated, .. } = SHORT.received(receiver)?;
        let totals = &before.totals;
        let matched = end.matched - totals.matched_packets;
        let dropped = end.egress_dropped - sum(&totals.output_dropped);
        let sent = end.sent - totals.sent_packets;
        ensure!(matched > 0 && matched < SHORT.packets(), "it did not end in the middle: {end:?}");
        assert_eq!((2 * matched, dropped, duplicated), (sent, 0, 0), "{end:?}, {totals:?}");
        until("all that was sent on the wire", LIMIT, || Ok((packets + reader.count() - on_wire == sent).then_some(())))
    }

    /// At rest all sums hold, all frames are back, and the wire has carried what was sent on it.
    fn rests(&self, reader: &Reader) -> Result<()> {
        let stats = self.relay.stats_at_rest()?;
        ledger::check(&stats, Deleted::None)?;
        ledger::check_frames(&self.start, &stats)?;
        let sent = sent(&stats, WIRE);
        until("all that was sent on the wire", LIMIT, || Ok((reader.count() == sent).then_some(())))
    }

    /// Each packet came with the slot that the program wrote before it: the worker never had to look.
    fn metadata_came_along(&self) -> Result<()> {
        let metrics = self.guest.run("wget -q -O - http://127.0.0.1:9469/metrics")?;
        let looked = metrics.lines().find(|line| line.starts_with("mcr_worker_own_lookups_total"));
        ensure!(looked.is_some_and(|line| line.ends_with(" 0")), "{looked:?} of\n{metrics}");
        Ok(())
    }

    /// All of `load` was received, each packet once; other ends are not asked.
    fn each_once(&self, crossing: &Crossing, load: &Load) -> Result<()> {
        let wrong = crossing.miscounted(load);
        ensure!(wrong.is_empty(), "{}\n{:?}\n{}", wrong.join("; "), self.relay.stats()?, self.relay.log()?);
        Ok(())
    }
}

/// Packets of all rules that were sent on interface `i`.
fn sent(stats: &Stats, i: usize) -> u64 {
    outputs(stats, i).map(|output| output.sent_packets).sum()
}

/// Packets of all rules that were dropped there for this reason.
fn dropped(stats: &Stats, i: usize, reason: &str) -> u64 {
    outputs(stats, i).filter_map(|output| output.dropped.get(reason)).sum()
}

fn outputs(stats: &Stats, i: usize) -> impl Iterator<Item = &stats::Output> {
    let name = format!("eth{i}");
    stats.rules.iter().flat_map(|rule| &rule.outputs).filter(move |output| output.interface == name)
}

/// Reads a wire, and counts the packets of streams on it.
struct Reader(Arc<AtomicU64>);

impl Reader {
    /// Ends with the machine.
    fn start(wire: &UnixStream) -> Result<Self> {
        let count = Arc::new(AtomicU64::new(0));
        let (mut wire, counter) = (BufReader::new(wire.try_clone()?), count.clone());
        thread::spawn(move || {
            let mut frame = Vec::new();
            let mut length = [0; 4];
            while wire.read_exact(&mut length).is_ok() {
                frame.resize(u32::from_be_bytes(length) as usize, 0);
                if wire.read_exact(&mut frame).is_err() {
                    break;
                }
                counter.fetch_add(is_stream(&frame).into(), Relaxed);
            }
        });
        Ok(Self(count))
    }

    fn count(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
