//! Signals, from the first moment: SIGHUP reloads, SIGTERM and SIGINT end, and no other ends what forwards.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering::SeqCst},
        mpsc::{Receiver, channel},
    },
    thread,
};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2},
    iterator,
    low_level::signal_name,
};

/// Whether the daemon has been asked to end.
static ENDING: AtomicBool = AtomicBool::new(false);

/// Nothing is made yet that would have to be unmade.
const READING: u8 = 0;
/// Interfaces may have been changed.
const AT_WORK: u8 = 1;
/// It ends before it has begun.
const ENDED: u8 = 2;

/// What signals ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Read the file again.
    Reload,
    /// End.
    End,
}

/// The signals that have come, in their order.
#[derive(Debug)]
pub struct Signals {
    wishes: Receiver<Wish>,
    stage: Arc<AtomicU8>,
}

/// Why a start was given up: it was asked to end.
#[derive(Debug, thiserror::Error)]
#[error("asked to end while it started")]
pub struct Asked;

impl Signals {
    /// Catches signals from now on, in a thread of its own. Until [`begin`](Self::begin) one that asks for the end calls `leave`, and
    /// ends the process with success: nothing has been made yet, and whatever is being read would be waited for else.
    ///
    /// # Errors
    ///
    /// The kernel refuses the handlers or the thread.
    pub fn catch(leave: impl Fn() + Send + 'static) -> io::Result<Self> {
        let mut signals = iterator::Signals::new([SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2])?;
        let (wish, wishes) = channel();
        let stage = Arc::new(AtomicU8::new(READING));
        let seen = stage.clone();
        thread::Builder::new().name("mcr-signals".into()).spawn(move || {
            for signal in signals.forever() {
                let wished = match signal {
                    SIGHUP => Wish::Reload,
                    SIGINT | SIGTERM => {
                        ENDING.store(true, SeqCst);
                        if seen.compare_exchange(READING, ENDED, SeqCst, SeqCst).is_ok() {
                            leave();
                            std::process::exit(0);
                        }
                        Wish::End
                    }
                    other => {
                        log::info!("{} asks for nothing that mcrd knows", signal_name(other).unwrap_or("a signal"));
                        continue;
                    }
                };
                if wish.send(wished).is_err() {
                    break;
                }
            }
        })?;
        Ok(Self { wishes, stage })
    }

    /// From now on things are made that have to be unmade, and an end is in order.
    pub fn begin(&self) {
        if self.stage.compare_exchange(READING, AT_WORK, SeqCst, SeqCst).is_err() {
            // The process ends in another thread.
            loop {
                thread::park();
            }
        }
    }

    /// Waits for the next one.
    pub fn next(&self) -> Wish {
        // The thread ends with the process.
        self.wishes.recv().unwrap_or(Wish::End)
    }
}

/// Gives a start up that has been asked to end.
///
/// # Errors
///
/// [`Asked`], where that is so.
pub fn go_on() -> Result<(), Asked> {
    if ENDING.load(SeqCst) { Err(Asked) } else { Ok(()) }
}
