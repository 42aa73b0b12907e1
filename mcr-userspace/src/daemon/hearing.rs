//! Whether a rule's stream comes, stops, or comes again.

use std::time::{Duration, Instant};

/// What is known of a stream.
#[derive(Debug, Default)]
pub struct Hearing {
    /// Packets of the rule's slot when it was last looked at.
    count: u64,
    /// When they were last found to have become more.
    heard: Option<Instant>,
    stalled: bool,
}

/// What has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing has come for longer than may be.
    Stopped,
    /// It comes again, after so long.
    Returned(Duration),
}

impl Hearing {
    /// The rule has another slot, which has counted nothing yet.
    pub fn has_new_slot(&mut self) {
        self.count = 0;
    }

    /// Looks at the slot's count. A stream that has never come has not stopped, nor has one whose rule says nothing of how long it may
    /// be silent.
    pub fn look(&mut self, count: u64, now: Instant, patience: Option<Duration>) -> Option<Change> {
        if count != self.count {
            let silence = self.heard.replace(now).map(|heard| now - heard).unwrap_or_default();
            self.count = count;
            return std::mem::take(&mut self.stalled).then_some(Change::Returned(silence));
        }
        let late = self.heard.zip(patience).is_some_and(|(heard, patience)| now - heard >= patience);
        (late && !std::mem::replace(&mut self.stalled, late)).then_some(Change::Stopped)
    }

    /// Since when nothing has come; `None` where nothing ever has.
    pub fn silence(&self, now: Instant) -> Option<Duration> {
        self.heard.map(|heard| now - heard)
    }

    /// Whether the stream has stopped.
    pub fn is_stalled(&self) -> bool {
        self.stalled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stop_and_each_return_is_told_once() {
        let start = Instant::now();
        let mut hearing = Hearing::default();
        let patience = Some(Duration::from_secs(5));
        let mut look = |second, count| hearing.look(count, start + Duration::from_secs(second), patience);
        assert_eq!(look(100, 0), None, "it has never come");
        assert_eq!(look(101, 7), None);
        assert_eq!(look(105, 7), None);
        assert_eq!(look(106, 7), Some(Change::Stopped));
        assert_eq!(look(107, 7), None);
        assert_eq!(look(109, 8), Some(Change::Returned(Duration::from_secs(8))));
        assert_eq!(look(110, 9), None);
        assert_eq!(look(115, 9), Some(Change::Stopped));
        hearing.has_new_slot();
        assert_eq!(hearing.look(0, start + Duration::from_secs(116), patience), None);
        assert!(hearing.is_stalled());
        assert_eq!(hearing.silence(start + Duration::from_secs(117)), Some(Duration::from_secs(7)));

        let mut patient = Hearing::default();
        assert_eq!(patient.look(1, start, None), None);
        assert_eq!(patient.look(1, start + Duration::from_secs(1_000), None), None);
        assert!(!patient.is_stalled());
    }
}
