//! All rows at once through one daemon.

use std::{collections::BTreeMap, net::Ipv4Addr, thread::sleep, time::Duration};

use anyhow::{Context, Result, ensure};
use netns_tests::{
    daemon::Daemon,
    ledger::{self, Deleted},
    netns::Namespace,
    raw::Wire,
    topology::{GEN, Network, RELAY, SINK, Topology},
};

use crate::{
    judge::{self, Seen},
    row::{Link, Links, SMALL_MTU, Table},
    rows,
};

/// Ends of links, with the relay's interface: v6-v7 has a small MTU, v8-v9 no address.
const ENDS: [(&str, &str, &str); 6] = [
    (GEN, "v0", "v1"),
    (GEN, "w0", "w1"),
    (SINK, "v3", "v2"),
    (SINK, "v5", "v4"),
    (SINK, "v7", "v6"),
    (SINK, "v9", "v8"),
];
/// Those that rows send from.
const SENDING: [&str; 3] = ["v0", "w0", "v3"];
/// Packets sent in one go: less than a veth's ring holds.
const BURST: usize = 32;

/// Builds the network, runs every row with a daemon of these flags, and judges.
pub fn all_rows(queues: u32, flags: &[&str]) -> Result<()> {
    let network = Topology::mesh(queues, 4).build()?;
    for (namespace, interface) in [(RELAY, "v6"), (SINK, "v7")] {
        network.namespace(namespace).run(&format!("ip link set {interface} mtu {SMALL_MTU}"))?;
    }
    network.relay().run("ip addr flush dev v8")?;
    let mut table = Table::new(links(&network)?);
    rows::all(&mut table);

    let config: String = table.rows.iter().flat_map(|row| &row.rules).map(String::as_str).collect();
    let daemon = Daemon::start(network.relay(), &config, flags)?;
    let before = daemon.stats_at_rest()?;
    let open = |(namespace, end): (&str, &'static str)| Ok((end, Wire::open(network.namespace(namespace), end)?));
    let outside: Vec<(&str, Wire)> =
        ENDS.map(|(namespace, end, _)| open((namespace, end))).into_iter().collect::<Result<_>>()?;
    let host: Vec<(&str, Wire)> = ENDS
        .into_iter()
        .filter(|(_, end, _)| SENDING.contains(end))
        .map(|(_, end, relay)| Ok((end, Wire::open(network.relay(), relay)?)))
        .collect::<Result<_>>()?;

    let sent: Vec<_> = table.rows.iter().flat_map(|row| &row.sent).collect();
    for burst in sent.chunks(BURST) {
        for (end, frame) in burst {
            let (_, wire) = outside.iter().find(|(other, _)| other == end).context("an end that rows send from")?;
            wire.send(frame)?;
        }
        sleep(Duration::from_millis(2));
    }
    let stats = daemon.stats_at_rest()?;
    let seen = Seen { out: received(&outside)?, host: received(&host)? };
    let wrong = judge::wrong(&table, seen, &stats, &daemon.log());
    ensure!(wrong.is_empty(), "{} of {} rows are wrong:\n{}", wrong.len(), table.rows.len(), wrong.join("\n"));
    eprintln!("{} rows, {} packets sent, {} came out", table.rows.len(), sent.len(), stats.totals.sent_packets);

    ledger::check(&stats, Deleted::None)?;
    ledger::check_frames(&before, &stats)?;
    let last = daemon.stop()?;
    ensure!(last.sent == stats.totals.sent_packets, "{last:?}");
    Ok(())
}

fn received(wires: &[(&'static str, Wire)]) -> Result<Vec<(&'static str, Vec<u8>)>> {
    let mut all = Vec::new();
    for (end, wire) in wires {
        all.extend(wire.received()?.into_iter().map(|frame| (*end, frame)));
    }
    Ok(all)
}

fn links(network: &Network) -> Result<Links> {
    let mut links = BTreeMap::new();
    for (_, end, relay) in ENDS {
        let (mac, address) = (mac(network.relay(), relay)?, address(network.relay(), relay)?);
        links.insert(end, Link { relay, mac, address });
    }
    Ok(links)
}

fn mac(namespace: &Namespace, interface: &str) -> Result<[u8; 6]> {
    let text = namespace.run(&format!("cat /sys/class/net/{interface}/address"))?;
    let bytes = text.trim().split(':').map(|byte| u8::from_str_radix(byte, 16));
    let bytes = bytes.collect::<Result<Vec<u8>, _>>()?;
    bytes.try_into().ok().with_context(|| format!("{text} is no Ethernet address"))
}

/// The interface's address, 0.0.0.0 where it has none.
fn address(namespace: &Namespace, interface: &str) -> Result<Ipv4Addr> {
    let line = namespace.run(&format!("ip -4 -br addr show dev {interface}"))?;
    match line.split_whitespace().nth(2).and_then(|word| word.split_once('/')) {
        Some((address, _)) => Ok(address.parse()?),
        None => Ok(Ipv4Addr::UNSPECIFIED),
    }
}
