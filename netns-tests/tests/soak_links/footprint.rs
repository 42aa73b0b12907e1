//! What the daemon holds: compared between two moments that are alike, it tells a leak.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result};
use netns_tests::netns::Namespace;
use nix::unistd::Pid;

use crate::kernel::xdp_sockets;

/// What a process holds at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// Descriptors by what they are of.
    descriptors: BTreeMap<String, usize>,
    threads: usize,
    /// AF_XDP sockets of its network namespace.
    xdp_sockets: usize,
}

impl Footprint {
    /// That of `pid`, in `namespace`.
    pub fn of(pid: Pid, namespace: &Namespace) -> Result<Self> {
        let mut descriptors: BTreeMap<String, usize> = BTreeMap::new();
        for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
            let target = fs::read_link(entry?.path())?.display().to_string();
            // socket:[1234] is one socket among others.
            let kind = target.split(":[").next().unwrap_or_default().to_owned();
            *descriptors.entry(kind).or_default() += 1;
        }
        let threads = fs::read_dir(format!("/proc/{pid}/task"))?.count();
        Ok(Self { descriptors, threads, xdp_sockets: xdp_sockets(namespace)? })
    }
}

/// Resident memory of a process in KiB.
pub fn resident(pid: Pid) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
