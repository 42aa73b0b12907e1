//! The way into a guest: a virtio serial port, on our side a Unix socket.
//!
//! A request is the lines of a shell script and a last line `#run`; the answer is a line with the exit code and the
//! lengths of both outputs, and then these. The other end is `init.sh`.

use std::{
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

/// A line that ends a request.
const END: &str = "#run";

/// A connection to a guest that answers.
pub struct Channel {
    stream: BufReader<UnixStream>,
}

/// What a script left.
pub struct Answer {
    /// Its exit code.
    pub code: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// The socket before anyone has connected.
pub struct Listener(UnixListener);

impl Listener {
    /// Makes the socket at `path`.
    pub fn bind(path: &Path) -> Result<Self> {
        let listener = UnixListener::bind(path).with_context(|| path.display().to_string())?;
        listener.set_nonblocking(true)?;
        Ok(Self(listener))
    }

    /// Waits until the machine has connected and the guest says that it is ready; `alive` is asked meanwhile.
    pub fn accept(self, limit: Duration, alive: impl Fn() -> Result<()>) -> Result<Channel> {
        let deadline = Instant::now() + limit;
        let stream = loop {
            match self.0.accept() {
                Ok((stream, _)) => break stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
            alive()?;
            ensure!(Instant::now() < deadline, "QEMU has not connected within {limit:?}");
            sleep(Duration::from_millis(10));
        };
        stream.set_nonblocking(false)?;
        let mut channel = Channel { stream: BufReader::new(stream) };
        let ready = channel.line(deadline.saturating_duration_since(Instant::now()))?;
        ensure!(ready == "ready", "the guest began with {ready:?}");
        Ok(channel)
    }
}

impl Channel {
    /// Runs a shell script in the guest. After an error the channel is of no more use.
    pub fn run(&mut self, script: &str, limit: Duration) -> Result<Answer> {
        ensure!(script.lines().all(|line| line != END) && !script.contains('\0'), "not a script: {script:?}");
        self.stream.get_mut().set_write_timeout(Some(limit))?;
        self.stream.get_mut().write_all(format!("{script}\n{END}\n").as_bytes())?;
        let header = self.line(limit)?;
        let numbers: Vec<usize> = header.split(' ').filter_map(|word| word.parse().ok()).collect();
        let [code, stdout, stderr] = numbers[..] else { bail!("the guest answered {header:?}") };
        let mut part = |length| -> Result<String> {
            let mut bytes = vec![0; length];
            self.stream.read_exact(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        Ok(Answer { code: code as i32, stdout: part(stdout)?, stderr: part(stderr)? })
    }

    fn line(&mut self, limit: Duration) -> Result<String> {
        // Zero would mean no limit.
        self.stream.get_mut().set_read_timeout(Some(limit.max(Duration::from_millis(1))))?;
        let mut line = String::new();
        let length = self.stream.read_line(&mut line).with_context(|| format!("no answer within {limit:?}"))?;
        ensure!(length > 0, "the guest is gone");
        Ok(line.trim_end().to_owned())
    }
}
