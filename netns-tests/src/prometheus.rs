//! Debian's Prometheus as the program that reads the metrics.
//!
//! Its package would start a service, so it is unpacked and not installed. It is linked statically.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, Result};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    apt::Apt,
    cache::{Cache, OLDEST_SUITE},
    deadline::{SOON, until},
    http,
    netns::Namespace,
    process::Process,
};

/// Its package, and what it is called in the cache.
const PACKAGE: &str = "prometheus";
/// Where it answers, in its own namespace.
const LISTEN: &str = "127.0.0.1:9090";

/// The directory of `prometheus` and `promtool` in the cache; fetched first where the cache lacks them.
///
/// # Errors
/// The package cannot be fetched.
pub fn fetched() -> Result<PathBuf> {
    let packages = |_: &Apt| Ok(vec![PACKAGE.to_owned()]);
    let root = Cache::lock()?.unpacked(PACKAGE, "usr/bin/prometheus", &[OLDEST_SUITE], packages)?;
    Ok(root.join("usr/bin"))
}

/// `promtool`, still without arguments.
///
/// # Errors
/// As [`fetched`].
pub fn promtool() -> Result<Command> {
    Ok(Command::new(fetched()?.join("promtool")))
}

/// A running Prometheus that scrapes one target each second; dropping it kills it.
pub struct Prometheus<'a> {
    namespace: &'a Namespace,
    _process: Process,
    _directory: TempDir,
}

impl<'a> Prometheus<'a> {
    /// Starts it in `namespace`, where `target` is scraped, with alert rules as a file has them.
    ///
    /// # Errors
    /// It cannot be fetched or started.
    pub fn start(namespace: &'a Namespace, target: &str, alerts: &str) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("mcrt-").tempdir()?;
        fs::write(directory.path().join("alerts.yml"), alerts)?;
        let config = directory.path().join("prometheus.yml");
        fs::write(
            &config,
            format!(
                "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: [alerts.yml]\nscrape_configs:\n  - job_name: mcr\n    static_configs: [{{ targets: [\"{target}\"] }}]\n"
            ),
        )?;
        let mut command = namespace.command(fetched()?.join("prometheus"));
        command.arg(format!("--config.file={}", config.display()));
        command.arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()));
        command.arg(format!("--web.listen-address={LISTEN}"));
        let process = Process::spawn(&mut command)?;
        Ok(Self { namespace, _process: process, _directory: directory })
    }

    /// The answer of its HTTP API.
    ///
    /// # Errors
    /// It does not answer, or not with JSON.
    pub fn ask(&self, path: &str) -> Result<Value> {
        let (_, body) = http::get(self.namespace, LISTEN, path, "")?;
        serde_json::from_str(&body).context(body)
    }

    /// The value of a query that has one result.
    pub fn value(&self, query: &str) -> Option<f64> {
        let answer = self.ask(&format!("/api/v1/query?query={query}")).ok()?;
        answer["data"]["result"][0]["value"][1].as_str()?.parse().ok()
    }

    /// The alerts that fire, each with its labels in one line.
    ///
    /// # Errors
    /// As [`ask`](Self::ask).
    pub fn firing(&self) -> Result<Vec<String>> {
        let answer = self.ask("/api/v1/alerts")?;
        let alerts = answer["data"]["alerts"].as_array().context("no alerts")?;
        Ok(alerts.iter().filter(|alert| alert["state"] == "firing").map(|alert| alert["labels"].to_string()).collect())
    }

    /// Waits until this alert fires with all of `parts` in its labels.
    ///
    /// # Errors
    /// It does not in time.
    pub fn fires(&self, alert: &str, parts: &[&str]) -> Result<()> {
        let name = format!("\"alertname\":\"{alert}\"");
        let mut last = Vec::new();
        until(&format!("{alert} {parts:?}"), SOON, || {
            last = self.firing()?;
            let is_it = |labels: &&String| labels.contains(&name) && parts.iter().all(|part| labels.contains(part));
            Ok(last.iter().find(is_it).map(|_| ()))
        })
        .with_context(|| format!("firing: {last:?}"))
    }
}
