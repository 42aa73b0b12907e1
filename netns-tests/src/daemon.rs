//! A running `mcrd` in a namespace, with a control socket and a file of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{sys::signal::Signal, unistd::Pid};
use serde::Deserialize;
use tempfile::TempDir;

use crate::{
    deadline::{SOON, until},
    netns::Namespace,
    process::{Finished, Process, finish},
    programs,
    stats::Stats,
    topology::{Network, Topology},
};

/// Counters are current within a second: unchanged for longer than that, they are at rest.
const REST: Duration = Duration::from_millis(1200);

/// A running `mcrd`; dropping it kills it.
pub struct Daemon {
    process: Process,
    files: Files,
}

/// Where a daemon's file and control socket lie: a directory of its own, deleted at drop.
pub struct Files {
    directory: TempDir,
}

/// The line that `mcrd` ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Final {
    /// Packets that the XDP program steered.
    pub matched: u64,
    /// Of them, those that no output was offered.
    pub ingress_dropped: u64,
    /// Packets that outputs sent.
    pub sent: u64,
    /// Packets offered to outputs and not sent.
    pub egress_dropped: u64,
}

impl Files {
    /// A new directory; the configuration file is written only when `config` is not empty.
    pub fn new(config: &str) -> Result<Self> {
        let files = Self { directory: tempfile::Builder::new().prefix("mcrt-").tempdir()? };
        if !config.is_empty() {
            fs::write(files.config(), config)?;
        }
        Ok(files)
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.directory.path().join("mcrd.toml")
    }

    /// The control socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("mcrd.sock")
    }

    /// A command that runs `mcrd` in `namespace` with these files and `flags`.
    pub fn command(&self, namespace: &Namespace, flags: &[&str]) -> Result<Command> {
        let mut command = namespace.command(programs::path("mcrd")?);
        command.arg("--control-socket").arg(self.socket());
        if self.config().exists() {
            command.arg("--config").arg(self.config());
        }
        command.args(flags);
        Ok(command)
    }
}

/// What a list of rules says of each.
#[derive(Deserialize)]
struct Named {
    name: String,
}

impl Daemon {
    /// A daemon with this file as the relay of a chain of one link on either side.
    pub fn in_chain(config: &str) -> Result<(Network, Self)> {
        let network = Topology::chain(1).build()?;
        let daemon = Self::start(network.relay(), config, &[])?;
        Ok((network, daemon))
    }

    /// Starts `mcrd` with `config` as its file (empty: none) and `flags`, and waits until the control socket answers.
    ///
    /// # Errors
    /// With everything that `mcrd` said, when it ends or does not answer.
    pub fn start(namespace: &Namespace, config: &str, flags: &[&str]) -> Result<Self> {
        Self::start_with(Files::new(config)?, namespace, flags)
    }

    /// [`start`](Self::start) with files that exist already, of a daemon that was killed.
    pub fn start_with(files: Files, namespace: &Namespace, flags: &[&str]) -> Result<Self> {
        Self::start_by(&[], files, namespace, flags)
    }

    /// [`start_with`](Self::start_with) by words that execute it in place, such as `taskset`.
    pub fn start_by(words: &[&str], files: Files, namespace: &Namespace, flags: &[&str]) -> Result<Self> {
        let process = Process::spawn(&mut programs::before(words, &files.command(namespace, flags)?))?;
        let daemon = Self { process, files };
        until("an answer on mcrd's control socket", SOON, || {
            if let Some(status) = daemon.process.ended()? {
                bail!("mcrd ended at its start: {status}");
            }
            Ok(daemon.ctl(&["--json", "status"])?.status.success().then_some(()))
        })
        .with_context(|| format!("mcrd said:\n{}{}", daemon.process.stdout(), daemon.process.stderr()))?;
        Ok(daemon)
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        self.process.pid()
    }

    /// Its files.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.process.stderr()
    }

    /// Runs `mcrctl` with `words` on its socket, whatever the exit code.
    pub fn ctl(&self, words: &[impl AsRef<str>]) -> Result<Finished> {
        ctl(&self.files.socket(), words)
    }

    /// Runs `mcrctl` with `words`, which must succeed, and returns its standard output.
    pub fn done(&self, words: &[impl AsRef<str>]) -> Result<String> {
        let finished = self.ctl(words)?.success();
        let finished = finished.with_context(|| match self.process.ended() {
            Ok(Some(status)) => format!("mcrd has ended: {status}\n{}{}", self.process.stdout(), self.process.stderr()),
            _ => "mcrd is running".into(),
        });
        Ok(finished?.stdout)
    }

    /// Runs `mcrctl batch` on these lines.
    pub fn batch(&self, lines: &str, flags: &[&str]) -> Result<Finished> {
        let file = self.files().config().with_file_name("batch");
        fs::write(&file, lines)?;
        let file = file.to_str().context("a plain path")?;
        self.ctl(&[&["batch", file], flags].concat())
    }

    /// The names of its rules.
    pub fn rule_names(&self) -> Result<Vec<String>> {
        let rules: Vec<Named> = serde_json::from_str(&self.done(&["--json", "rule", "list"])?)?;
        Ok(rules.into_iter().map(|rule| rule.name).collect())
    }

    /// The text of its file.
    pub fn config(&self) -> Result<String> {
        Ok(fs::read_to_string(self.files().config())?)
    }

    /// The counters now.
    pub fn stats(&self) -> Result<Stats> {
        let text = self.done(&["--json", "stats"])?;
        serde_json::from_str(&text).with_context(|| format!("`stats` is not the object of interface.md:\n{text}"))
    }

    /// The counters once they have not changed for longer than they may lag.
    pub fn stats_at_rest(&self) -> Result<Stats> {
        at_rest(|| self.stats())
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// Stops it with SIGTERM and returns its last line.
    pub fn stop(self) -> Result<Final> {
        self.stop_by(Signal::SIGTERM)
    }

    /// Stops it with a signal that asks for a clean end, and returns its last line.
    pub fn stop_by(self, signal: Signal) -> Result<Final> {
        self.process.signal(signal)?;
        let finished = self.process.wait(SOON)?.success()?;
        Final::parse(&finished.stdout).with_context(|| finished.told())
    }

    /// Kills it with SIGKILL, and returns its files, with what it left in them.
    pub fn kill(self) -> Result<Files> {
        self.process.signal(Signal::SIGKILL)?;
        self.process.wait(SOON)?;
        Ok(self.files)
    }
}

/// What `stats` says once it has not changed for longer than counters may lag.
pub fn at_rest(stats: impl Fn() -> Result<Stats>) -> Result<Stats> {
    let (mut since, mut last) = (Instant::now(), stats()?);
    until("counters at rest", SOON, || {
        let now = stats()?;
        let same = Stats { uptime_seconds: last.uptime_seconds, ..now.clone() } == last;
        if !same {
            (since, last) = (Instant::now(), now);
        }
        Ok((since.elapsed() > REST).then(|| last.clone()))
    })
}

/// Runs `mcrctl` with `words` on `socket`, whatever the exit code.
pub fn ctl(socket: &Path, words: &[impl AsRef<str>]) -> Result<Finished> {
    let words = words.iter().map(AsRef::as_ref);
    finish(Command::new(programs::path("mcrctl")?).arg("--socket").arg(socket).args(words))
}

impl Final {
    /// Reads `FINAL ingress matched=N dropped=N egress sent=N dropped=N`, which must be the last line.
    pub fn parse(stdout: &str) -> Result<Self> {
        let line = stdout.lines().last().context("mcrd printed no FINAL line")?;
        let words: Vec<&str> = line.split(' ').collect();
        let ["FINAL", "ingress", matched, ingress, "egress", sent, egress] = words[..] else {
            bail!("not a FINAL line: {line:?}");
        };
        let number = |word: &str, key: &str| -> Result<u64> {
            let value = word.strip_prefix(key).and_then(|rest| rest.strip_prefix('='));
            value.and_then(|value| value.parse().ok()).with_context(|| format!("no {key}=N in {line:?}"))
        };
        Ok(Self {
            matched: number(matched, "matched")?,
            ingress_dropped: number(ingress, "dropped")?,
            sent: number(sent, "sent")?,
            egress_dropped: number(egress, "dropped")?,
        })
    }
}

/// The words of a command line without quotation marks.
pub fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}
