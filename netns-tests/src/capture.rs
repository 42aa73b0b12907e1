//! `mcrctl capture` at work, and its files as the real tshark reads them.

use std::{collections::BTreeMap, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

use crate::{
    daemon::Daemon,
    deadline::{SOON, until},
    process::{Finished, Process, finish_within},
    programs,
    stats::{Rule, sum},
};

/// tshark takes tens of seconds for a large file while others are busy.
const READING: Duration = Duration::from_secs(120);

/// A capture under way.
pub struct Capture(Process);

/// A packet of a capture's file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captured {
    /// The name of the interface block: `v1 in`, `v2 out feed-a/1`.
    pub point: String,
    /// Its comments.
    pub comments: Vec<String>,
    /// Bytes that it had.
    pub length: u32,
    /// Bytes that were kept.
    pub kept: u32,
    /// Destination address.
    pub group: String,
    /// Destination port.
    pub port: String,
    /// Time to live.
    pub ttl: String,
    /// VLAN ID.
    pub vlan: String,
    /// Payload, in hexadecimal.
    pub payload: String,
}

/// Captured and lost, by point.
pub type Sums = BTreeMap<String, (u64, u64)>;

impl Capture {
    /// Starts `mcrctl capture` with `words`; what comes from now on is captured.
    pub fn start(daemon: &Daemon, words: &[&str]) -> Result<Self> {
        let mut command = Command::new(programs::path("mcrctl")?);
        let process = Process::spawn(command.arg("--socket").arg(daemon.files().socket()).arg("capture").args(words))?;
        until("the capture's beginning", SOON, || {
            ensure!(process.running()?, "it has ended: {}", process.stderr());
            Ok(process.stderr().contains("Ctrl-C ends it").then_some(()))
        })?;
        Ok(Self(process))
    }

    /// The process.
    pub fn process(&self) -> &Process {
        &self.0
    }

    /// Waits until it has ended by itself.
    pub fn wait(self) -> Result<Finished> {
        self.0.wait(SOON)
    }

    /// Ends it as Ctrl-C does.
    pub fn end(self) -> Result<Finished> {
        self.0.signal(Signal::SIGINT)?;
        self.0.wait(SOON)?.success()
    }
}

/// What a capture has said of each point at its end.
pub fn sums(finished: &Finished) -> Result<Sums> {
    let mut sums = Sums::new();
    for line in finished.stderr.lines().filter(|line| !line.starts_with("mcrctl:")) {
        let (point, counts) = line.split_once(": ").with_context(|| finished.told())?;
        let words: Vec<&str> = counts.split(' ').collect();
        let [captured, "packet" | "packets", "captured,", lost, "lost", "by", "the", "capture"] = words[..] else {
            anyhow::bail!("not a sum: {line:?}");
        };
        sums.insert(point.to_owned(), (captured.parse()?, lost.parse()?));
    }
    Ok(sums)
}

/// What each point of a rule must come to, by its counters before and after.
pub fn counted(ingress: &str, before: &Rule, after: &Rule) -> BTreeMap<String, u64> {
    let overflowed = |rule: &Rule| rule.dropped.get("rx_ring").copied().unwrap_or(0);
    let received = |rule: &Rule| rule.matched_packets - overflowed(rule);
    let dropped = |rule: &Rule| sum(&rule.dropped) - overflowed(rule);
    let mut counted = BTreeMap::from([
        (format!("{ingress} in"), received(after) - received(before)),
        (format!("{ingress} dropped"), dropped(after) - dropped(before)),
    ]);
    for (at, (before, after_output)) in before.outputs.iter().zip(&after.outputs).enumerate() {
        let (interface, label) = (&after_output.interface, format!("{}/{}", after.name, at + 1));
        let sent = after_output.sent_packets - before.sent_packets;
        counted.insert(format!("{interface} out {label}"), sent);
        counted.insert(format!("{interface} dropped {label}"), sum(&after_output.dropped) - sum(&before.dropped));
    }
    counted
}

/// What is wrong with the sums of a capture of one rule: captured and lost at each point are to be what the counters say.
pub fn unequal(sums: &Sums, counted: &BTreeMap<String, u64>) -> Vec<String> {
    let all =
        counted.iter().map(|(point, count)| (point, *count, sums.get(point).map(|(captured, lost)| captured + lost)));
    let wrong = all.filter(|(_, count, sum)| *sum != Some(*count));
    wrong.map(|(point, count, sum)| format!("{point}: {sum:?} captured and lost, but {count} counted")).collect()
}

/// The packets of a file, as tshark reads it.
///
/// # Errors
/// tshark finds anything wrong with it.
pub fn tshark(file: &Path) -> Result<Vec<Captured>> {
    let mut command = Command::new("tshark");
    command.arg("-r").arg(file).args(["-n", "-T", "fields", "-E", "separator=|", "-E", "aggregator=;"]);
    let fields = [
        "frame.interface_name",
        "frame.comment",
        "frame.len",
        "frame.cap_len",
        "ip.dst",
        "udp.dstport",
        "ip.ttl",
        "vlan.id",
        "udp.payload",
    ];
    for field in fields {
        command.args(["-e", field]);
    }
    let finished = finish_within(&mut command, READING)?.success()?;
    // As root it says on stderr that this is dangerous; an error in the file has words of its own.
    ensure!(!finished.stderr.contains("corrupt") && !finished.stderr.contains("cut short"), "{}", finished.stderr);
    finished.stdout.lines().map(captured).collect()
}

fn captured(line: &str) -> Result<Captured> {
    let mut fields = line.split('|');
    let mut next = || fields.next().map(str::to_owned).with_context(|| format!("too few fields: {line}"));
    Ok(Captured {
        point: next()?,
        comments: next()?.split(';').map(str::to_owned).collect(),
        length: next()?.parse()?,
        kept: next()?.parse()?,
        group: next()?,
        port: next()?,
        ttl: next()?,
        vlan: next()?,
        payload: next()?,
    })
}

/// How many packets there are of each point.
pub fn by_point(packets: &[Captured]) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    packets.iter().for_each(|packet| *counts.entry(packet.point.clone()).or_default() += 1);
    counts
}
