//! A fault, the stream that meets it, and what `mcrctl explain` says of it.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use netns_tests::{
    daemon::Daemon,
    deadline::{SOON, until},
    packet::Packet,
    raw::Wire,
    topology::{GEN, Network, SINK, Topology},
};
use serde_json::{Value, json};

/// Between two packets of a stream.
const PERIOD: Duration = Duration::from_millis(4);

/// What the rule `feed` wants, from the sender's own address.
pub fn packet() -> Packet {
    Packet { source: Ipv4Addr::new(10, 1, 0, 1), ..Packet::new([239, 1, 1, 1].into(), 5001) }
}

/// One frame, again and again from v0, for as long as this lives; none where the frame is empty.
pub struct Stream {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Stream {
    /// Begins to send.
    pub fn begin(network: &Network, frame: Vec<u8>) -> Result<Self> {
        let wire = Wire::open(network.namespace(GEN), "v0")?;
        let ended = Arc::new(AtomicBool::new(false));
        let told = ended.clone();
        let thread = thread::spawn(move || {
            while !told.load(Relaxed) {
                if !frame.is_empty() {
                    // The other end may be down, which is what the fault is about.
                    let _ = wire.send(&frame);
                }
                thread::sleep(PERIOD);
            }
        });
        Ok(Self { ended, thread: Some(thread) })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.ended.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What `explain NAME` said.
#[derive(Debug)]
pub struct Told {
    /// The first line.
    pub first: String,
    /// The rule's state.
    pub state: String,
    /// The first finding's command.
    pub fix: Option<String>,
    /// Findings that are problems.
    pub problems: usize,
}

/// Asks twice, as text and as JSON, which must agree on the first finding.
pub fn explain(daemon: &Daemon, rule: &str) -> Result<Told> {
    let text = daemon.ctl(&["explain", rule, "--seconds", "1"])?.exited(1)?;
    let json = daemon.ctl(&["--json", "explain", rule, "--seconds", "1"])?.exited(1)?;
    let value: Value = serde_json::from_str(&json.stdout).with_context(|| json.told())?;
    ensure!(value["rule"] == rule, "{value}");
    let findings = value["findings"].as_array().context("findings")?;
    let cause = findings.first().context("a finding")?;
    ensure!(cause["result"] == "problem" && cause["check"].is_string() && cause["where"].is_string(), "{value}");
    let first = text.stdout.lines().next().unwrap_or_default().to_owned();
    let fix = cause["fix"].as_str().map(str::to_owned);
    if let Some(fix) = &fix {
        ensure!(first.ends_with(&format!("; fix: {fix}")), "{first:?}, {fix:?}");
    }
    let problems = findings.iter().filter(|finding| finding["result"] == "problem").count();
    Ok(Told { first, state: value["state"].as_str().unwrap_or_default().to_owned(), fix, problems })
}

/// Something that is wrong with one rule, `feed` from v1 to v2.
#[derive(Default)]
pub struct Fault<'a> {
    /// For messages.
    pub name: &'a str,
    /// What is sent.
    pub frame: Vec<u8>,
    /// Flags of the rule, beside or in place of those that [`packet`] matches.
    pub flags: &'a [&'a str],
    /// What is done in which namespace, by `ip`.
    pub change: (&'a str, &'a str),
    /// What the first line says.
    pub says: &'a [&'a str],
    /// The command in it.
    pub fix: Option<&'a str>,
}

impl Fault<'_> {
    /// Makes it, asks, and runs the fix: then the stream arrives at the other end.
    pub fn check(&self) -> Result<()> {
        self.happen().with_context(|| self.name.to_owned())
    }

    fn happen(&self) -> Result<()> {
        let network = Topology::chain(1).build()?;
        let daemon = Daemon::start(network.relay(), "", &[])?;
        daemon.done(&add(self.flags))?;
        let (namespace, change) = self.change;
        if !namespace.is_empty() {
            network.ip(namespace, change)?;
        }
        let _stream = Stream::begin(&network, self.frame.clone())?;
        let mut last = String::new();
        // Links and counters are looked at twice a second.
        let told = until("explain to name the cause", SOON, || {
            let Ok(told) = explain(&daemon, "feed").inspect_err(|error| last = format!("{error:#}")) else {
                return Ok(None);
            };
            last = format!("{told:?}");
            Ok(self.says.iter().all(|part| told.first.contains(part)).then_some(told))
        })
        .with_context(|| format!("{:?}; last: {last}", self.says))?;
        eprintln!("{}: {}", self.name, told.first);
        ensure!(told.fix.as_deref() == self.fix, "{told:?}");
        ensure!(told.state != "active", "{told:?}");
        let Some(fix) = self.fix else { return Ok(()) };
        match fix.strip_prefix("mcrctl ") {
            Some(words) => self.change_rule(&daemon, words)?,
            None => drop(network.relay().run(fix)?),
        }
        let far = Wire::open(network.namespace(SINK), "v3")?;
        until("the stream to arrive", SOON, || {
            let frames = far.received()?;
            Ok(frames.iter().any(|frame| read("v2", frame).is_some()).then_some(()))
        })
    }

    fn change_rule(&self, daemon: &Daemon, words: &str) -> Result<()> {
        let words: Vec<&str> = words.split(' ').collect();
        daemon.done(&words).map(drop)
    }
}

/// The words that add the rule; a flag that is given takes the place of its like.
fn add(flags: &[&str]) -> Vec<String> {
    let mut words: Vec<&str> = "rule add --name feed --in v1".split(' ').collect();
    let given = |flag: &str| flags.contains(&flag);
    for own in [["--group", "239.1.1.1"], ["--port", "5001"], ["--out", "v2"]] {
        if !given(own[0]) {
            words.extend(own);
        }
    }
    words.extend(flags);
    words.into_iter().map(String::from).collect()
}

/// A frame's source port, and what it is as an output of `explain --in` tells it; `None` for what is no multicast UDP.
pub fn read(near: &str, frame: &[u8]) -> Option<(u16, String, Value)> {
    let sliced = SlicedPacket::from_ethernet(frame).ok()?;
    let (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Udp(udp))) = (&sliced.net, &sliced.transport) else {
        return None;
    };
    let header = ip.header();
    if !header.destination_addr().is_multicast() || header.destination_addr().octets()[..3] == [224, 0, 0] {
        return None;
    }
    let output = json!({
        "interface": near,
        "vlan": sliced.vlan_ids().first().map(|id| id.value()),
        "source": header.source_addr(),
        "group": header.destination_addr(),
        "port": udp.destination_port(),
        "ttl": header.ttl(),
        "bytes": frame.len(),
    });
    Some((udp.source_port(), output["interface"].to_string(), output))
}
