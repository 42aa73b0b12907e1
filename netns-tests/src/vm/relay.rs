//! `mcrd` in a guest.

use anyhow::{Context, Result, bail};

use super::guest::{Background, Guest, LIMIT};
use crate::{
    daemon::{Final, at_rest},
    deadline::until,
    process::Finished,
    stats::Stats,
};

const SOCKET: &str = "/run/mcrd.sock";
const CONFIG: &str = "/run/mcrd.toml";

/// A running `mcrd`; there is one at a time in a guest.
pub struct Relay<'a> {
    guest: &'a Guest,
    program: Background<'a>,
}

impl<'a> Relay<'a> {
    /// Starts `mcrd` with `config` as its file and `flags`, and waits until the control socket answers.
    ///
    /// # Errors
    /// With everything that `mcrd` said, when it ends or does not answer.
    pub fn start(guest: &'a Guest, config: &str, flags: &str) -> Result<Self> {
        Self::start_with(guest, "", config, flags)
    }

    /// [`start`](Self::start) with `variables` in its environment, as `NAME=VALUE`.
    pub fn start_with(guest: &'a Guest, variables: &str, config: &str, flags: &str) -> Result<Self> {
        guest.write(CONFIG, config)?;
        guest.run(&format!("rm -f {SOCKET}"))?;
        let program = guest.spawn(&command(variables, flags))?;
        let relay = Self { guest, program };
        until("an answer on mcrd's control socket", LIMIT, || {
            if let Some(finished) = relay.program.ended()? {
                bail!("mcrd ended at its start: {}", finished.told());
            }
            Ok(relay.ctl("--json status")?.status.success().then_some(()))
        })
        .with_context(|| relay.log().unwrap_or_default())?;
        Ok(relay)
    }

    /// Runs `mcrd` as [`start`](Self::start) does, where it must not start.
    pub fn refused(guest: &Guest, config: &str, flags: &str) -> Result<Finished> {
        guest.write(CONFIG, config)?;
        guest.spawn(&command("", flags))?.wait()?.exited(1)
    }

    /// Runs `mcrctl` with `words`, whatever the exit code.
    pub fn ctl(&self, words: &str) -> Result<Finished> {
        self.guest.finish(&format!("mcrctl --socket {SOCKET} {words}"))
    }

    /// The counters now.
    pub fn stats(&self) -> Result<Stats> {
        let text = self.ctl("--json stats")?.success()?.stdout;
        serde_json::from_str(&text).with_context(|| format!("`stats` is not the object of interface.md:\n{text}"))
    }

    /// The counters once they have not changed for longer than they may lag.
    pub fn stats_at_rest(&self) -> Result<Stats> {
        at_rest(|| self.stats())
    }

    /// What it has logged so far.
    pub fn log(&self) -> Result<String> {
        self.program.stderr()
    }

    /// Sends it a signal, by name: `STOP`.
    pub fn signal(&self, signal: &str) -> Result<()> {
        self.program.signal(signal)
    }

    /// Kills it with SIGKILL.
    pub fn kill(self) -> Result<()> {
        self.program.signal("KILL")?;
        self.program.wait()?;
        Ok(())
    }

    /// Stops it with SIGTERM and returns its last line.
    pub fn stop(self) -> Result<Final> {
        self.program.signal("TERM")?;
        let finished = self.program.wait()?.success()?;
        Final::parse(&finished.stdout).with_context(|| finished.told())
    }
}

fn command(variables: &str, flags: &str) -> String {
    format!("env RUST_LOG=mcr_userspace=debug {variables} mcrd --control-socket {SOCKET} --config {CONFIG} {flags}")
}
