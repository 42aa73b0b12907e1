//! The same packets, judged by tcpdump.

use std::{path::PathBuf, process::Command};

use anyhow::{Result, ensure};
use netns_tests::{
    deadline::{SOON, until},
    netns::Namespace,
    process::{Process, run},
};
use nix::sys::signal::Signal;
use tempfile::TempDir;

/// A capture on v3, into a file.
pub struct Capture {
    process: Process,
    directory: TempDir,
}

/// Packets by what tcpdump says of their UDP checksum.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// `udp sum ok`.
    pub ok: u64,
    /// `bad udp cksum`.
    pub bad: u64,
    /// `no cksum`.
    pub none: u64,
}

impl Capture {
    /// Starts it, and waits until it listens.
    pub fn start(namespace: &Namespace) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        // A place in its ring is as large as a packet may be, so a small one makes room for many.
        let words = ["-i", "v3", "-Z", "root", "-U", "-n", "--immediate-mode", "-s", "2048", "-B", "16384", "-w"];
        let file = directory.path().join("v3.pcap");
        let process = Process::spawn(namespace.command("tcpdump").args(words).arg(&file).arg("udp"))?;
        until("tcpdump listening", SOON, || Ok(process.stderr().contains("listening on").then_some(())))?;
        Ok(Self { process, directory })
    }

    /// Waits until it has `packets`, ends it, and counts.
    ///
    /// # Errors
    /// When there are more, or an IPv4 header checksum is wrong.
    pub fn end(self, packets: usize) -> Result<Count> {
        let text = until("all packets in tcpdump's file", SOON, || {
            let text = self.text()?;
            Ok((text.lines().filter(|line| line.starts_with("IP ")).count() >= packets).then_some(text))
        })?;
        self.process.signal(Signal::SIGTERM)?;
        let said = self.process.wait(SOON)?.success()?.stderr;
        ensure!(said.contains(&format!("{packets} packets captured")), "{said}");
        // Of an IPv4 header it says so within the line of its values.
        ensure!(!text.contains(", bad cksum"), "{text}");
        let count = |what: &str| text.matches(what).count() as u64;
        Ok(Count { ok: count("[udp sum ok]"), bad: count("[bad udp cksum"), none: count("[no cksum]") })
    }

    fn text(&self) -> Result<String> {
        let file: PathBuf = self.directory.path().join("v3.pcap");
        run(Command::new("tcpdump").args(["-n", "-t", "-vv", "-r"]).arg(file))
    }
}
