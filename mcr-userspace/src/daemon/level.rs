//! How much is logged: as `RUST_LOG` says, until `--log-level` or `mcrctl log-level` sets a level, which then holds for all lines.

use std::{
    env,
    sync::atomic::{AtomicU8, Ordering::Relaxed},
};

use env_logger::Logger;
use log::{LevelFilter, Log, Metadata, Record};

use crate::control::{
    peer::Peer,
    protocol::{LogLevel, LogLevelView},
};

/// The variable that says what is logged, target by target.
pub const VARIABLE: &str = "RUST_LOG";
/// What is logged where nothing says so.
pub const DEFAULT: &str = "info";

/// A [`LogLevel`], or 0 while `RUST_LOG` decides.
static LEVEL: AtomicU8 = AtomicU8::new(0);

/// Lets through what is to be logged.
pub struct Gate {
    /// Writes what `RUST_LOG` lets through.
    pub by_variable: Logger,
    /// Writes everything.
    pub all: Logger,
}

impl Gate {
    fn logger(&self, metadata: &Metadata<'_>) -> Option<&Logger> {
        match set_level() {
            None => Some(&self.by_variable),
            Some(level) => (metadata.level() <= filter(level)).then_some(&self.all),
        }
    }
}

impl Log for Gate {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.logger(metadata).is_some_and(|logger| logger.enabled(metadata))
    }

    fn log(&self, record: &Record<'_>) {
        if let Some(logger) = self.logger(record.metadata()) {
            logger.log(record);
        }
    }

    fn flush(&self) {
        self.all.flush();
    }
}

/// Logs this much from now on.
pub fn set(level: LogLevel) {
    LEVEL.store(level as u8, Relaxed);
    log::set_max_level(filter(level));
}

/// [`set`], at somebody's request: the line that says so is logged at every level.
pub fn change(level: LogLevel, peer: &Peer) {
    set(if level.is_quieter_than_info() { LogLevel::Info } else { level });
    log::info!("log level {level} set by {peer}");
    set(level);
}

/// What is logged now.
pub fn now() -> LogLevelView {
    let rust_log = || env::var(VARIABLE).ok().filter(|text| !text.is_empty());
    match set_level() {
        Some(level) => LogLevelView { level, rust_log: None },
        None => {
            let most = LogLevel::ALL.into_iter().rev().find(|level| filter(*level) <= log::max_level());
            LogLevelView { level: most.unwrap_or(LogLevel::Error), rust_log: rust_log() }
        }
    }
}

fn set_level() -> Option<LogLevel> {
    let level = LEVEL.load(Relaxed);
    LogLevel::ALL.into_iter().find(|of| *of as u8 == level)
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::Error,
        LogLevel::Warn => LevelFilter::Warn,
        LogLevel::Info => LevelFilter::Info,
        LogLevel::Debug => LevelFilter::Debug,
        LogLevel::Trace => LevelFilter::Trace,
    }
}

impl LogLevel {
    const fn is_quieter_than_info(self) -> bool {
        matches!(self, Self::Error | Self::Warn)
    }
}
