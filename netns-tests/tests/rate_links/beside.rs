//! The untouched pair: 50,000 packets a second from v0 to v3 for as long as a row takes, each of which comes out once.

use std::{thread::sleep, time::Duration};

use anyhow::{Result, ensure};
use netns_tests::{
    account::REACHED,
    crossing::tx_dropped,
    daemon::Daemon,
    deadline::{SOON, until},
    probe::{Load, Share},
    process::Process,
    rules,
    stats::{Stats, sum},
    topology::{GEN, Network, SINK},
};
use nix::sys::signal::Signal;

/// Its end comes before the time is over.
const LOAD: Load = Load { first: rules::SENT, streams: STREAMS, rate: 50_000, size: 256, seconds: 120 };
/// Rules `stream-0` and so on.
pub const STREAMS: u16 = 10;
/// From v2 to the receiver's account: it sleeps for up to 16 ms at a time.
const ARRIVES: Duration = Duration::from_millis(100);

/// A load that is on.
pub struct Beside<'a> {
    network: &'a Network,
    daemon: &'a Daemon,
    before: Counts,
    receiver: Process,
    sender: Process,
}

/// Packets so far.
struct Counts {
    matched: u64,
    sent: u64,
    /// Those that the relay has dropped, and said so.
    dropped: u64,
    /// Those that v0 had no room for.
    before_relay: u64,
    /// Those that v3 had no room for.
    behind_relay: u64,
}

impl Counts {
    fn now(network: &Network, stats: &Stats) -> Result<Self> {
        let mut counts = Self {
            matched: 0,
            sent: 0,
            dropped: 0,
            before_relay: tx_dropped(network.namespace(GEN), "v0")?,
            behind_relay: tx_dropped(network.relay(), "v2")?,
        };
        for rule in (0..STREAMS).map(|i| stats.rule(&format!("stream-{i}"))) {
            let output = &rule.outputs[0];
            counts.matched += rule.matched_packets;
            counts.sent += output.sent_packets;
            counts.dropped += sum(&rule.dropped) + sum(&output.dropped);
        }
        Ok(counts)
    }
}

impl<'a> Beside<'a> {
    /// Starts it, and waits until it flows.
    pub fn start(network: &'a Network, daemon: &'a Daemon) -> Result<Self> {
        let before = Counts::now(network, &daemon.stats()?)?;
        let receiver = LOAD.receive(network.namespace(SINK), "v3", rules::RECEIVED, Share::Alone)?;
        let sender = LOAD.send(network.namespace(GEN), "v0", Share::Alone)?;
        let beside = Self { network, daemon, before, receiver, sender };
        until("the load", SOON, || Ok((beside.now()?.sent > beside.before.sent).then_some(())))?;
        Ok(beside)
    }

    fn now(&self) -> Result<Counts> {
        Counts::now(self.network, &self.daemon.stats()?)
    }

    /// Ends it. What did not come, and why, in words; nothing where all came.
    ///
    /// # Errors
    /// When packets lack of which nobody says that he dropped them, or came twice, or damaged.
    pub fn end(self) -> Result<Vec<String>> {
        self.sender.signal(Signal::SIGINT)?;
        let sent = LOAD.sent(self.sender)?;
        let Self { network, daemon, before, receiver, .. } = self;
        let after = until("the relay to have handled them all", SOON, || {
            let now = Counts::now(network, &daemon.stats()?)?;
            let handled = now.sent + now.dropped - before.sent - before.dropped;
            let reached = sent.packets - (now.before_relay - before.before_relay);
            Ok((now.matched - before.matched == handled && handled == reached).then_some(now))
        })?;
        sleep(ARRIVES);
        receiver.signal(Signal::SIGINT)?;
        let received = LOAD.received(receiver)?;
        ensure!(received.duplicated + received.foreign + received.checksum_errors == 0, "{received:?}");

        let causes = [
            ("v0", after.before_relay - before.before_relay),
            ("the relay", after.dropped - before.dropped),
            ("v3", after.behind_relay - before.behind_relay),
            ("the receiver", received.receiver_dropped),
        ];
        let dropped: u64 = causes.iter().map(|(_, packets)| packets).sum();
        ensure!(received.packets + dropped == sent.packets, "{sent:?}, {received:?}, dropped by {causes:?}");
        let mut words = Vec::new();
        if sent.rate_pps < LOAD.rate as f64 * REACHED {
            words.push(format!("the untouched pair was sent only {:.0} packets a second", sent.rate_pps));
        }
        let told = causes.iter().filter(|(_, packets)| *packets > 0);
        words.extend(told.map(|(place, packets)| format!("{place} dropped {packets} of the untouched pair's")));
        Ok(words)
    }
}
