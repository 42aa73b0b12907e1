//! A network with the sender at one end and the sink at the other, and one trial between them.

use std::{
    net::Ipv4Addr,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use netns_tests::{
    netns::Namespace,
    process, rules,
    topology::{End, GEN, Link, Network, SINK, Topology},
};

use super::{
    delays::Delays,
    frame::Origin,
    kernel::Programs,
    layout::Streams,
    socket::{self, Pace},
};
use crate::machine::interface::tx_dropped;

/// Nothing has come for this long: nothing more will.
const QUIET: Duration = Duration::from_millis(30);
/// However long it goes on coming: a queue of hundreds of sockets is emptied by then.
const DRAINED: Duration = Duration::from_secs(3);

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sender {
    /// The kernel's: it reaches every rate here, and keeps its CPU.
    Kernel,
    /// A packet socket: below 300,000 a second.
    Socket(Pace),
}

/// What is sent in a trial.
#[derive(Clone, Copy, Debug)]
pub struct Trial {
    /// Bytes of an Ethernet frame, without FCS.
    pub size: u32,
    /// Packets in all.
    pub packets: u32,
    /// Packets a second; none is as fast as it goes.
    pub rate: Option<f64>,
    /// By whom.
    pub sender: Sender,
    /// The delay of every packet, not of one in 16.
    pub every_delay: bool,
}

/// What came of a trial.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Packets sent.
    pub offered: u64,
    /// Seconds of sending.
    pub seconds: f64,
    /// Packets that had to come: one for each output.
    pub expected: u64,
    /// Different packets that came.
    pub delivered: u64,
    /// Packets that came more than once, or were of no stream.
    pub wrong: u64,
    /// Packets that the sender's interface dropped.
    pub sender_dropped: u64,
    /// From the first that came to the last, in seconds.
    pub span: f64,
    /// How long they took.
    pub delays: Delays,
}

impl Outcome {
    /// Packets that did not come.
    pub fn lost(&self) -> u64 {
        self.expected.saturating_sub(self.delivered)
    }

    /// Packets offered a second.
    pub fn rate(&self) -> f64 {
        self.offered as f64 / self.seconds.max(1e-9)
    }

    /// Packets delivered a second, over all outputs.
    pub fn goodput(&self) -> f64 {
        self.delivered as f64 / self.span.max(self.seconds).max(1e-9)
    }
}

/// The network, and what is at both its ends.
pub struct Stage {
    /// The bench's programs.
    pub programs: Programs,
    /// The namespaces.
    pub network: Network,
    origin: Origin,
}

impl Stage {
    /// `gen (v0)-(v1) relay (v2)-(v3) sink`: a forwarder belongs between v1 and v2.
    pub fn chain() -> Result<Self> {
        Self::build(&Topology::chain(1), Some("v1"))
    }

    /// `gen (v0)-(v3) sink`: the bare wire.
    pub fn wire() -> Result<Self> {
        let ends = [End::sender(GEN, "v0", "10.1.0.1/24"), End::host(SINK, "v3", "10.1.0.2/24")];
        let topology = Topology {
            namespaces: [GEN, SINK].map(String::from).into(),
            links: vec![Link { queues: 1, ends }],
            ..Topology::default()
        };
        Self::build(&topology, None)
    }

    fn build(topology: &Topology, ingress: Option<&str>) -> Result<Self> {
        let network = topology.build()?;
        let mut programs = Programs::load()?;
        programs.attach_sink(network.namespace(SINK), "v3")?;
        if let Some(ingress) = ingress {
            // A veth without an XDP program takes frames of the in-kernel sender only by NAPI, which it has with GRO; all else
            // has it too.
            network.relay().run(&format!("ethtool -K {ingress} gro on"))?;
        }
        let origin = Origin { source: Ipv4Addr::new(10, 1, 0, 1), mac: mac(network.namespace(GEN), "v0")? };
        Ok(Self { programs, network, origin })
    }

    /// The sending end.
    pub fn sender(&self) -> &Namespace {
        self.network.namespace(GEN)
    }

    /// Sends `streams` and counts them as they must come: from `to` upwards, at each of `outputs`.
    pub fn trial(&mut self, trial: &Trial, streams: Streams, to: (Ipv4Addr, u16), outputs: u32) -> Result<Outcome> {
        let expected = Streams { group: to.0.to_bits(), port: u32::from(to.1), ..streams };
        let run = self.programs.expect(expected, outputs, trial.packets, trial.every_delay)?;
        let (size, packets) = (trial.size, trial.packets);
        let from = self.network.namespace(GEN);
        let before = tx_dropped(from, "v0")?;
        let seconds = match trial.sender {
            Sender::Kernel => self.programs.send(from, "v0", (streams, self.origin), (size, packets, trial.rate))?,
            Sender::Socket(pace) => {
                let rate = trial.rate.context("a packet socket needs a rate")?;
                socket::send(from, "v0", (streams, self.origin, run), (size, packets, rate), pace)?
            }
        };
        self.settle()?;
        let tally = self.programs.tally()?;
        Ok(Outcome {
            offered: u64::from(packets),
            seconds,
            expected: u64::from(packets) * u64::from(outputs),
            delivered: tally.unique,
            wrong: tally.duplicated + tally.foreign,
            sender_dropped: tx_dropped(from, "v0")? - before,
            span: tally.last.saturating_sub(tally.first) as f64 / 1e9,
            delays: self.programs.delays()?,
        })
    }

    /// Sends a packet of each stream until every one has come to every output as it must.
    ///
    /// # Errors
    /// When they do not all come in time, or come changed otherwise than expected.
    pub fn warm_up(&mut self, streams: Streams, to: (Ipv4Addr, u16), outputs: u32, limit: Duration) -> Result<()> {
        let trial = Trial {
            size: 128,
            packets: streams.count,
            rate: Some(20_000.0),
            sender: Sender::Socket(Pace::Sleeping),
            every_delay: false,
        };
        let streams = Streams { scattered: 0, ..streams };
        let start = Instant::now();
        loop {
            let outcome = self.trial(&trial, streams, to, outputs)?;
            if outcome.lost() == 0 && outcome.wrong == 0 {
                return Ok(());
            }
            let Outcome { delivered, expected, wrong, .. } = outcome;
            ensure!(
                start.elapsed() < limit,
                "not every stream is forwarded as it must be: {delivered} of {expected} packets came, {wrong} others"
            );
        }
    }

    fn settle(&self) -> Result<()> {
        let count = || -> Result<u64> {
            let tally = self.programs.tally()?;
            Ok(tally.unique + tally.duplicated + tally.foreign + tally.stale)
        };
        let start = Instant::now();
        let (mut last, mut since) = (count()?, start);
        while since.elapsed() < QUIET && start.elapsed() < DRAINED {
            sleep(Duration::from_millis(5));
            let now = count()?;
            if now != last {
                (last, since) = (now, Instant::now());
            }
        }
        Ok(())
    }
}

/// `count` streams as they are sent, round robin.
pub fn streams(count: u32) -> Streams {
    Streams { group: rules::SENT.0.to_bits(), port: u32::from(rules::SENT.1), count, scattered: 0 }
}

/// An interface's Ethernet address.
pub fn mac(namespace: &Namespace, interface: &str) -> Result<[u8; 6]> {
    let text = process::run(namespace.command("cat").arg(format!("/sys/class/net/{interface}/address")))?;
    let bytes: Option<Vec<u8>> = text.trim().split(':').map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    bytes.and_then(|bytes| bytes.try_into().ok()).with_context(|| format!("{interface} has the address {text:?}"))
}
