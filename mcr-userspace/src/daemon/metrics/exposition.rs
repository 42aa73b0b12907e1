//! The counters of `stats` in the exposition format.

use prometheus_client::{
    encoding::text,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::labels::{self, OutputLabels};
use crate::{control::protocol::Stats, daemon::retire::Shared};

/// The exposition format: <https://prometheus.io/docs/specs/om/open_metrics_spec/>.
pub const FORMAT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The counters now, in the exposition format. Only the reading of them holds the daemon's state.
pub fn of(shared: &Shared) -> String {
    shared.settle();
    let (stats, labels) = {
        let state = shared.lock();
        (state.stats(None), state.set.iter().map(labels::of).collect::<Vec<_>>())
    };
    exposition(&stats, &labels)
}

type Labels = Vec<(&'static str, String)>;

/// The counters, with the labels of each rule's outputs.
fn exposition(stats: &Stats, labels: &[Vec<OutputLabels>]) -> String {
    let mut registry = Registry::with_prefix("mcr");
    let mut counter = |name: &str, help: &str| {
        let family = Family::<Labels, Counter>::default();
        registry.register(name, help, family.clone());
        move |labels: &[(&'static str, &str)], value: u64| {
            family.get_or_create(&owned(labels)).inc_by(value);
        }
    };
    let matched = counter("rule_matched_packets", "Packets that the XDP program steered for the rule");
    let matched_bytes = counter("rule_matched_bytes", "Their bytes");
    let rule_dropped = counter("rule_dropped_packets", "Matched packets that no output was offered");
    let offered = counter("output_offered_packets", "Packets that reached the output");
    let sent = counter("output_sent_packets", "Packets that the output sent");
    let sent_bytes = counter("output_sent_bytes", "Their bytes");
    let output_dropped = counter("output_dropped_packets", "Packets offered to the output and not sent");
    let verdicts = counter("interface_verdict_packets", "Packets by what the XDP program decided");
    let received = counter("worker_rx_packets", "Packets taken from RX rings");
    let completed = counter("worker_tx_packets", "Packets completed by TX rings");
    let own_lookups =
        counter("worker_own_lookups", "Packets whose rule the worker looked up, for lack of XDP metadata");
    let mut gauge = |name: &str, help: &str| {
        let family = Family::<Labels, Gauge>::default();
        registry.register(name, help, family.clone());
        family
    };
    let frames = gauge("worker_frames", "Frames of the worker's UMEMs");
    let frames_free = gauge("worker_frames_free", "Frames in the worker's pools");

    for (rule, labels) in stats.rules.iter().zip(labels) {
        let name = rule.name.as_str();
        matched(&[("rule", name)], rule.matched_packets);
        matched_bytes(&[("rule", name)], rule.matched_bytes);
        for (reason, count) in &rule.dropped {
            rule_dropped(&[("rule", name), ("reason", reason)], *count);
        }
        for (output, OutputLabels { output: label, vlan }) in rule.outputs.iter().zip(labels) {
            let port = output.port.map(|port| port.to_string()).unwrap_or_default();
            let labels = [
                ("rule", name),
                ("output", label),
                ("interface", &output.interface),
                ("group", &output.group),
                ("port", port.as_str()),
                ("vlan", vlan),
            ];
            offered(&labels, output.offered_packets);
            sent(&labels, output.sent_packets);
            sent_bytes(&labels, output.sent_bytes);
            for (reason, count) in &output.dropped {
                output_dropped(&[&labels[..], &[("reason", reason)]].concat(), *count);
            }
        }
    }
    for interface in &stats.interfaces {
        for (verdict, count) in &interface.verdicts {
            verdicts(&[("interface", &interface.name), ("verdict", verdict)], *count);
        }
    }
    for worker in &stats.workers {
        let id = worker.id.to_string();
        received(&[("worker", &id)], worker.rx_packets);
        completed(&[("worker", &id)], worker.tx_packets);
        own_lookups(&[("worker", &id)], worker.own_lookups);
        frames.get_or_create(&owned(&[("worker", &id)])).set(worker.frames_total as i64);
        frames_free.get_or_create(&owned(&[("worker", &id)])).set(worker.frames_free as i64);
    }
    let mut text = String::new();
    text::encode(&mut text, &registry).expect("a string takes all that is written");
    text
}

fn owned(labels: &[(&'static str, &str)]) -> Labels {
    labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
}
