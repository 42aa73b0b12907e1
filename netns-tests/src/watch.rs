//! The relay's counters before and after a load: what an [`Account`] is made of.

use std::time::{Duration, Instant};

use anyhow::Result;
use nix::unistd::Pid;

use crate::{
    account::Account,
    daemon::Daemon,
    netns::Namespace,
    probe::{Load, Received},
    stats::{Stats, sum},
    threads,
    topology::Network,
};

/// Counts of the relay, since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    arrived: u64,
    judged: u64,
    host: u64,
    matched: u64,
    overflowed: u64,
    dropped: u64,
    sent: u64,
    not_sent: u64,
    left: u64,
}

/// A load on its way.
pub struct Watch<'a> {
    network: &'a Network,
    ingress: &'a str,
    egresses: Vec<String>,
    before: Counts,
    daemon: Pid,
    begun: Instant,
    waited: Duration,
}

impl Counts {
    fn read(network: &Network, stats: &Stats, ingress: &str, egresses: &[String]) -> Result<Self> {
        let relay = network.relay();
        let mut left = 0;
        for egress in egresses {
            left += counter(relay, egress, "tx_packets")? + counter(relay, egress, "tx_dropped")?;
        }
        Ok(Self {
            arrived: counter(relay, ingress, "rx_packets")?,
            judged: stats.interface(ingress).verdicts.values().sum(),
            host: host_datagrams(&relay.run("cat /proc/net/snmp")?),
            matched: stats.totals.matched_packets,
            overflowed: overflowed(stats),
            dropped: sum(&stats.totals.dropped) - overflowed(stats),
            sent: stats.totals.sent_packets,
            not_sent: sum(&stats.totals.output_dropped),
            left,
        })
    }
}

impl<'a> Watch<'a> {
    /// Begins to watch the relay, which is at rest, as `stats` say.
    pub fn begin(
        network: &'a Network,
        daemon: &Daemon,
        stats: &Stats,
        ingress: &'a str,
        egresses: &[&str],
    ) -> Result<Self> {
        let egresses: Vec<String> = egresses.iter().map(|name| (*name).to_owned()).collect();
        let before = Counts::read(network, stats, ingress, &egresses)?;
        let daemon = daemon.pid();
        Ok(Self { network, ingress, egresses, before, daemon, begun: Instant::now(), waited: waited(daemon)?.0 })
    }

    /// The account of the load that came since, once the relay is at rest. `offered` is what was sent, and at what rate; of what the
    /// relay sent, receivers are to get all or a part: `due` of it.
    pub fn end(
        self,
        stats: &Stats,
        load: (u64, f64),
        offered: (u64, f64),
        due: impl FnOnce(u64) -> u64,
        received: Vec<Received>,
    ) -> Result<Account> {
        let Self { network, ingress, egresses, before, daemon, begun, waited: waited_before } = self;
        let (waited, workers) = waited(daemon)?;
        let time = begun.elapsed() * workers.max(1);
        let now = Counts::read(network, stats, ingress, &egresses)?;
        let sent = now.sent - before.sent;
        Ok(Account {
            wanted: load,
            offered,
            arrived: now.arrived - before.arrived,
            judged: now.judged - before.judged,
            host: now.host - before.host,
            matched: now.matched - before.matched,
            overflowed: now.overflowed - before.overflowed,
            starved: (waited - waited_before).as_secs_f64() / time.as_secs_f64(),
            dropped: now.dropped - before.dropped,
            sent,
            not_sent: now.not_sent - before.not_sent,
            left: now.left - before.left,
            due: due(sent),
            received,
        })
    }
}

/// What a load asks for.
pub fn wanted(load: &Load) -> (u64, f64) {
    (load.packets(), load.rate as f64)
}

/// One of an interface's counters, as `/sys/class/net/IF/statistics` has it.
pub fn counter(namespace: &Namespace, interface: &str, name: &str) -> Result<u64> {
    let text = namespace.run(&format!("cat /sys/class/net/{interface}/statistics/{name}"))?;
    Ok(text.trim().parse()?)
}

/// Packets of all rules that were lost in the kernel's rings.
fn overflowed(stats: &Stats) -> u64 {
    stats.totals.dropped.get("rx_ring").copied().unwrap_or(0)
}

/// How long a daemon's workers have waited for a CPU, together, and how many there are.
fn waited(daemon: Pid) -> Result<(Duration, u32)> {
    let threads = threads::of(daemon)?;
    let workers: Vec<Duration> =
        threads.iter().filter(|thread| thread.name.starts_with("mcr-worker")).map(|thread| thread.waited).collect();
    Ok((workers.iter().sum(), workers.len() as u32))
}

/// UDP packets that a host's stack got, whether anybody took them or not.
fn host_datagrams(snmp: &str) -> u64 {
    let mut lines = snmp.lines().filter_map(|line| line.strip_prefix("Udp: "));
    let (Some(names), Some(values)) = (lines.next(), lines.next()) else { return 0 };
    let counts = names.split(' ').zip(values.split(' '));
    counts
        .filter(|(name, _)| ["InDatagrams", "NoPorts", "InErrors", "IgnoredMulti"].contains(name))
        .filter_map(|(_, value)| value.parse::<u64>().ok())
        .sum()
}

/// Waits until a daemon is at rest, and begins to watch it.
pub fn begin<'a>(
    network: &'a Network,
    daemon: &Daemon,
    ingress: &'a str,
    egresses: &[&str],
) -> Result<(Stats, Watch<'a>)> {
    let stats = daemon.stats_at_rest()?;
    let watch = Watch::begin(network, daemon, &stats, ingress, egresses)?;
    Ok((stats, watch))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_datagrams_are_read_by_their_names() {
        let snmp = "Ip: Forwarding DefaultTTL\nIp: 2 64\nUdp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors \
                    SndbufErrors InCsumErrors IgnoredMulti MemErrors\nUdp: 3 40 0 900 0 0 0 500 0\n";
        assert_eq!(host_datagrams(snmp), 543);
    }
}
