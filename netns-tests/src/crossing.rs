//! One load from a sender, through whatever is between, to a receiver; and whether each packet came exactly once.

use std::net::Ipv4Addr;

use anyhow::{Result, ensure};

use crate::{
    account::Account,
    netns::Namespace,
    probe::{Load, Received, Sent, Share},
    rules,
    stats::Stats,
    topology::{GEN, Network, SINK},
    watch::{Watch, counter, wanted},
};

/// Both ends' summaries of one load.
#[derive(Clone, Debug)]
pub struct Crossing {
    /// What the sender says.
    pub sent: Sent,
    /// What the receiver says.
    pub received: Received,
    /// Packets that the sender's own interface dropped before the relay could see them.
    pub sender_dropped: u64,
}

impl Crossing {
    /// Sends `load` into a chain at v0 and receives its streams, translated by [`rules::streams`], at v3.
    pub fn of_chain(network: &Network, load: &Load) -> Result<Self> {
        Self::of_chain_to(network, load, rules::RECEIVED)
    }

    /// [`of_chain`](Self::of_chain) where the streams come out from `received` upwards.
    pub fn of_chain_to(network: &Network, load: &Load, received: (Ipv4Addr, u16)) -> Result<Self> {
        let (from, to) = (network.namespace(GEN), network.namespace(SINK));
        let before = tx_dropped(from, "v0")?;
        let receiver = load.receive(to, "v3", received, Share::Alone)?;
        let sent = load.sent(load.send(from, "v0", Share::Alone)?)?;
        let received = load.received(receiver)?;
        Ok(Self { sent, received, sender_dropped: tx_dropped(from, "v0")? - before })
    }

    /// Everything that is not as it must be when all of `load` crossed exactly once, however long it took.
    pub fn miscounted(&self, load: &Load) -> Vec<String> {
        let Self { sent, received, sender_dropped } = self;
        let all = load.packets();
        let mut wrong = Vec::new();
        for (what, count, wanted) in [
            ("sent by the sender", sent.packets, all),
            ("dropped by the sender's own interface", *sender_dropped, 0),
            ("received", received.packets, all),
            ("lost", received.lost, 0),
            ("duplicated", received.duplicated, 0),
            ("foreign", received.foreign, 0),
            ("dropped at the receiver's own sockets", received.receiver_dropped, 0),
            ("with a bad checksum at the receiver", received.checksum_errors, 0),
        ] {
            if count != wanted {
                wrong.push(format!("{what}: {count}, not {wanted}"));
            }
        }
        wrong
    }

    /// The account of `load`, which a relay forwarded that was watched and is at rest as `stats` say.
    pub fn account(&self, watch: Watch<'_>, stats: &Stats, load: &Load) -> Result<Account> {
        let offered = (self.sent.packets, self.sent.rate_pps);
        watch.end(stats, wanted(load), offered, |sent| sent, vec![self.received.clone()])
    }

    /// Whether all of `load` crossed exactly once, however long it took.
    ///
    /// # Errors
    /// Everything that is [miscounted](Self::miscounted).
    pub fn exactly_once(&self, load: &Load) -> Result<()> {
        let wrong = self.miscounted(load);
        ensure!(wrong.is_empty(), "not exactly once: {}", wrong.join("; "));
        Ok(())
    }
}

/// Packets that an interface dropped instead of sending: on a veth, those that its peer had no room for.
pub fn tx_dropped(namespace: &Namespace, interface: &str) -> Result<u64> {
    counter(namespace, interface, "tx_dropped")
}
