//! Interfaces that nothing names any more are released: the program, the sockets, their frames, and what was changed on them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{active::Active, follow::is_named, state::State};
use crate::forward::rule::InterfaceId;

/// How long an interface is kept that nothing names: with many drivers the link is reset when the program goes, and a rule that is
/// deleted and added again would have that twice.
const LINGER: Duration = Duration::from_secs(1);

impl State {
    /// Releases the interfaces that no rule and no flag has named for a while.
    pub fn release_unused(&mut self) {
        self.release(LINGER);
    }

    /// Releases at once what nothing names, since frames are needed; whether there were any.
    pub fn release_for_frames(&mut self) -> bool {
        self.release(Duration::ZERO)
    }

    fn release(&mut self, linger: Duration) -> bool {
        let now = Instant::now();
        let departing: Vec<Arc<Active>> = self.departing().cloned().collect();
        let Self { set, options, interfaces, .. } = self;
        let is_used = |name: &str| {
            // A packet may still be under way.
            is_named(set, options, name) || departing.iter().any(|active| active.rule.names(name))
        };
        let mut unused: Vec<(InterfaceId, u32, String)> = Vec::new();
        for (id, place) in interfaces.iter_mut() {
            let Some(interface) = &mut place.interface else { continue };
            if is_used(&place.name) {
                interface.unused_since = None;
            } else if now.duration_since(*interface.unused_since.get_or_insert(now)) >= linger {
                unused.push((id, interface.nic.ifindex, place.name.clone()));
            }
        }
        let mut any = false;
        for (id, ifindex, name) in unused {
            // The memory of others would go with it.
            if self.fleet.as_ref().is_some_and(|fleet| !fleet.may_release(ifindex)) {
                continue;
            }
            log::info!("{name}: no rule names it any more, and it is as it was without mcrd");
            self.let_go(id);
            any = true;
        }
        any
    }
}
