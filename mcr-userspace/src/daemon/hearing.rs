//! Whether a rule's stream comes, or has stopped.

use std::time::{Duration, Instant};

/// What is known of a stream.
#[derive(Debug, Default)]
pub struct Hearing {
    /// Packets of the rule's slot when it was last looked at.
    count: u64,
    /// When the rule was first looked at after it began to forward.
    started: Option<Instant>,
    /// When its packets were last found to have become more.
    heard: Option<Instant>,
    stalled: bool,
}

impl Hearing {
    /// The rule has another slot, which has counted nothing yet.
    pub fn has_new_slot(&mut self) {
        self.count = 0;
    }

    /// The rule forwards again after it did not: its silence counts from now on.
    pub fn begins(&mut self) {
        (self.count, self.started, self.stalled) = (0, None, false);
    }

    /// Looks at the slot's count; whether packets have come. A stream is stalled after `patience` without a packet, from the last one on, or from the rule's start.
    pub fn look(&mut self, count: u64, now: Instant, patience: Option<Duration>) -> bool {
        let started = *self.started.get_or_insert(now);
        let came = count != self.count;
        if came {
            (self.count, self.heard) = (count, Some(now));
        }
        let since = self.heard.map_or(started, |heard| heard.max(started));
        self.stalled = patience.is_some_and(|patience| now.saturating_duration_since(since) >= patience);
        came
    }

    /// Since when nothing has come; `None` where nothing ever has.
    pub fn silence(&self, now: Instant) -> Option<Duration> {
        self.heard.map(|heard| now.saturating_duration_since(heard))
    }

    /// Whether the stream has stopped, or never come.
    pub fn is_stalled(&self) -> bool {
        self.stalled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_counts_from_the_last_packet_or_from_the_start() {
        let start = Instant::now();
        let mut hearing = Hearing::default();
        let patience = Some(Duration::from_secs(5));
        let mut look = |second, count| {
            hearing.look(count, start + Duration::from_secs(second), patience);
            hearing.is_stalled()
        };
        assert!(!look(100, 0));
        assert!(!look(104, 0));
        assert!(look(105, 0), "it has never come");
        assert!(!look(106, 7));
        assert!(!look(110, 7));
        assert!(look(111, 7));
        assert!(!look(112, 8));
        hearing.has_new_slot();
        hearing.look(0, start + Duration::from_secs(116), patience);
        assert!(!hearing.is_stalled());
        assert_eq!(hearing.silence(start + Duration::from_secs(117)), Some(Duration::from_secs(5)));
        hearing.begins();
        hearing.look(0, start + Duration::from_secs(200), patience);
        assert!(!hearing.is_stalled(), "while it waited nothing could come");
        hearing.look(0, start + Duration::from_secs(205), patience);
        assert!(hearing.is_stalled());

        let mut patient = Hearing::default();
        patient.look(1, start, None);
        patient.look(1, start + Duration::from_secs(1_000), None);
        assert!(!patient.is_stalled());
    }
}
