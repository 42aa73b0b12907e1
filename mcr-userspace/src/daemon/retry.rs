//! Causes that may pass by themselves, and when to try again: another program that holds an interface, memory or descriptors that are
//! used up. All other causes pass only when the interface changes, and trying again would disturb it for nothing.

use std::{
    io,
    time::{Duration, Instant},
};

use crate::kernel::{answer, nic::Nic};

/// How long the first wait is; each further one is twice as long.
const FIRST: Duration = Duration::from_secs(1);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(8);

/// An error whose cause may pass without any change of the interface.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct MayPass(pub String);

/// Whether the cause of an error may pass without any change of the interface.
pub fn may_pass(error: &anyhow::Error) -> bool {
    let is_held = |error: &io::Error| matches!(error.raw_os_error(), Some(libc::EBUSY | libc::EEXIST));
    error.chain().any(|cause| cause.is::<MayPass>())
        || io_errors(error).any(|error| answer::is_none(error) || is_held(error))
}

/// Whether the kernel lacked memory, or was not allowed to lock it.
pub fn lacks_memory(error: &anyhow::Error) -> bool {
    io_errors(error).any(|error| matches!(error.raw_os_error(), Some(libc::ENOMEM | libc::ENOBUFS)))
}

fn io_errors(error: &anyhow::Error) -> impl Iterator<Item = &io::Error> {
    error.chain().filter_map(|cause| cause.downcast_ref())
}

/// When something that failed for a passing cause is tried again.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    /// The next time.
    at: Instant,
    /// The wait before it.
    wait: Duration,
}

impl Retry {
    /// After a failure at `now`, which followed the attempt that `before` had asked for.
    pub fn after(before: Option<Self>, now: Instant) -> Self {
        let wait = before.map_or(FIRST, |before| (before.wait * 2).min(LONGEST));
        Self { at: now + wait, wait }
    }

    /// The cause may be gone: it is time at once.
    pub fn hurry(&mut self, now: Instant) {
        self.at = now;
    }

    /// Whether it is time.
    pub fn is_due(self, now: Instant) -> bool {
        now >= self.at
    }
}

/// What was refused of an interface.
#[derive(Debug)]
pub struct Refusal {
    /// The interface as it was then.
    nic: Nic,
    /// When to try again though it is the same, where the cause may pass.
    retry: Option<Retry>,
}

impl Refusal {
    /// `error` came of trying `nic` at `now`, after what was refused before.
    pub fn new(nic: Nic, before: Option<Self>, error: &anyhow::Error, now: Instant) -> Self {
        let before = before.and_then(|before| before.retry);
        Self { nic, retry: may_pass(error).then(|| Retry::after(before, now)) }
    }

    /// Whether there is no use in trying again now.
    pub fn stands(&self, nic: &Nic, now: Instant) -> bool {
        self.nic == *nic && self.retry.is_none_or(|retry| !retry.is_due(now))
    }

    /// The cause may be gone: try again at once.
    pub fn hurry(&mut self, now: Instant) {
        self.retry.iter_mut().for_each(|retry| retry.hurry(now));
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn causes_are_told_apart_through_their_context() {
        let of = |errno| anyhow::Error::from(io::Error::from_raw_os_error(errno)).context("attaching");
        assert!([libc::EBUSY, libc::EMFILE, libc::ENOMEM].into_iter().all(|errno| may_pass(&of(errno))));
        assert!(
            ![libc::EINVAL, libc::EOPNOTSUPP, libc::ENODEV, libc::EPERM].into_iter().any(|errno| may_pass(&of(errno)))
        );
        assert!(lacks_memory(&of(libc::ENOBUFS)) && !lacks_memory(&of(libc::EBUSY)));
        let said: anyhow::Result<()> = Err(MayPass("another program is attached".to_owned()).into());
        assert!(said.context("eth0").is_err_and(|error| may_pass(&error)));
        assert!(!may_pass(&anyhow::anyhow!("a VLAN interface")));
    }

    #[test]
    fn waits_double_up_to_a_longest() {
        let now = Instant::now();
        let mut retry = Retry::after(None, now);
        assert!(!retry.is_due(now) && retry.is_due(now + FIRST));
        for seconds in [2, 4, 8, 8, 8] {
            retry = Retry::after(Some(retry), now);
            assert_eq!(retry.wait, Duration::from_secs(seconds));
        }
    }
}
