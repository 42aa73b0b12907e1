//! One packet in, eight out: to one interface and to eight, and to seven while the eighth stands still.

use std::{fmt::Write, net::Ipv4Addr};

use anyhow::{Context, Result, bail, ensure};
use netns_tests::{
    account::{Account, trials},
    daemon::Daemon,
    ledger::{self, Deleted},
    needs_root,
    probe::{Load, Share},
    rules,
    stats::{Output, Stats, sum},
    topology::{GEN, Network, SINK, Topology},
    watch::{self, Watch, counter, wanted},
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
        counter(self.network.namespace(SINK), far, "rx_packets")
    }

    /// Where it is not so many packets that have come, in words.
    ///
    /// # Errors
    /// Where more came.
    fn came(&self, wanted: u64) -> Result<Vec<String>> {
        let mut words = Vec::new();
        for (far, before) in &self.far {
            let came = self.now(far)? - before;
            ensure!(came <= wanted, "{far}: {came} packets came, not {wanted}");
            if came < wanted {
                words.push(format!("{far}: {} packets were lost behind the relay", wanted - came));
            }
        }
        Ok(words)
    }
}

/// Packets that overflow the rings on the way in disturb the trial, and each is counted; none may be lost on the way out. The first rate
/// is all that two CPUs carry, so a machine that is slower, or does other work meanwhile, is offered less the next time.
#[test]
fn eight_outputs_on_one_interface() -> Result<()> {
    needs_root!();
    let mut rate = 100_000;
    trials(|| {
        let disturbed = all_on_one_interface(rate)?;
        rate /= 2;
        Ok(disturbed)
    })
}

/// What disturbed it at `rate` packets a second; nothing where every packet came.
fn all_on_one_interface(rate: u64) -> Result<Vec<String>> {
    let load = load(rate, 5);
    let network = Topology::chain(2).build()?;
    let daemon = Daemon::start(network.relay(), &config(|_| "v2".into()), &["--workers", "2"])?;
    let (before, watch) = watch::begin(&network, &daemon, "v1", &["v2"])?;
    let counted = Counted::new(&network, 1..=1)?;
    let offered = send(&network, &load)?;
    let stats = daemon.stats_at_rest()?;
    eprintln!("{stats:?}");
    ledger::check(&stats, Deleted::None)?;
    ledger::check_frames(&before, &stats)?;
    let rule = stats.rule("fan");
    let account = watch.end(&stats, wanted(&load), offered, |_| 0, Vec::new())?;
    let overflowed = rule.dropped.get("rx_ring").copied().unwrap_or(0);
    let mut disturbed = Account { overflowed: 0, ..account }.judge()?;
    disturbed.extend((overflowed > 0).then(|| format!("{overflowed} packets found the rings full")));
    for output in &rule.outputs {
        let outcome = (output.sent_packets, sum(&output.dropped));
        assert_eq!(outcome, (rule.matched_packets - overflowed, 0), "{output:?}");
    }
    disturbed.extend(counted.came(u64::from(OUTPUTS) * (rule.matched_packets - overflowed))?);
    Ok(disturbed)
}

/// Half of the load, to an interface each, one with a real receiver behind it.
#[test]
fn eight_outputs_on_eight_interfaces() -> Result<()> {
    needs_root!();
    trials(all_on_eight_interfaces)
}

/// What disturbed it; nothing where every packet came.
fn all_on_eight_interfaces() -> Result<Vec<String>> {
    let load = load(50_000, 5);
    let network = Topology::fan(2, OUTPUTS).build()?;
    let daemon = Daemon::start(network.relay(), &config(near), &["--workers", "2"])?;
    let (before, watch) = watch_fan(&network, &daemon)?;
    let counted = Counted::new(&network, 2..=OUTPUTS)?;
    let receiver = load.receive(network.namespace(SINK), &far(1), streams(1), Share::Alone)?;
    let offered = send(&network, &load)?;
    let received = load.received(receiver)?;
    let stats = daemon.stats_at_rest()?;
    eprintln!("{stats:?}");
    ledger::check(&stats, Deleted::None)?;
    ledger::check_frames(&before, &stats)?;
    let rule = stats.rule("fan");
    let account = watch.end(&stats, wanted(&load), offered, |sent| sent / u64::from(OUTPUTS), vec![received])?;
    let mut disturbed = account.judge()?;
    in_order(&account);
    let through = rule.matched_packets - sum(&rule.dropped);
    rule.outputs.iter().try_for_each(|output| all_sent(output, through))?;
    disturbed.extend(counted.came(through)?);
    Ok(disturbed)
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
fn seven_and(stop: impl Fn(&Network) -> Result<()>) -> Result<Output> {
    let mut first = None;
    trials(|| {
        let (output, disturbed) = with_one_stopped(&stop)?;
        first = Some(output);
        Ok(disturbed)
    })?;
    first.context("no trial was made")
}

/// The counters of the output that is stopped, and what disturbed the others.
fn with_one_stopped(stop: impl Fn(&Network) -> Result<()>) -> Result<(Output, Vec<String>)> {
    let load = load(50_000, 4);
    let network = Topology::fan(2, OUTPUTS).build()?;
    let daemon = Daemon::start(network.relay(), &config(near), &["--workers", "2"])?;
    stop(&network)?;
    let (_, watch) = watch_fan(&network, &daemon)?;
    let counted = Counted::new(&network, 3..=OUTPUTS)?;
    let receiver = load.receive(network.namespace(SINK), &far(2), streams(2), Share::Alone)?;
    let offered = send(&network, &load)?;
    let received = load.received(receiver)?;
    let stats = daemon.stats_at_rest()?;
    eprintln!("{stats:?}");
    let rule = stats.rule("fan");
    let [stopped, others @ ..] = &rule.outputs[..] else { bail!("no outputs: {rule:?}") };
    let through = rule.matched_packets - sum(&rule.dropped);
    let account = watch.end(&stats, wanted(&load), offered, |_| through, vec![received])?;
    // Of the output that is stopped all may be lost, or in a ring for ever.
    let (sent, not_sent) = (account.sent - stopped.sent_packets, account.not_sent - sum(&stopped.dropped));
    let mut disturbed = Account { sent, not_sent, ..account.clone() }.judge()?;
    in_order(&account);
    others.iter().try_for_each(|output| all_sent(output, through))?;
    assert_eq!(stopped.offered_packets, through);
    disturbed.extend(counted.came(through)?);
    let first = stopped.clone();
    let last = daemon.stop()?;
    assert_eq!(last.ingress_dropped, account.overflowed);
    assert_eq!(last.sent + last.egress_dropped, u64::from(OUTPUTS) * through, "the last line leaves packets out");
    Ok((first, disturbed))
}

/// Watches the relay of the fan.
fn watch_fan<'a>(network: &'a Network, daemon: &Daemon) -> Result<(Stats, Watch<'a>)> {
    let egresses: Vec<String> = (1..=OUTPUTS).map(near).collect();
    watch::begin(network, daemon, "v1", &egresses.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Sends the load; how many packets, and at what rate.
fn send(network: &Network, load: &Load) -> Result<(u64, f64)> {
    let sent = load.sent(load.send(network.namespace(GEN), "v0", Share::Alone)?)?;
    eprintln!("{sent:?}");
    Ok((sent.packets, sent.rate_pps))
}

fn all_sent(output: &Output, matched: u64) -> Result<()> {
    ensure!(output.sent_packets == matched && sum(&output.dropped) == 0, "{matched} were to be sent: {output:?}");
    Ok(())
}

/// Every packet came in order within its stream.
fn in_order(account: &Account) {
    assert!(account.received.iter().all(|one| one.reordered == 0), "{account:?}");
}
