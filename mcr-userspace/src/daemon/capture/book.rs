//! What a capture's numbers of rules mean.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{forward::capture::Followed, rules::rule::Rule};

/// A rule that a capture follows, as it was when it started.
#[derive(Debug)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Its ingress interface.
    pub ingress: String,
    /// Interface and label of each output: the output's name, else its number from 1.
    pub outputs: Vec<(String, String)>,
    /// What each worker has of it.
    pub followed: Vec<Arc<Followed>>,
}

/// The rules of a capture, by their numbers in it. Held by whoever changes rules and by whoever writes the capture, for a moment each.
#[derive(Debug, Default)]
pub struct Book(Mutex<Vec<Arc<Entry>>>);

impl Book {
    fn entries(&self) -> MutexGuard<'_, Vec<Arc<Entry>>> {
        // An entry is in it as a whole or not at all.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a rule under the next number, which `make` is given, and returns what that makes: what each worker is to have of it.
    pub fn enter(&self, rule: &Rule, make: impl FnOnce(u32) -> Vec<Arc<Followed>>) -> Vec<Arc<Followed>> {
        let mut entries = self.entries();
        let followed = make(entries.len() as u32);
        let label = |(at, name): (usize, Option<&String>)| name.cloned().unwrap_or_else(|| (at + 1).to_string());
        let outputs = rule.outputs.iter().enumerate();
        let outputs = outputs.map(|(at, output)| (output.interface.clone(), label((at, output.name.as_ref()))));
        let entry = Entry {
            name: rule.name.clone(),
            ingress: rule.matcher.interface.clone(),
            outputs: outputs.collect(),
            followed: followed.clone(),
        };
        entries.push(Arc::new(entry));
        followed
    }

    /// The rules with numbers from `number` on.
    pub fn since(&self, number: usize) -> Vec<Arc<Entry>> {
        self.entries().get(number..).map(<[_]>::to_vec).unwrap_or_default()
    }
}
