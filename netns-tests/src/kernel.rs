//! What a daemon holds in the kernel, and whether it is gone.

use std::{fs, process::Command};

use anyhow::{Context, Result, ensure};
use nix::unistd::Pid;

use crate::{
    deadline::{SOON, until},
    netns::Namespace,
    process::finish,
};

/// BPF objects by `bpftool`'s word for their kind, and id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held(Vec<(&'static str, u32)>);

impl Held {
    /// Every BPF program, map and link that a process has a descriptor of.
    pub fn by(pid: Pid) -> Result<Self> {
        let mut held = Vec::new();
        let directory = format!("/proc/{pid}/fdinfo");
        for entry in fs::read_dir(&directory).with_context(|| directory.clone())? {
            // A descriptor may be closed meanwhile.
            let text = fs::read_to_string(entry?.path()).unwrap_or_default();
            for line in text.lines() {
                // A link's entry names its program too: once is enough.
                for (key, kind) in [("prog_id:", "prog"), ("map_id:", "map"), ("link_id:", "link")] {
                    if let Some(id) = line.strip_prefix(key).and_then(|id| id.trim().parse().ok()) {
                        held.push((kind, id));
                    }
                }
            }
        }
        held.sort_unstable();
        held.dedup();
        Ok(Self(held))
    }

    /// How many there are of a kind: `prog`, `map` or `link`.
    pub fn count(&self, kind: &str) -> usize {
        self.0.iter().filter(|(of, _)| *of == kind).count()
    }

    /// Waits until the kernel has freed them all; it does so shortly after the last user is gone.
    pub fn gone(&self) -> Result<()> {
        for (kind, id) in &self.0 {
            let show = [kind, "show", "id", &id.to_string()].map(String::from);
            until(&format!("bpftool no longer showing {kind} {id}"), SOON, || {
                let shown = finish(Command::new("bpftool").args(&show))?;
                let absent =
                    shown.stderr.contains("No such file or directory") || shown.stdout.contains("No such file");
                ensure!(shown.status.success() || absent, "{}", shown.told());
                Ok(absent.then_some(()))
            })?;
        }
        Ok(())
    }
}

/// The interfaces of a namespace with what a daemon may change on them: `ip -details link`, without what passes by.
pub fn links(namespace: &Namespace) -> Result<String> {
    namespace.run("ip -details link show")
}
