//! What both sides say at the end: one JSON object for machines (the field names are an interface), lines for people.

use std::{
    fmt,
    net::Ipv4Addr,
    time::{Duration, UNIX_EPOCH},
};

use hdrhistogram::Histogram;
use serde::Serialize;

/// The sender's result.
#[derive(Debug, Serialize)]
pub struct SendSummary {
    /// Packets that the kernel took.
    pub packets: u64,
    /// From the start of the schedule to its end.
    pub seconds: f64,
    /// `packets / seconds`.
    pub rate_pps: f64,
    /// Packets that the kernel refused.
    pub errors: u64,
    /// By stream.
    pub streams: Vec<SendStream>,
    /// Why the last refused packet was refused.
    #[serde(skip)]
    pub last_error: Option<String>,
    /// Packets that the schedule had.
    #[serde(skip)]
    pub planned: u64,
}

/// One stream of a sender.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct SendStream {
    pub stream: usize,
    pub group: Ipv4Addr,
    pub port: u16,
    pub packets: u64,
}

/// The receiver's result.
#[derive(Debug, Serialize)]
pub struct RecvSummary {
    /// Different packets received; duplicates are counted apart, so with a count `packets + lost` is that count.
    pub packets: u64,
    /// From the first packet to the last.
    pub seconds: f64,
    /// `packets / seconds`.
    pub rate_pps: f64,
    /// Sequence numbers that never came.
    pub lost: u64,
    /// Packets whose number had come before.
    pub duplicated: u64,
    /// Packets that came for the first time after a higher number of their stream.
    pub reordered: u64,
    /// Packets that are not of these streams: no probe's, damaged, of another sender run, led to a wrong group.
    pub foreign: u64,
    /// Dropped by the kernel at this receiver's own sockets: queue full, or bad UDP checksum. Such are lost, too.
    pub receiver_dropped: u64,
    /// UDP packets with a bad checksum in this network namespace meanwhile.
    pub checksum_errors: u64,
    /// From handing to the kernel to arrival in the receiving kernel; null when sender and receiver do not share a clock.
    pub latency_us: Option<Latency>,
    /// When the first and the last of the lost were missed, in seconds since 1970; null where none was lost, or only the last ones.
    pub lost_between: Option<(f64, f64)>,
    /// By stream.
    pub streams: Vec<RecvStream>,
}

/// One stream of a receiver.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the names are those of the summary")]
pub struct RecvStream {
    pub stream: usize,
    pub group: Ipv4Addr,
    pub port: u16,
    pub packets: u64,
    pub lost: u64,
    pub duplicated: u64,
    pub reordered: u64,
}

/// One-way delay in microseconds.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "quantiles; p999 is 99.9 %")]
pub struct Latency {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

impl From<&Histogram<u64>> for Latency {
    fn from(ns: &Histogram<u64>) -> Self {
        let us = |quantile| ns.value_at_quantile(quantile) as f64 / 1e3;
        Self { p50: us(0.5), p90: us(0.9), p99: us(0.99), p999: us(0.999), max: ns.max() as f64 / 1e3 }
    }
}

impl RecvSummary {
    /// Whether every packet that was due came exactly once, and nothing else.
    pub fn is_clean(&self) -> bool {
        self.packets > 0 && self.lost + self.duplicated + self.foreign + self.receiver_dropped == 0
    }
}

impl fmt::Display for SendSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { packets, seconds, rate_pps, errors, streams, planned, .. } = self;
        write!(
            f,
            "sent {packets} packets in {seconds:.3} s, {rate_pps:.0} a second, {} streams, {errors} errors",
            streams.len()
        )?;
        if packets < planned {
            write!(f, "\nnot sent: {} of {planned} planned", planned - packets)?;
        }
        Ok(())
    }
}

impl fmt::Display for RecvSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { packets, seconds, rate_pps, lost, duplicated, reordered, foreign, streams, .. } = self;
        writeln!(f, "received {packets} packets in {seconds:.3} s, {rate_pps:.0} a second, {} streams", streams.len())?;
        write!(f, "lost {lost}, duplicated {duplicated}, reordered {reordered}, foreign {foreign}")?;
        if let Some((first, last)) = self.lost_between {
            let shown = |seconds| humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_secs_f64(seconds));
            write!(f, "\nlost from {} to {}", shown(first), shown(last))?;
        }
        if self.receiver_dropped > 0 {
            write!(f, "\n{} of them dropped at this receiver's own sockets, not on the way", self.receiver_dropped)?;
        }
        if self.checksum_errors > 0 {
            write!(f, "\n{} packets with a bad UDP checksum in this network namespace", self.checksum_errors)?;
        }
        match &self.latency_us {
            Some(Latency { p50, p90, p99, p999, max }) => {
                write!(f, "\nlatency in us: p50 {p50:.1}, p90 {p90:.1}, p99 {p99:.1}, p99.9 {p999:.1}, max {max:.1}")?;
            }
            None if *packets > 0 => write!(f, "\nlatency unknown: the sender's clock is not this machine's")?,
            None => {}
        }
        // the streams with faults, worst first
        let faults = |s: &&RecvStream| s.lost + s.duplicated + s.reordered;
        let mut bad: Vec<_> = streams.iter().filter(|s| faults(s) > 0).collect();
        bad.sort_by_key(|s| std::cmp::Reverse(faults(s)));
        for s in bad.iter().take(10) {
            write!(
                f,
                "\nstream {} {}:{}: received {}, lost {}, duplicated {}, reordered {}",
                s.stream, s.group, s.port, s.packets, s.lost, s.duplicated, s.reordered
            )?;
        }
        if bad.len() > 10 {
            write!(f, "\nand {} more streams with faults", bad.len() - 10)?;
        }
        Ok(())
    }
}
