//! One connection to the control socket, where `mcrctl` for each of thousands of requests would take too long: docs/protocol.md.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{daemon::Daemon, deadline::SOON};

/// A connection; dropping it closes it.
pub struct Connection(BufReader<UnixStream>);

impl Connection {
    /// Connects to a daemon.
    pub fn open(daemon: &Daemon) -> Result<Self> {
        let stream = UnixStream::connect(daemon.files().socket())?;
        // Against hangs.
        stream.set_read_timeout(Some(SOON))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// What the daemon answers.
    pub fn ask(&mut self, request: &Value) -> Result<Value> {
        self.0.get_mut().write_all(format!("{request}\n").as_bytes())?;
        let mut line = String::new();
        self.0.read_line(&mut line).with_context(|| format!("no answer to {request}"))?;
        serde_json::from_str(&line).with_context(|| format!("to {request} the daemon answered {line:?}"))
    }
}
