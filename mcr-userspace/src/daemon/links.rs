//! Links of the interfaces that mcrd uses: up, down or without a carrier; each change is said with what it means for which rules.

use std::time::Instant;

use super::state::State;
use crate::{
    control::protocol::{Event, EventKind},
    kernel::{answer::is_gone, ifreq},
    rules::rule::Rule,
};

/// Rules that a line names.
const MOST_NAMES: usize = 5;

/// The link of a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Link {
    /// mcrd has no sockets on an interface of that name.
    #[default]
    Absent,
    /// Administratively down.
    Down,
    /// Up, and nobody is at the other end.
    NoCarrier,
    /// Up.
    Up,
}

impl Link {
    /// In a word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Down => "down",
            Self::NoCarrier => "no carrier",
            Self::Up => "up",
        }
    }
}

impl State {
    /// Tells of the interfaces that were granted another mode than before.
    pub fn follow_modes(&mut self) {
        for (_, place) in self.interfaces.iter_mut() {
            let Some(interface) = place.interface.as_ref().filter(|interface| interface.has_sockets()) else {
                continue;
            };
            let xsk = if interface.zero_copy { "zerocopy" } else { "copy" };
            let now = format!("XDP {}, AF_XDP {xsk}", interface.attachment);
            if place.mode.as_ref() != Some(&now) {
                let reason = Some(interface.reason.clone()).filter(|reason| !reason.is_empty());
                let event = Event::now(EventKind::Mode).interface(&place.name);
                self.journal.note(event.change(place.mode.as_deref(), Some(&now)).reason(reason));
                place.mode = Some(now);
            }
        }
    }

    /// Asks for the links of the interfaces that are meant, and tells of those that have changed.
    pub fn follow_links(&mut self, is_meant: impl Fn(&str) -> bool) {
        let mut changed = Vec::new();
        for (_, place) in self.interfaces.iter_mut().filter(|(_, place)| is_meant(&place.name)) {
            let now = match place.interface.as_ref().map(|_| ifreq::flags(&place.name)) {
                None => Link::Absent,
                Some(Ok(flags)) if flags.up && flags.running => Link::Up,
                Some(Ok(flags)) if flags.up => Link::NoCarrier,
                Some(Ok(_)) => Link::Down,
                Some(Err(error)) if is_gone(&error) => Link::Absent,
                // No answer is no change.
                Some(Err(error)) => {
                    self.doubts.note(&place.name, &error);
                    continue;
                }
            };
            let before = std::mem::replace(&mut place.link, now);
            if before != now {
                place.linked = Some(Instant::now());
                changed.push((place.name.clone(), before, now));
            }
        }
        for (name, before, now) in changed {
            let meaning = self.meaning(&name);
            match (before, now) {
                // Its coming and its going have lines of their own.
                (Link::Absent, Link::Up) | (_, Link::Absent) => {}
                (_, Link::Up) => log::info!("{name}: link {} -> up{meaning}", before.name()),
                _ => log::warn!("{name}: link {} -> {}{meaning}", before.name(), now.name()),
            }
            let event = Event::now(EventKind::Link).interface(&name).change(Some(before.name()), Some(now.name()));
            self.journal.note(event.reason(meaning.strip_prefix("; ").map(str::to_owned)));
        }
    }

    /// Which rules use an interface: `; rules a and b match there; rule c sends there`.
    fn meaning(&self, interface: &str) -> String {
        let matching = self.set.iter().filter(|rule| rule.enabled && rule.matcher.interface == interface);
        let sends = |rule: &&Rule| rule.outputs.iter().any(|output| output.interface == interface);
        let sending = self.set.iter().filter(|rule| rule.enabled).filter(sends);
        let matching = named(matching.map(|rule| rule.name.as_str()), "receives", "receive");
        matching + &named(sending.map(|rule| rule.name.as_str()), "sends", "send")
    }
}

fn named<'a>(mut names: impl Iterator<Item = &'a str>, one: &str, many: &str) -> String {
    let first: Vec<&str> = names.by_ref().take(MOST_NAMES).collect();
    let more = names.count();
    match (first.as_slice(), more) {
        ([], _) => String::new(),
        ([name], 0) => format!("; rule {name} {one} there"),
        (names, 0) => format!("; rules {} {many} there", names.join(", ")),
        (names, more) => format!("; rules {} and {more} more {many} there", names.join(", ")),
    }
}
