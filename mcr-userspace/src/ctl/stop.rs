//! Commands that go on until they are asked to end.

use std::{
    io,
    process::exit,
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::Duration,
};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};

/// After a signal the command may end by itself for so long.
const PATIENCE: Duration = Duration::from_secs(1);

/// SIGINT and SIGTERM, which end a command in order and with exit code 0.
pub(super) struct Stop(Receiver<()>);

impl Stop {
    /// Catches them from now on.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub(super) fn catch() -> io::Result<Self> {
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        let (stop, stopped) = channel();
        thread::spawn(move || {
            if signals.forever().next().is_some() {
                stop.send(()).ok();
                // It may wait for a daemon that does not answer.
                thread::sleep(PATIENCE);
                exit(0);
            }
        });
        Ok(Self(stopped))
    }

    /// Waits for `time`; whether the command is to end.
    pub(super) fn wait(&self, time: Duration) -> bool {
        !matches!(self.0.recv_timeout(time), Err(RecvTimeoutError::Timeout))
    }
}
