//! `[daemon] metrics_listen`: the counters of `stats`, as Prometheus reads them.

use std::{net::SocketAddr, sync::Arc, thread};

use anyhow::Context;
use prometheus_client::{
    encoding::text,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use tiny_http::{Header, Method, Response, Server};

use super::retire::Shared;
use crate::control::protocol::Stats;

/// The exposition format: <https://prometheus.io/docs/specs/om/open_metrics_spec/>.
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Listens at `address`.
///
/// # Errors
///
/// It cannot be listened on.
pub fn listen(address: SocketAddr) -> anyhow::Result<Server> {
    Server::http(address)
        .map_err(|error| anyhow::anyhow!("{error}"))
        .with_context(|| format!("metrics_listen {address}"))
}

/// Serves `GET /metrics`, from a thread that ends with the process.
pub fn serve(server: Server, shared: Arc<Shared>) -> anyhow::Result<()> {
    log::info!("metrics at http://{}/metrics", server.server_addr());
    thread::Builder::new().name("mcr-metrics".into()).spawn(move || {
        for request in server.incoming_requests() {
            let answer = match (request.method(), request.url()) {
                (Method::Get, "/metrics") => {
                    shared.settle();
                    let stats = shared.lock().stats(None);
                    let header = Header::from_bytes("Content-Type", CONTENT_TYPE).expect("it is a header");
                    Response::from_string(exposition(&stats)).with_header(header)
                }
                _ => Response::from_string("GET /metrics is all there is\n").with_status_code(404),
            };
            if let Err(error) = request.respond(answer) {
                log::debug!("metrics: {error}");
            }
        }
    })?;
    Ok(())
}

type Labels = Vec<(&'static str, String)>;

/// The counters in the exposition format.
pub fn exposition(stats: &Stats) -> String {
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

    for rule in &stats.rules {
        let name = rule.name.as_str();
        matched(&[("rule", name)], rule.matched_packets);
        matched_bytes(&[("rule", name)], rule.matched_bytes);
        for (reason, count) in &rule.dropped {
            rule_dropped(&[("rule", name), ("reason", reason)], *count);
        }
        for output in &rule.outputs {
            let port = output.port.map(|port| port.to_string()).unwrap_or_default();
            let labels =
                [("rule", name), ("interface", &output.interface), ("group", &output.group), ("port", port.as_str())];
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
