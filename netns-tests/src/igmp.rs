//! What a host says of IGMP, in tcpdump's words.

use anyhow::{Context, Result};

use crate::{
    deadline::{SOON, until},
    netns::Namespace,
    process::Process,
};

/// The reports that leave by an interface.
pub struct Reports(Process);

impl Reports {
    /// Everything from now on.
    pub fn listen(namespace: &Namespace, interface: &str) -> Result<Self> {
        let mut tcpdump = namespace.command("tcpdump");
        tcpdump.args(["-l", "-n", "-vv", "-i", interface, "-Q", "out", "igmp"]);
        let process = Process::spawn(&mut tcpdump)?;
        until("tcpdump", SOON, || Ok(process.stderr().contains("listening on").then_some(())))?;
        Ok(Self(process))
    }

    /// What has been said so far.
    pub fn said(&self) -> String {
        self.0.stdout()
    }

    /// Waits until all of these words have been said.
    pub fn until(&self, words: &[&str]) -> Result<()> {
        let said = || self.said();
        until("the host's report", SOON, || Ok(words.iter().all(|word| said().contains(word)).then_some(())))
            .with_context(|| format!("{words:?} of\n{}", said()))
    }
}
