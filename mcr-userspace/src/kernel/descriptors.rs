//! File descriptors: how many this process may have, how many of them clients may take, and whether any is left.

use std::{fs::File, io};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// With fewer than these no daemon starts: its program's maps, its threads' wake-ups and the sockets of one pair of interfaces take half.
const LEAST: u64 = 64;
/// Clients of one kind may have one in so many. The others are for packets: sockets, programs, memberships.
const SHARE: u64 = 8;

/// Raises the limit as far as this process may, and returns it.
pub fn raise_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        log::debug!("the limit of open files stays {:?}: {error}", limit.current);
    }
    self::limit()
}

/// Refuses a limit with which the daemon could not do its work.
///
/// # Errors
///
/// The limit, and the commands that raise it.
pub fn suffice() -> anyhow::Result<()> {
    let limit = limit();
    anyhow::ensure!(
        limit >= LEAST,
        "the limit of {limit} file descriptors is too low: mcrd needs at least {LEAST}; {REMEDY}"
    );
    Ok(())
}

/// What raises the limit.
const REMEDY: &str = "raise it with `ulimit -Hn 4096`, or under systemd with `LimitNOFILE=4096`";

/// The limit now.
fn limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// How many of `most` descriptors clients of one kind may take.
pub fn share(most: usize) -> usize {
    usize::try_from(limit() / SHARE).map_or(most, |share| share.min(most))
}

/// Whether so many descriptors are left, for a library that hides their lack behind errors of its own.
///
/// # Errors
///
/// EMFILE or ENFILE, where they are not.
pub fn are_left(count: usize) -> io::Result<()> {
    (0..count).map(|_| File::open("/dev/null")).collect::<io::Result<Vec<File>>>().map(drop)
}

/// What it means to the user that a descriptor lacked, where `error` says so.
pub fn explain(error: &io::Error) -> Option<String> {
    match error.raw_os_error() {
        Some(libc::EMFILE) => {
            Some(format!("all of the {} file descriptors that mcrd may have are in use; {REMEDY}", limit()))
        }
        Some(libc::ENFILE) => Some(
            "all file descriptors of this machine are in use; `sysctl fs.file-nr` shows how many, `sysctl -w fs.file-max=N` allows more"
                .to_owned(),
        ),
        _ => None,
    }
}

/// `error` with [`explain`]'s words before it, where a lack of descriptors is among its causes.
pub fn explained(error: anyhow::Error) -> anyhow::Error {
    match error.chain().find_map(|cause| explain(cause.downcast_ref()?)) {
        Some(why) => error.context(why),
        None => error,
    }
}
