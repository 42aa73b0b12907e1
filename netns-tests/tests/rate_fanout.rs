//! One packet in, eight out: to one interface and to eight, and to seven while the eighth stands still.

use std::{fmt::Write, net::Ipv4Addr};

use anyhow::{Result, bail, ensure};
use netns_tests::{
    crossing::tx_dropped,
    daemon::Daemon,
    ledger::{self, Deleted},
    needs_root,
    probe::{Load, Received, Share},
    rules,
    stats::{Output, sum},
    topology::{GEN, Network, SINK, Topology},
};

const OUTPUTS: u32 = 8;
/// Frames that an egress may have under way (`EGRESS_SEND`): those of one that never completes are neither sent nor dropped.
const UNDER_WAY: u64 = 2_048;

/// Fifty streams, so that every queue and worker has some.
const fn load(rate: u64, seconds: u64) -> Load {
    Load { first: rules::SENT, streams: 50, rate, size: 1_024, seconds }
}

/// One rule over all streams, to 239.10.k.1 and up, from port 6001 on, for output k of interface `egress(k)`.
fn config(egress: impl Fn(u32) -> String) -> String {
    let mut text = String::from(
        "[[rule]]\nname = \"fan\"\nmatch = { interface = \"v1\", group = \"239.1.1.0/24\", port = \"5001-5050\" }\noutput = [\n",
    );
    for k in 1..=OUTPUTS {
        writeln!(text, "  {{ interface = \"{}\", group = \"239.10.{k}.0\", port = 6001 }},", egress(k))
            .expect("a String");
    }
    text + "]\n"
}

/// First group and port of what output `k` sends.
fn streams(k: u32) -> (Ipv4Addr, u16) {
    (Ipv4Addr::new(239, 10, k as u8, 1), 6001)
}

fn near(k: u32) -> String {
    format!("v{}", 2 * k)
}

fn far(k: u32) -> String {
    format!("v{}", 2 * k + 1)
}

/// Far ends that count what comes and drop it at once: eight receivers of as many packets are more than two CPUs can carry beside
/// the relay. Each is a port of a bridge, disabled: the cheapest end of a packet's way that there is.
struct Counted<'a> {
    network: &'a Network,
    far: Vec<(String, u64)>,
}

impl<'a> Counted<'a> {
    fn new(network: &'a Network, outputs: impl Iterator<Item = u32>) -> Result<Self> {
        let mut lines = String::from("link add drop type bridge\n");
        let mut counted = Self { network, far: Vec::new() };
        for far in outputs.map(far) {
            writeln!(
                lines,
                "addr flush dev {far}\nlink set {far} master drop\nlink set {far} type bridge_slave state 0"
            )?;
            counted.far.push((far, 0));
        }
        network.namespace(SINK).ip_batch(&lines)?;
        for i in 0..counted.far.len() {
            counted.far[i].1 = counted.now(&counted.far[i].0)?;
        }
        Ok(counted)
    }

    fn now(&self, far: &str) -> Result<u64> {
        let text = self.network.namespace(SINK).run(&format!("cat /sys/class/net/{far}/statistics/rx_packets"))?;
        Ok(text.trim().parse()?)
    }

    /// Whether so many packets have come to each.
    fn came(&self, wanted: u64) -> Result<()> {
        for (far, before) in &self.far {
            let came = self.now(far)? - before;
            ensure!(came == wanted, "{far}: {came} packets came, not {wanted}");
        }
        Ok(())
    }
}

/// All that two CPUs carry, so what else the machine does meanwhile counts: of three trials one must lose nothing, and in all of them
/// every loss is counted.
#[test]
fn eight_outputs_on_one_interface() -> Result<()> {
    needs_root!();
    for trial in 1..=3 {
        let lost = all_on_one_interface()?;
        eprintln!("trial {trial}: {lost} packets lost");
        if lost == 0 {
            return Ok(());
        }
    }
    bail!("each trial lost packets")
}

/// Packets that were lost on the way in; none may be lost on the way out.
fn all_on_one_interface() -> Result<u64> {
    let load = load(100_000, 5);
    let network = Topology::chain(2).build()?;
    let daemon = Daemon::start(network.relay(), &config(|_| "v2".into()), &["--workers", "2"])?;
    let before = daemon.stats_at_rest()?;
    let counted = Counted::new(&network, 1..=1)?;
    send(&network, &load)?;
    let stats = daemon.stats_at_rest()?;
    eprintln!("{stats:?}");
    ledger::check(&stats, Deleted::None)?;
    ledger::check_frames(&before, &stats)?;
    let rule = stats.rule("fan");
    let lost = sum(&rule.dropped);
    assert_eq!(rule.matched_packets, load.packets());
    for output in &rule.outputs {
        let outcome = (output.sent_packets, sum(&output.dropped));
        assert_eq!(outcome, (load.packets() - lost, 0), "{output:?}");
    }
    counted.came(u64::from(OUTPUTS) * (load.packets() - lost))?;
    Ok(lost)
}

/// Half of the load, to an interface each, one with a real receiver behind it.
#[test]
fn eight_outputs_on_eight_interfaces() -> Result<()> {
    needs_root!();
    let load = load(50_000, 5);
    let network = Topology::fan(2, OUTPUTS).build()?;
    let daemon = Daemon::start(network.relay(), &config(near), &["--workers", "2"])?;
    let before = daemon.stats_at_rest()?;
    let counted = Counted::new(&network, 2..=OUTPUTS)?;
    let receiver = load.receive(network.namespace(SINK), &far(1), streams(1), Share::Alone)?;
    send(&network, &load)?;
    received_once(&load.received(receiver)?, &load)?;
    let stats = daemon.stats_at_rest()?;
    eprintln!("{stats:?}");
    ledger::check(&stats, Deleted::None)?;
    ledger::check_frames(&before, &stats)?;
    stats.rule("fan").outputs.iter().try_for_each(|output| all_sent(output, &load))?;
    counted.came(load.packets())
}

/// Behind one output the link goes down, the carrier is lost, or nothing ever completes. The others lose nothing.
#[test]
fn one_of_eight_is_down() -> Result<()> {
    needs_root!();
    let stats = seven_and(|network| network.relay().run("ip link set v2 down").map(drop))?;
    assert_eq!(stats.dropped.get("link_down"), Some(&stats.offered_packets), "{stats:?}");
    Ok(())
}

#[test]
fn one_of_eight_has_no_carrier() -> Result<()> {
    needs_root!();
    let stats = seven_and(|network| network.namespace(SINK).run("ip link set v3 down").map(drop))?;
    assert_eq!(sum(&stats.dropped), stats.offered_packets, "{stats:?}");
    Ok(())
}

/// The far end fetches its packets every twenty minutes, and the near end has a queue, so it does not drop what the far end has no room for:
/// as a NIC behaves whose link is paused for ever.
#[test]
fn one_of_eight_never_completes() -> Result<()> {
    needs_root!();
    let stats = seven_and(|network| {
        let (relay, sink) = (network.relay(), network.namespace(SINK));
        // Only what is not segmented later goes through the far end's NAPI, and that is there with GRO.
        relay.run("ethtool -K v2 tso off gso off")?;
        sink.run("ethtool -K v3 gro on")?;
        relay.run("tc qdisc replace dev v2 root pfifo")?;
        let settings =
            "cd /sys/class/net/v3; echo 1200000000000 > gro_flush_timeout; echo 1000000 > napi_defer_hard_irqs";
        netns_tests::process::run(sink.command("sh").args(["-ec", settings]))?;
        // The first packets put the far end to sleep; none of these is answered.
        for _ in 0..3 {
            netns_tests::process::finish(relay.command("ping").args(["-c", "1", "-W", "1", "10.2.0.2"]))?;
        }
        Ok(())
    })?;
    // What the far end's own ring took before it was full counts as sent.
    let under_way = stats.offered_packets - stats.sent_packets - sum(&stats.dropped);
    ensure!(stats.sent_packets < 1_000, "it sends: nothing was shown: {stats:?}");
    assert_eq!(under_way, 2 * UNDER_WAY, "on both queues: {stats:?}");
    assert_eq!(stats.dropped.keys().map(String::as_str).collect::<Vec<_>>(), ["tx_ring_full"]);
    Ok(())
}

/// Sends to eight interfaces, the first of which is stopped by `stop`; its counters.
fn seven_and(stop: impl FnOnce(&Network) -> Result<()>) -> Result<Output> {
    let load = load(50_000, 4);
    let network = Topology::fan(2, OUTPUTS).build()?;
    let daemon = Daemon::start(network.relay(), &config(near), &["--workers", "2"])?;
    stop(&network)?;
    let counted = Counted::new(&network, 3..=OUTPUTS)?;
    let receiver = load.receive(network.namespace(SINK), &far(2), streams(2), Share::Alone)?;
    send(&network, &load)?;
    received_once(&load.received(receiver)?, &load)?;
    counted.came(load.packets())?;
    let stats = daemon.stats_at_rest()?;
    eprintln!("{stats:?}");
    let outputs = &stats.rule("fan").outputs;
    outputs[1..].iter().try_for_each(|output| all_sent(output, &load))?;
    assert_eq!(outputs[0].offered_packets, load.packets());
    let last = daemon.stop()?;
    assert_eq!(last.ingress_dropped, 0);
    assert_eq!(
        last.sent + last.egress_dropped,
        u64::from(OUTPUTS) * load.packets(),
        "the last line leaves packets out"
    );
    Ok(outputs[0].clone())
}

/// Sends all of the load, as fast as it says.
fn send(network: &Network, load: &Load) -> Result<()> {
    let from = network.namespace(GEN);
    let before = tx_dropped(from, "v0")?;
    let sent = load.sent(load.send(from, "v0", Share::Alone)?)?;
    eprintln!("{sent:?}");
    assert_eq!(
        (sent.packets, tx_dropped(from, "v0")? - before),
        (load.packets(), 0),
        "sent, dropped by the sender's interface"
    );
    ensure!(sent.rate_pps > load.rate as f64 * 0.95, "the sender was too slow: {sent:?}");
    Ok(())
}

fn all_sent(output: &Output, load: &Load) -> Result<()> {
    ensure!(
        output.sent_packets == load.packets() && sum(&output.dropped) == 0,
        "{} were sent, not all: {output:?}",
        load.packets()
    );
    Ok(())
}

/// Every packet once, and in order within its stream.
fn received_once(received: &Received, load: &Load) -> Result<()> {
    let Received { packets, lost, duplicated, reordered, foreign, receiver_dropped, checksum_errors } = *received;
    let wrong = lost + duplicated + reordered + foreign + receiver_dropped + checksum_errors;
    ensure!(packets == load.packets() && wrong == 0, "not exactly once: {received:?}");
    Ok(())
}
