//! `mcrprobe` at both ends: numbered streams into the relay, and their judgement behind it.

use std::{collections::HashSet, net::Ipv4Addr, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    deadline::{SOON, until},
    netns::Namespace,
    process::{Finished, Process},
    programs,
    rules::stream,
};

/// How a probe shares the machine with the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// As test equipment: it is as important as the relay's workers, and what else the machine does must not disturb it.
    Alone,
    /// As one of many, wherever the scheduler likes.
    Many,
}
/// A receiver that lacks packets ends when nothing has come for this long.
const IDLE: Duration = Duration::from_secs(3);
/// Against hangs: a receiver waits 30 s for its first packet.
const LIMIT: Duration = Duration::from_secs(60);

impl Share {
    fn started(self, command: Command) -> Command {
        match self {
            Self::Alone => programs::before(&["nice", "-n", "-19"], &command),
            Self::Many => command,
        }
    }
}

/// What is sent: `streams` streams from `first` upwards (see [`stream`]).
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Group and port of stream 0.
    pub first: (Ipv4Addr, u16),
    /// How many streams.
    pub streams: u16,
    /// Packets a second, over all streams.
    pub rate: u64,
    /// Ethernet frame in bytes, without FCS.
    pub size: u32,
    /// For how long.
    pub seconds: u64,
}

/// What `mcrprobe --json send` ends with, as far as it is judged.
#[derive(Clone, Debug, Deserialize)]
pub struct Sent {
    /// Packets sent, over all streams.
    pub packets: u64,
    /// Packets a second, measured.
    pub rate_pps: f64,
}

/// What `mcrprobe --json recv` ends with, as far as it is judged.
#[derive(Clone, Debug, Deserialize)]
pub struct Received {
    /// Different packets received, over all streams.
    pub packets: u64,
    /// Numbers that never came.
    pub lost: u64,
    /// Packets that came again.
    pub duplicated: u64,
    /// Packets that came after a later one.
    pub reordered: u64,
    /// Packets that were not of these streams.
    pub foreign: u64,
    /// Of the lost, those that the kernel dropped at the receiver's own sockets.
    pub receiver_dropped: u64,
    /// UDP packets with a bad checksum in the receiver's namespace meanwhile.
    pub checksum_errors: u64,
}

impl Load {
    /// All packets, over all streams.
    pub fn packets(&self) -> u64 {
        self.rate * self.seconds
    }

    /// The words after `mcrprobe` that send it from `interface`.
    pub fn send_words(&self, interface: &str) -> Vec<String> {
        let mut words = words("send", interface, self.first, self.streams);
        let numbers = format!("--rate {} --size {} --count {}", self.rate, self.size, self.packets());
        words.extend(numbers.split(' ').map(String::from));
        words
    }

    /// The words after `mcrprobe` that receive it, as streams from `first` upwards, on `interface`.
    pub fn receive_words(&self, interface: &str, first: (Ipv4Addr, u16)) -> Vec<String> {
        let mut words = words("recv", interface, first, self.streams);
        let numbers = format!("--count {} --idle {}", self.packets(), IDLE.as_millis());
        words.extend(numbers.split(' ').map(String::from));
        words
    }

    /// Starts sending from `interface`.
    pub fn send(&self, namespace: &Namespace, interface: &str, share: Share) -> Result<Process> {
        let mut command = namespace.command(programs::path("mcrprobe")?);
        command.args(self.send_words(interface));
        Process::spawn(&mut share.started(command))
    }

    /// Waits for a sender's end, which must be a success.
    pub fn sent(&self, sender: Process) -> Result<Sent> {
        report(&sender.wait(Duration::from_secs(self.seconds) + LIMIT)?.success()?)
    }

    /// Starts to receive all of it, as streams from `first` upwards, on `interface`; their groups are joined when this
    /// returns. It ends when all has come, or nothing for a while.
    pub fn receive(
        &self,
        namespace: &Namespace,
        interface: &str,
        first: (Ipv4Addr, u16),
        share: Share,
    ) -> Result<Process> {
        let mut command = namespace.command(programs::path("mcrprobe")?);
        command.args(self.receive_words(interface, first));
        let process = Process::spawn(&mut share.started(command))?;
        joined(namespace, interface, first.0, self.streams).with_context(|| process.stderr())?;
        Ok(process)
    }

    /// Waits for a receiver's end, and returns its summary whatever it judged.
    pub fn received(&self, receiver: Process) -> Result<Received> {
        let finished = receiver.wait(Duration::from_secs(self.seconds) + LIMIT)?;
        // 1 is its judgement that something is wrong, which the summary says better.
        ensure!(matches!(finished.status.code(), Some(0 | 1)), "{}", finished.told());
        report(&finished)
    }
}

/// Waits until `interface` is a member of `n` groups from `first` upwards.
pub fn joined(namespace: &Namespace, interface: &str, first: Ipv4Addr, n: u16) -> Result<()> {
    until(&format!("{n} memberships on {interface}"), SOON, || {
        let all = namespace.run(&format!("ip maddr show dev {interface}"))?;
        let groups: HashSet<&str> = all.split_whitespace().collect();
        Ok((0..n).all(|i| groups.contains(&*stream((first, 0), i).0.to_string())).then_some(()))
    })
}

fn words(what: &str, interface: &str, first: (Ipv4Addr, u16), streams: u16) -> Vec<String> {
    let (group, port) = first;
    let line = format!("{what} --json --iface {interface} --group {group} --port {port} --streams {streams}");
    line.split(' ').map(String::from).collect()
}

/// The summary that `mcrprobe` ended with.
pub fn report<T: DeserializeOwned>(finished: &Finished) -> Result<T> {
    serde_json::from_str(&finished.stdout).with_context(|| format!("no summary from {}", finished.told()))
}
