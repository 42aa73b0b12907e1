//! `mcrctl doctor` as its JSON and its text promise.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::process::Finished;

/// `mcrctl --json doctor`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Version of the object.
    pub version: u32,
    /// Of the host.
    pub host: Vec<Finding>,
    /// Of each interface.
    pub interfaces: Vec<Interface>,
}

/// An interface.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its driver.
    pub driver: Option<String>,
    /// Where its device is.
    pub bus: Option<String>,
    /// What made it.
    pub kind: Option<String>,
    /// Its MTU.
    pub mtu: Option<u32>,
    /// Its receive queues.
    pub rx_queues: Option<u32>,
    /// Its transmit queues.
    pub tx_queues: Option<u32>,
    /// What was found.
    pub findings: Vec<Finding>,
}

/// A finding.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// `ok`, `note`, `warning`, `problem` or `not_checked`.
    pub severity: String,
    /// Which check.
    pub id: String,
    /// What is so.
    pub found: String,
    /// What mends it.
    pub fix: Option<String>,
}

/// The words after `mcrctl`, for a socket that may have no daemon.
pub fn words(socket: &Path, interfaces: &[&str], json: bool) -> Vec<String> {
    let mut words = vec!["--socket".to_owned(), socket.display().to_string(), "doctor".to_owned()];
    words.extend(interfaces.iter().map(|name| (*name).to_owned()));
    words.extend(json.then(|| "--json".to_owned()));
    words
}

impl Report {
    /// Reads it; the exit code must be 1 where there is a problem, and 0 where there is none.
    pub fn of(finished: &Finished) -> Result<Self> {
        let report: Self = serde_json::from_str(&finished.stdout).with_context(|| finished.told())?;
        let problem = report.all().any(|finding| finding.severity == "problem");
        ensure!(finished.status.code() == Some(i32::from(problem)), "{}", finished.told());
        ensure!(report.version == 1 && finished.stderr.is_empty(), "{}", finished.told());
        Ok(report)
    }

    /// All findings, in order.
    pub fn all(&self) -> impl Iterator<Item = &Finding> {
        self.host.iter().chain(self.interfaces.iter().flat_map(|interface| &interface.findings))
    }

    /// The finding of a check, of the host or of the first interface.
    ///
    /// # Panics
    /// When there is none.
    pub fn find(&self, id: &str) -> &Finding {
        self.all().find(|finding| finding.id == id).unwrap_or_else(|| panic!("no finding {id}: {self:?}"))
    }

    /// A check's severity.
    ///
    /// # Panics
    /// When it has found nothing.
    pub fn severity(&self, id: &str) -> &str {
        &self.find(id).severity
    }
}
