//! What the kernel could not be asked: said once, and asked again at the next look.

use std::{collections::BTreeSet, io};

/// The interfaces about which it could not be asked last time.
#[derive(Debug, Default)]
pub struct Doubts(BTreeSet<String>);

impl Doubts {
    /// It could not be asked about `name`, for `error`: what was known stays.
    pub fn note(&mut self, name: &str, error: &io::Error) {
        if self.0.insert(name.to_owned()) {
            log::warn!("{name}: the kernel cannot be asked about it now, so it counts as unchanged: {error}");
        }
    }

    /// It has answered about `name`.
    pub fn clear(&mut self, name: &str) {
        if self.0.remove(name) {
            log::info!("{name}: the kernel answers again");
        }
    }

    /// Forgets names of which `is_known` knows nothing.
    pub fn prune(&mut self, is_known: impl Fn(&str) -> bool) {
        self.0.retain(|name| is_known(name));
    }
}
