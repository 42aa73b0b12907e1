//! `cargo xtask run` with no interface: the main job, shown on a throw-away topology of network namespaces.

use std::{
    io::{Write, stdout},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use netns_tests::{
    account::REACHED,
    crossing::{Crossing, tx_dropped},
    daemon::{Daemon, Final},
    ledger,
    numbers::grouped,
    probe::{Load, Share},
    rules,
    stats::{Stats, sum},
    topology::{GEN, SINK, Topology},
};

/// 50 streams of 3,000 packets a second.
const STREAMS: Load = Load { first: rules::SENT, streams: 50, rate: 150_000, size: 1_024, seconds: 10 };
/// One stream of 150,000 packets a second, for a minute.
const SOAK: Load = Load { first: rules::SENT, streams: 1, rate: 150_000, size: 1_024, seconds: 60 };

/// Sends streams through an `mcrd` of their own, shows its counters each second, and ends with the verdict.
///
/// With `soak` it is one stream of 9,000,000 packets, else 50 of 30,000 each. Needs root, `ip`, and the programs of
/// this workspace. Everything it made is gone when it returns, also after Ctrl-C, SIGTERM or a lost terminal.
///
/// # Errors
/// When the verdict is FAIL, when something could not be set up, or when it was interrupted.
pub fn demo(soak: bool) -> Result<()> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
    }
    let load = if soak { SOAK } else { STREAMS };
    let outcome = forward(&load, &interrupted)?;
    verdict(&load, &outcome)
}

/// What everyone involved said at the end.
struct Outcome {
    crossing: Crossing,
    stats: Stats,
    last_words: Final,
}

fn forward(load: &Load, interrupted: &AtomicBool) -> Result<Outcome> {
    println!("gen (v0)-(v1) relay (v2)-(v3) sink: network namespaces, mcrd in the middle");
    let network = Topology::chain(1).build()?;
    let config = rules::file(&rules::streams(load.streams, "v1", "v2"));
    let daemon = Daemon::start(network.relay(), &config, &[])?;
    for interface in &daemon.stats()?.interfaces {
        println!("{}: {}, XDP {}, AF_XDP {}", interface.name, interface.driver, interface.xdp, interface.xsk);
    }
    let receiver = load.receive(network.namespace(SINK), "v3", rules::RECEIVED, Share::Alone)?;
    let sender = load.send(network.namespace(GEN), "v0", Share::Alone)?;

    println!(
        "{} stream{}, {} packets a second of {} B in all, {} s\n",
        load.streams,
        if load.streams == 1 { "" } else { "s" },
        grouped(load.rate),
        load.size,
        load.seconds
    );
    println!("{:>6} {:>14} {:>14} {:>12} {:>12}", "second", "matched", "sent", "dropped", "sent/s");
    let mut live = Live::new(&daemon.stats()?);
    loop {
        ensure!(!interrupted.load(Ordering::Relaxed), "interrupted: everything is cleaned up");
        sleep(Duration::from_millis(50));
        if sender.running()? {
            live.show(&daemon)?;
        } else if !receiver.running()? {
            break;
        }
    }
    let crossing = Crossing {
        sent: load.sent(sender)?,
        received: load.received(receiver)?,
        sender_dropped: tx_dropped(network.namespace(GEN), "v0")?,
    };
    let stats = daemon.stats_at_rest()?;
    let last_words = daemon.stop()?;
    Ok(Outcome { crossing, stats, last_words })
}

/// The counters, a line each second.
struct Live {
    shown: Instant,
    /// The daemon's clock at the first line, and at the last with the packets sent by then.
    start: f64,
    last: (f64, u64),
}

impl Live {
    fn new(stats: &Stats) -> Self {
        let now = stats.uptime_seconds;
        Self { shown: Instant::now(), start: now, last: (now, stats.totals.sent_packets) }
    }

    fn show(&mut self, daemon: &Daemon) -> Result<()> {
        if self.shown.elapsed() < Duration::from_secs(1) {
            return Ok(());
        }
        self.shown = Instant::now();
        let Stats { uptime_seconds: now, totals, .. } = daemon.stats()?;
        let rate = (totals.sent_packets - self.last.1) as f64 / (now - self.last.0);
        println!(
            "{:>6.0} {:>14} {:>14} {:>12} {:>12}",
            now - self.start,
            grouped(totals.matched_packets),
            grouped(totals.sent_packets),
            grouped(sum(&totals.dropped) + sum(&totals.output_dropped)),
            grouped(rate.round() as u64)
        );
        stdout().flush()?;
        self.last = (now, totals.sent_packets);
        Ok(())
    }
}

fn verdict(load: &Load, outcome: &Outcome) -> Result<()> {
    let Outcome { crossing, stats, last_words } = outcome;
    let Crossing { sent, received, .. } = crossing;
    let totals = &stats.totals;
    println!();
    for (name, value) in [
        ("streams", u64::from(load.streams)),
        ("rate", sent.rate_pps.round() as u64),
        ("offered", sent.packets),
        ("matched", totals.matched_packets),
        ("sent", totals.sent_packets),
        ("received", received.packets),
        ("lost", received.lost),
        ("duplicated", received.duplicated),
        ("reordered", received.reordered),
        ("foreign", received.foreign),
    ] {
        println!("{name:<12} {:>12}", grouped(value));
    }

    let all = load.packets();
    let mut wrong = crossing.miscounted(load);
    let rate = crossing.sent.rate_pps;
    if rate < load.rate as f64 * REACHED {
        wrong.push(format!("the sender reached only {rate:.0} of {} packets a second", load.rate));
    }
    for (what, count) in [
        ("matched", totals.matched_packets),
        ("sent", totals.sent_packets),
        ("matched in mcrd's FINAL line", last_words.matched),
        ("sent in mcrd's FINAL line", last_words.sent),
    ] {
        if count != all {
            wrong.push(format!("{what}: {count}, not {all}"));
        }
    }
    for (why, count) in totals.dropped.iter().chain(&totals.output_dropped).filter(|(_, count)| **count != 0) {
        wrong.push(format!("mcrd dropped {count} ({why})"));
    }
    if let Err(error) = ledger::check(stats, ledger::Deleted::None) {
        wrong.push(error.to_string());
    }
    if wrong.is_empty() {
        println!("\nPASS");
        return Ok(());
    }
    println!("\nFAIL");
    bail!("{}", wrong.join("; "))
}
