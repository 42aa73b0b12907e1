//! What has happened lately, for `mcrctl events`: kept in memory, the oldest forgotten first.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use crate::control::{
    peer::Peer,
    protocol::{ChangeKind, Event, EventKind, Events, Reloaded, Response, SettingChange},
};

/// Events that are kept.
const KEPT: usize = 10_000;
/// Rules that a reload names in the log and as events.
pub const MOST_LINES: usize = 1000;
/// How long a reader waits for an event before it is told that there is none.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// The events. It has a lock of its own, which is held for moments only.
#[derive(Debug, Default)]
pub struct Journal {
    kept: Mutex<Kept>,
    /// Rung for each event.
    bell: Condvar,
    last_reload: Mutex<LastReload>,
}

/// What became of the last attempt to load the configuration file; the start was one that succeeded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LastReload {
    /// Whether it succeeded.
    pub successful: bool,
    /// When one last did.
    success: SystemTime,
}

impl Default for LastReload {
    fn default() -> Self {
        Self { successful: true, success: SystemTime::now() }
    }
}

impl LastReload {
    /// When one last succeeded, in seconds since 1970.
    pub fn success_seconds(&self) -> f64 {
        self.success.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
    }
}

#[derive(Debug, Default)]
struct Kept {
    events: VecDeque<Event>,
    /// Events so far: the number of the next one.
    next: u64,
}

impl Event {
    /// Something of this kind that happens now.
    pub fn now(kind: EventKind) -> Self {
        Self {
            time: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
            kind,
            rule: None,
            interface: None,
            old: None,
            new: None,
            reason: None,
            uid: None,
            pid: None,
        }
    }

    /// About this rule.
    pub fn rule(self, name: &str) -> Self {
        Self { rule: Some(name.to_owned()), ..self }
    }

    /// At this interface.
    pub fn interface(self, name: &str) -> Self {
        Self { interface: Some(name.to_owned()), ..self }
    }

    /// From one state to another.
    pub fn change(self, old: Option<&str>, new: Option<&str>) -> Self {
        Self { old: old.map(str::to_owned), new: new.map(str::to_owned), ..self }
    }

    /// For this reason.
    pub fn reason(self, reason: impl Into<Option<String>>) -> Self {
        Self { reason: reason.into(), ..self }
    }

    /// Asked for by this process.
    pub fn by(self, peer: &Peer) -> Self {
        Self { uid: peer.uid, pid: peer.pid, ..self }
    }
}

/// What has become of the file that was read again.
pub fn reload(what: &str, reason: String) -> Event {
    Event::now(EventKind::Reload).change(None, Some(what)).reason(reason)
}

/// A reload is to be confirmed within so many seconds: a line of the log, and an event.
pub fn unconfirmed(seconds: u64, peer: &Peer) -> Event {
    let told = format!("taken back in {seconds} s unless `mcrctl confirm` follows");
    log::info!("reload by {peer}: {told}");
    reload("unconfirmed", told).by(peer)
}

impl Journal {
    /// Keeps an event.
    pub fn note(&self, event: Event) {
        let mut kept = self.kept();
        if kept.events.len() == KEPT {
            kept.events.pop_front();
        }
        kept.events.push_back(event);
        kept.next += 1;
        self.bell.notify_all();
    }

    /// Who changed which rule, and how: a line of the log, and an event.
    pub fn audit(&self, what: &str, rule: &str, peer: &Peer) {
        log::info!("rule {rule} {what} by {peer}");
        self.note(Event::now(EventKind::RuleChange).rule(rule).change(None, Some(what)).by(peer));
    }

    /// Who had the file read again, and what came of it.
    pub fn audit_reload(&self, response: &Response, peer: &Peer) {
        let (new, reason) = match response {
            Response::Reloaded(Reloaded { changes, restart, .. }) => {
                let word = |kind: ChangeKind| match kind {
                    ChangeKind::Add => "added",
                    ChangeKind::Remove => "deleted",
                    ChangeKind::Replace => "changed",
                };
                for change in changes.iter().take(MOST_LINES) {
                    self.audit(&format!("{} with the file", word(change.change)), &change.name, peer);
                }
                if let Some(more) = changes.len().checked_sub(MOST_LINES).filter(|more| *more > 0) {
                    log::info!("{more} more rules changed with the file");
                }
                let plural = if changes.len() == 1 { "" } else { "s" };
                let told = format!("{} change{plural}", changes.len());
                log::info!("reloaded by {peer}: {told}");
                for SettingChange { key, old, new } in restart {
                    let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "unset".to_owned());
                    log::warn!("reload: {key}: {} -> {} needs a restart", shown(old), shown(new));
                }
                *self.reload() = LastReload::default();
                ("applied", told)
            }
            Response::Error { message, .. } => {
                message.lines().for_each(|line| log::error!("reload: {line}"));
                self.reload().successful = false;
                log::error!("reload by {peer} refused: nothing was changed");
                ("refused", message.lines().next().unwrap_or_default().to_owned())
            }
            _ => return,
        };
        self.note(reload(new, reason).by(peer));
    }

    /// The events from number `after` on, or all that are kept, with the number of those that are not any more; `patience` is how long to wait for one where there is none.
    pub fn read(&self, after: Option<u64>, patience: Duration) -> Events {
        let nothing_new = |kept: &mut Kept| after.is_some_and(|after| after >= kept.next);
        let waited = self.bell.wait_timeout_while(self.kept(), patience, nothing_new);
        let (kept, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let oldest = kept.next - kept.events.len() as u64;
        let from = after.unwrap_or(oldest).min(kept.next);
        let skip = from.saturating_sub(oldest) as usize;
        Events {
            events: kept.events.iter().skip(skip).cloned().collect(),
            next: kept.next,
            lost: oldest.saturating_sub(after.unwrap_or(0)),
        }
    }

    /// What became of the last attempt to load the configuration file.
    pub fn last_reload(&self) -> LastReload {
        *self.reload()
    }

    fn reload(&self) -> MutexGuard<'_, LastReload> {
        self.last_reload.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A panic elsewhere leaves the events whole.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_get_each_event_once_and_are_told_what_is_lost() {
        let journal = Journal::default();
        let event = |number: usize| Event::now(EventKind::RuleState).rule(&number.to_string());
        assert_eq!(journal.read(None, PATIENCE), Events::default());
        journal.note(event(0));
        let first = journal.read(Some(0), PATIENCE);
        assert_eq!((first.events.len(), first.next, first.lost), (1, 1, 0));
        assert_eq!(journal.read(Some(first.next), Duration::ZERO), Events { next: 1, ..Events::default() });
        (1..KEPT + 11).for_each(|number| journal.note(event(number)));
        let later = journal.read(Some(first.next), PATIENCE);
        assert_eq!((later.events.len(), later.next, later.lost), (KEPT, KEPT as u64 + 11, 10));
        assert_eq!(later.events[0].rule.as_deref(), Some("11"));
        let all = journal.read(None, PATIENCE);
        assert_eq!((all.events.len(), all.lost), (KEPT, 11));
        // A number that was never given out, as after a restart.
        assert_eq!(journal.read(Some(u64::MAX), Duration::ZERO).events, []);
    }

    #[test]
    fn whoever_waits_is_woken() {
        let journal = Journal::default();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| journal.read(Some(0), Duration::from_secs(60)));
            journal.note(Event::now(EventKind::Alarm));
            assert_eq!(waiting.join().expect("no panic").events.len(), 1);
        });
    }
}
