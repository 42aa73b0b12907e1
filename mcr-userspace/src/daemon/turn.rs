//! Turns at something slow: whoever waits too long for a turn is refused, so that nobody who is stuck holds up others for ever.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Something that is one's at a time.
#[derive(Debug, Default)]
pub struct Turn {
    is_taken: Mutex<bool>,
    free: Condvar,
}

/// A turn; it ends when this is dropped.
#[derive(Debug)]
pub struct Taken<'a>(&'a Turn);

impl Turn {
    /// A turn, waited for at most so long.
    pub fn take(&self, patience: Duration) -> Option<Taken<'_>> {
        let waited = self.free.wait_timeout_while(self.state(), patience, |is_taken| *is_taken);
        let (mut is_taken, late) = waited.unwrap_or_else(PoisonError::into_inner);
        if late.timed_out() {
            return None;
        }
        *is_taken = true;
        Some(Taken(self))
    }

    fn state(&self) -> MutexGuard<'_, bool> {
        self.is_taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        *self.0.state() = false;
        self.0.free.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_refused_while_another_has_it() {
        let turn = Turn::default();
        let first = turn.take(Duration::ZERO).expect("free");
        assert!(turn.take(Duration::from_millis(1)).is_none());
        drop(first);
        assert!(turn.take(Duration::ZERO).is_some());
    }
}
