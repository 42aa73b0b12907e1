//! Findings as a person reads them, and as JSON.

use std::io::{self, Write};

use serde::Serialize;

use super::finding::{Finding, Severity, shown};

/// All that was found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Version of this object.
    pub(super) version: u32,
    /// Of the host.
    pub(super) host: Vec<Finding>,
    /// Of each interface.
    pub(super) interfaces: Vec<Examined>,
}

/// What was found of an interface; what is not known of it is `null`.
#[derive(Debug, Default, Serialize)]
pub(super) struct Examined {
    pub(super) name: String,
    pub(super) driver: Option<String>,
    pub(super) bus: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) mtu: Option<u32>,
    pub(super) rx_queues: Option<u32>,
    pub(super) tx_queues: Option<u32>,
    pub(super) findings: Vec<Finding>,
}

impl Report {
    /// Whether anything is a problem.
    pub fn has_problem(&self) -> bool {
        self.findings().any(|finding| finding.severity == Severity::Problem)
    }

    fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.host.iter().chain(self.interfaces.iter().flat_map(|interface| &interface.findings))
    }

    /// As one JSON object.
    pub fn json(&self, out: &mut dyn Write) -> io::Result<()> {
        serde_json::to_writer(&mut *out, self)?;
        writeln!(out)?;
        out.flush()
    }

    /// For people.
    pub fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        let width = self.findings().map(|finding| finding.id.len()).max().unwrap_or(0);
        writeln!(out, "host")?;
        lines(&self.host, width, out)?;
        for interface in &self.interfaces {
            writeln!(out, "\n{}", interface.head())?;
            lines(&interface.findings, width, out)?;
        }
        writeln!(out, "\n{}", self.sum())?;
        out.flush()
    }

    fn sum(&self) -> String {
        let count = |severity| self.findings().filter(|finding| finding.severity == severity).count();
        let plural = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
        format!(
            "{}, {}, {}, {} not checked",
            plural(count(Severity::Problem), "problem"),
            plural(count(Severity::Warning), "warning"),
            plural(count(Severity::Note), "note"),
            count(Severity::NotChecked)
        )
    }
}

impl Examined {
    fn head(&self) -> String {
        let driver = self.driver.as_deref().map(|driver| if driver.is_empty() { "no driver" } else { driver });
        let bus = self.bus.as_deref().filter(|bus| !bus.is_empty()).map(|bus| format!(" at {bus}")).unwrap_or_default();
        match (driver, self.rx_queues, self.tx_queues, self.mtu) {
            (Some(driver), Some(rx), Some(tx), Some(mtu)) => {
                format!("{}: {driver}{bus}, {rx} receive and {tx} transmit queues, MTU {mtu}", shown(&self.name))
            }
            _ => shown(&self.name),
        }
    }
}

fn lines(findings: &[Finding], width: usize, out: &mut dyn Write) -> io::Result<()> {
    for Finding { severity, id, found, fix } in findings {
        writeln!(out, "  {severity:<11}  {id:<width$}  {found}")?;
        if let Some(fix) = fix {
            writeln!(out, "  fix: {fix}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_fixes_and_the_sum() {
        let problem = Finding::problem("mtu", "too large").fix("ip link set dev a mtu 3822");
        let interface = Examined { name: "a".into(), findings: vec![problem], ..Examined::default() };
        let host = vec![Finding::ok("kernel", "new"), Finding::not_checked("memlock", "no")];
        let report = Report { version: 1, host, interfaces: vec![interface] };
        let mut text = Vec::new();
        report.text(&mut text).expect("memory");
        let expected = "host\n  ok           kernel   new\n  not checked  memlock  no\n\na\n  problem      mtu      too large\n  fix: ip link set dev a mtu 3822\n\n1 problem, 0 warnings, 0 notes, 1 not checked\n";
        assert_eq!(String::from_utf8(text).expect("UTF-8"), expected);
        assert!(report.has_problem());
        let json = serde_json::to_value(&report).expect("JSON");
        assert_eq!(json["host"][1]["severity"], "not_checked");
        assert_eq!(json["interfaces"][0]["driver"], serde_json::Value::Null);
        assert_eq!(json["interfaces"][0]["findings"][0]["fix"], "ip link set dev a mtu 3822");
    }
}
