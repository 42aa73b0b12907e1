//! The log: lines are queued and written by a thread of their own, so that a reader of stderr that does not read holds nothing up.

use std::{
    collections::VecDeque,
    io::{self, IsTerminal, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use env_logger::{Builder, Env, Logger, Target, WriteStyle};
use log::LevelFilter;

use super::{
    level::{self, Gate},
    options::LogFormat,
};
use crate::control::protocol::LogLevel;

/// Bytes that may wait to be written; lines beyond them are lost, and counted.
const MOST_BYTES: usize = 1 << 20;
/// How long the end of the daemon waits for what is still to be written.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The log's queue. `Clone` gives another end of the same one.
#[derive(Clone, Debug, Default)]
pub struct Log(Arc<Queue>);

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<Waiting>,
    /// Rung when lines come, and when all are written.
    bell: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    lost: u64,
    /// Whether the thread is at a line that is in the queue no more.
    is_writing: bool,
}

impl Log {
    /// Lets `log`'s macros write to stderr in this format. `level` decides what is logged, without one `RUST_LOG`, and `info` where
    /// that is not set either.
    ///
    /// # Errors
    ///
    /// The kernel refuses the thread, or there is a logger already.
    pub fn start(format: LogFormat, level: Option<LogLevel>) -> io::Result<Self> {
        let log = Self::default();
        let by_variable = Builder::from_env(Env::new().filter_or(level::VARIABLE, level::DEFAULT));
        let mut all = Builder::new();
        all.filter_level(LevelFilter::Trace);
        let gate = Gate { by_variable: log.logger(by_variable, format), all: log.logger(all, format) };
        log::set_max_level(gate.by_variable.filter());
        level.into_iter().for_each(level::set);
        let writing = log.clone();
        thread::Builder::new().name("mcr-log".into()).spawn(move || writing.run(io::stderr()))?;
        log::set_boxed_logger(Box::new(gate)).map_err(io::Error::other)?;
        Ok(log)
    }

    /// One that writes into this queue.
    fn logger(&self, mut builder: Builder, format: LogFormat) -> Logger {
        if std::env::var_os("RUST_LOG_STYLE").is_none() {
            // Of a pipe, which this is for env_logger, it would not know.
            let is_plain = std::env::var_os("NO_COLOR").is_some() || !io::stderr().is_terminal();
            builder.write_style(if is_plain { WriteStyle::Never } else { WriteStyle::Always });
        }
        if format == LogFormat::Json {
            builder.format(|out, record| {
                let line = serde_json::json!({
                    "time": out.timestamp_millis().to_string(),
                    "level": record.level().as_str(),
                    "target": record.target(),
                    "message": record.args().to_string(),
                });
                writeln!(out, "{line}")
            });
        }
        builder.target(Target::Pipe(Box::new(self.clone())));
        builder.build()
    }

    /// Writes a line that is no log line, after those before it.
    pub fn say(&self, line: &str) {
        self.push(format!("{line}\n").into_bytes());
    }

    /// Waits until all is written, but not for long.
    pub fn finish(&self) {
        let is_left = |waiting: &mut Waiting| waiting.is_writing || !waiting.lines.is_empty();
        drop(self.0.bell.wait_timeout_while(self.state(), LAST_WORDS, is_left));
    }

    /// Each change leaves the queue whole.
    fn state(&self) -> MutexGuard<'_, Waiting> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: Vec<u8>) {
        let mut waiting = self.state();
        if waiting.bytes + line.len() > MOST_BYTES {
            waiting.lost += 1;
            return;
        }
        waiting.bytes += line.len();
        waiting.lines.push_back(line);
        self.0.bell.notify_all();
    }

    /// Writes lines to `out` for ever.
    fn run(&self, mut out: impl Write) {
        loop {
            let line = self.next();
            // Nobody can be told of an error here.
            let _ = out.write_all(&line);
            let mut waiting = self.state();
            waiting.is_writing = false;
            let lost = if waiting.lines.is_empty() { std::mem::take(&mut waiting.lost) } else { 0 };
            self.0.bell.notify_all();
            drop(waiting);
            if lost > 0 {
                log::warn!("{lost} log lines are lost, since nobody read the log in time");
            }
        }
    }

    fn next(&self) -> Vec<u8> {
        let is_idle = |waiting: &mut Waiting| waiting.lines.is_empty();
        let mut waiting = self.0.bell.wait_while(self.state(), is_idle).unwrap_or_else(PoisonError::into_inner);
        let line = waiting.lines.pop_front().unwrap_or_default();
        waiting.bytes -= line.len();
        waiting.is_writing = true;
        line
    }
}

/// env_logger writes each line at once.
impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Prints the daemon's last line on stdout; one who does not read it holds the end up for a moment only.
pub fn print_last(line: String) {
    let printing = thread::Builder::new().spawn(move || {
        // Whether anybody reads it changes nothing.
        let _ = writeln!(io::stdout(), "{line}");
    });
    let Ok(printing) = printing else { return };
    let started = std::time::Instant::now();
    while !printing.is_finished() && started.elapsed() < LAST_WORDS {
        thread::sleep(Duration::from_millis(1));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    /// Takes a line each time that it is let.
    struct Slow(Receiver<()>, Arc<Mutex<Vec<u8>>>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.recv().map_err(io::Error::other)?;
            self.1.lock().expect("no panic").extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_does_not_read_costs_lines_and_no_time() {
        let (let_go, wait) = channel();
        let written = Arc::new(Mutex::new(Vec::new()));
        let log = Log::default();
        let (writing, out) = (log.clone(), Slow(wait, written.clone()));
        thread::spawn(move || writing.run(out));
        let line = "x".repeat(MOST_BYTES / 4);
        (0..20).for_each(|_| log.say(&line));
        log.finish();
        let lost = log.state().lost;
        assert!((16..=17).contains(&lost), "{lost}");
        (0..20).for_each(|_| let_go.send(()).expect("it goes on"));
        log.finish();
        assert_eq!(written.lock().expect("no panic").len(), (20 - lost as usize) * (line.len() + 1));
        assert_eq!(log.state().lost, 0, "they are told");
    }
}
