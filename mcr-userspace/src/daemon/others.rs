//! What others on this host have joined: who receives by a socket sees nothing more of what a rule takes.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

/// Groups that others on this host have joined on an interface, as they were a moment ago: the kernel lists all to who asks for one.
#[derive(Debug, Default)]
pub struct Others {
    interface: String,
    groups: Vec<Ipv4Addr>,
    looked: Option<Instant>,
}

/// How long that moment is: rules that come one after the other ask once.
const MOMENT: Duration = Duration::from_millis(20);

impl Others {
    /// Those on `interface`, which `look` finds.
    pub fn of(&mut self, interface: &str, look: impl FnOnce() -> Vec<Ipv4Addr>) -> &[Ipv4Addr] {
        let known = self.interface == interface && self.looked.is_some_and(|looked| looked.elapsed() < MOMENT);
        if !known {
            *self = Self { interface: interface.to_owned(), groups: look(), looked: Some(Instant::now()) };
        }
        &self.groups
    }
}
