//! Where rules come from: the file, or a request at run time that the file knows nothing of.

use std::collections::BTreeSet;

use crate::rules::persist::Edit;

/// The names of the rules that the daemon's file has, as mcrd last applied it or wrote it.
///
/// A rule of the set that is not among them lives until the next reload. A name stays here while its rule is deleted or changed at
/// run time alone: the file still has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins {
    from_file: BTreeSet<String>,
}

impl Origins {
    /// What a file has that was just applied.
    pub fn of_file(names: impl IntoIterator<Item = String>) -> Self {
        Self { from_file: names.into_iter().collect() }
    }

    /// Whether the file has a rule of this name.
    pub fn is_from_file(&self, name: &str) -> bool {
        self.from_file.contains(name)
    }

    /// A rule was edited in the file.
    pub fn follow(&mut self, edit: &Edit) {
        match edit {
            Edit::Put(spec) | Edit::Change { whole: spec, .. } => self.wrote(spec.name.as_deref().unwrap_or_default()),
            Edit::Remove(name) => self.erased(name),
        }
    }

    /// A rule was written into the file.
    pub fn wrote(&mut self, name: &str) {
        self.from_file.insert(name.to_owned());
    }

    /// These, with what has become different since they were `from`, which is what they are `now`.
    pub fn with_changes(mut self, from: &Self, now: &Self) -> Self {
        self.from_file.retain(|name| !from.from_file.contains(name) || now.from_file.contains(name));
        self.from_file.extend(now.from_file.difference(&from.from_file).cloned());
        self
    }

    /// A rule was deleted from the file.
    pub fn erased(&mut self, name: &str) {
        self.from_file.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_the_files_from_when_it_is_written_until_it_is_erased() {
        let mut origins = Origins::of_file(["a".to_owned()]);
        assert!(origins.is_from_file("a") && !origins.is_from_file("b"));
        origins.wrote("b");
        origins.erased("a");
        assert_eq!(origins, Origins::of_file(["b".to_owned()]));
    }

    #[test]
    fn what_was_written_since_is_the_files_after_a_change_is_taken_back() {
        let of = |names: &str| Origins::of_file(names.split_whitespace().map(str::to_owned));
        assert_eq!(of("a b c").with_changes(&of("a b d"), &of("a d e")), of("a c e"));
    }
}
