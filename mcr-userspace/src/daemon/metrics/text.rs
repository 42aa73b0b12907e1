//! The two text formats of Prometheus, written from one list of families.
//!
//! * 0.0.4: <https://prometheus.io/docs/instrumenting/exposition_formats/>
//! * OpenMetrics: <https://prometheus.io/docs/specs/om/open_metrics_spec/>

use std::fmt::Write;

use super::{
    accept::Format,
    families::{Family, Kind},
};

/// An answer that grows family by family.
#[derive(Debug)]
pub struct Text {
    format: Format,
    out: String,
}

/// The samples of one family.
#[derive(Debug)]
pub struct Series<'a> {
    family: &'a Family,
    out: &'a mut String,
}

/// A sample's value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// A number of things.
    Count(u64),
    /// Seconds.
    Seconds(f64),
}

impl From<u64> for Value {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<bool> for Value {
    fn from(holds: bool) -> Self {
        Self::Count(holds.into())
    }
}

impl From<f64> for Value {
    fn from(seconds: f64) -> Self {
        Self::Seconds(seconds)
    }
}

impl Text {
    /// An empty answer.
    pub fn new(format: Format) -> Self {
        Self { format, out: String::new() }
    }

    /// Begins a family; each family is begun once.
    pub fn family<'a>(&'a mut self, family: &'a Family) -> Series<'a> {
        let (name, kind) = match (self.format, family.kind) {
            // OpenMetrics names the family without the suffix of its samples.
            (Format::OpenMetrics, Kind::Counter) => (family.name.trim_end_matches("_total"), "counter"),
            (Format::OpenMetrics, Kind::Info) => (family.name.trim_end_matches("_info"), "info"),
            (Format::Text, Kind::Counter) => (family.name, "counter"),
            (_, Kind::Gauge | Kind::Info) => (family.name, "gauge"),
        };
        // No help text has a character that needs an escape: a test sees to that.
        // A String takes all that is written.
        let _ = write!(self.out, "# HELP {name} {}\n# TYPE {name} {kind}\n", family.help);
        Series { family, out: &mut self.out }
    }

    /// The whole answer.
    pub fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.out.push_str("# EOF\n");
        }
        self.out
    }
}

impl Series<'_> {
    /// Adds a sample, with the values of the family's labels in their order.
    pub fn sample(&mut self, labels: &[&str], value: impl Into<Value>) {
        debug_assert_eq!(labels.len(), self.family.labels.len(), "{}", self.family.name);
        self.out.push_str(self.family.name);
        let mut before = '{';
        for (name, value) in self.family.labels.iter().zip(labels) {
            self.out.push(before);
            before = ',';
            self.out.push_str(name);
            self.out.push_str("=\"");
            escape(value, self.out);
            self.out.push('"');
        }
        if before == ',' {
            self.out.push('}');
        }
        // A String takes all that is written.
        let _ = match value.into() {
            Value::Count(count) => writeln!(self.out, " {count}"),
            Value::Seconds(seconds) => writeln!(self.out, " {seconds:.3}"),
        };
    }
}

/// A label's value: both formats escape the same three characters.
fn escape(value: &str, out: &mut String) {
    let mut rest = value;
    while let Some(at) = rest.find(['\\', '"', '\n']) {
        out.push_str(&rest[..at]);
        out.push_str(match rest.as_bytes()[at] {
            b'\\' => "\\\\",
            b'"' => "\\\"",
            _ => "\\n",
        });
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::{super::families, *};

    fn write(format: Format) -> String {
        let mut text = Text::new(format);
        text.family(&families::BUILD).sample(&["1.2.3", "x86_64"], 1);
        text.family(&families::THREADS).sample(&[], 7);
        let mut dropped = text.family(&families::RULE_DROPPED);
        dropped.sample(&["a \"b\" \\ c\nd é", "rx_ring"], u64::MAX);
        dropped.sample(&["", "malformed"], 0);
        text.family(&families::START).sample(&[], 1_700_000_000.25);
        text.finish()
    }

    const SAMPLES: [&str; 5] = [
        r#"mcr_build_info{version="1.2.3",arch="x86_64"} 1"#,
        "process_threads 7",
        r#"mcr_rule_dropped_packets_total{rule="a \"b\" \\ c\nd é",reason="rx_ring"} 18446744073709551615"#,
        r#"mcr_rule_dropped_packets_total{rule="",reason="malformed"} 0"#,
        "process_start_time_seconds 1700000000.250",
    ];

    #[test]
    fn both_formats_have_the_same_samples_and_their_own_types() {
        let (text, open_metrics) = (write(Format::Text), write(Format::OpenMetrics));
        for written in [&text, &open_metrics] {
            let samples: Vec<&str> = written.lines().filter(|line| !line.starts_with('#')).collect();
            assert_eq!(samples, SAMPLES);
        }
        let types = |written: &str| -> Vec<String> {
            let types = written.lines().filter_map(|line| line.strip_prefix("# TYPE "));
            types.map(str::to_owned).collect()
        };
        assert_eq!(
            types(&text),
            [
                "mcr_build_info gauge",
                "process_threads gauge",
                "mcr_rule_dropped_packets_total counter",
                "process_start_time_seconds gauge"
            ]
        );
        assert_eq!(
            types(&open_metrics),
            [
                "mcr_build info",
                "process_threads gauge",
                "mcr_rule_dropped_packets counter",
                "process_start_time_seconds gauge"
            ]
        );
        assert!(open_metrics.ends_with("\n# EOF\n") && !text.contains("EOF"));
    }

    #[test]
    fn help_texts_need_no_escape() {
        assert!(families::ALL.iter().all(|family| !family.help.contains(['\\', '"', '\n'])));
    }
}
