//! `explain --in` against the data path: random packets and rules.

use anyhow::{Context, Result, ensure};
use netns_tests::{
    connection::Connection,
    daemon::Daemon,
    deadline::{SOON, until},
    needs_root,
    packet::{Packet, Tag},
    raw::Wire,
    topology::{GEN, SINK, Topology},
};
use serde_json::{Value, json};

use crate::stream::read;

/// A few numbers, the same each time.
struct Draw(u64);

impl Draw {
    fn of<T: Copy>(&mut self, values: &[T]) -> T {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        values[(self.0 >> 33) as usize % values.len()]
    }
}

#[test]
fn the_data_path_does_what_explain_says() -> Result<()> {
    needs_root!();
    const PACKETS: u16 = 400;
    let network = Topology::fan(1, 2).build()?;
    network.ip("relay", "link set v4 mtu 1000")?;
    let daemon = Daemon::start(network.relay(), "", &["--iface-in", "v1", "--iface-out", "v2", "--iface-out", "v4"])?;
    let draw = &mut Draw(7);
    let mut rules = 0;
    for i in 0..40 {
        let name = format!("r{i}");
        let group = draw.of(&["239.1.1.1", "239.1.1.2", "239.1.0.0/16", "239.0.0.0/8"]);
        let mut words = vec!["rule", "add", "--name", &name, "--in", "v1", "--group", group];
        let port = draw.of(&["", "5001", "5002", "5001-5010", "5000-5003"]);
        let source = draw.of(&["", "", "10.1.0.1", "10.1.0.0/24"]);
        let vlan = draw.of(&["", "", "100"]);
        for (flag, value) in [("--port", port), ("--source", source), ("--vlan", vlan)] {
            if !value.is_empty() {
                words.extend([flag, value]);
            }
        }
        for _ in 0..draw.of(&[1, 2, 3]) {
            let out = draw.of(&[
                "v2",
                "v4",
                "v2,group=239.10.0.0,ttl=keep",
                "v4,source=keep,vlan=7",
                "v2,port=6000,dscp=46",
                "v4,vlan=keep,ttl=9",
                "v2,source=10.9.9.9,vlan=keep",
            ]);
            words.extend(["--out", out]);
        }
        // Some are refused: equal claims, outputs that are not aligned.
        rules += u32::from(daemon.ctl(&words)?.status.success());
    }
    ensure!(rules >= 12, "{rules} rules");
    let mut connection = Connection::open(&daemon)?;
    let generator = Wire::open(network.namespace(GEN), "v0")?;
    let sinks = [("v2", "v3"), ("v4", "v5")].map(|(near, far)| (near, Wire::open(network.namespace(SINK), far)));
    let mut wanted: Vec<(u16, String, Value)> = Vec::new();
    let (mut matched, mut unmatched) = (0, 0);
    for number in 0..PACKETS {
        let vlan = draw.of(&[None, None, Some(100), Some(101)]);
        let sent = Packet {
            source: draw.of(&[[10, 1, 0, 1], [10, 1, 0, 2], [10, 2, 0, 1], [127, 0, 0, 1]]).into(),
            source_port: 10_000 + number,
            ttl: draw.of(&[0, 1, 2, 64, 64]),
            tag: vlan.map(|id| Tag { priority: 0, drop_eligible: false, id }),
            payload: vec![3; draw.of(&[10, 100, 972, 973, 1200])],
            ..Packet::new(
                draw.of(&[[239, 1, 1, 1], [239, 1, 1, 2], [239, 1, 7, 7], [239, 7, 7, 7]]).into(),
                draw.of(&[5000, 5001, 5002, 5007, 5011, 319]),
            )
        };
        let frame = sent.frame();
        let asked = json!({"command": "explain_packet", "packet": {"in": "v1", "source": sent.source, "group": sent.group,
            "port": sent.port, "vlan": vlan, "ttl": sent.ttl, "size": frame.len()}});
        let answer = connection.ask(&asked)?["packet_explained"].take();
        match answer["rule"].is_null() {
            true => unmatched += 1,
            false => matched += 1,
        }
        for output in answer["outputs"].as_array().with_context(|| format!("{answer}"))? {
            if output.get("drop").is_none() {
                wanted.push((sent.source_port, output["interface"].to_string(), output.clone()));
            }
        }
        generator.send(&frame)?;
        let stats = number % 40 == 39;
        if stats {
            // In small numbers: rings are not what is tried here.
            until("the packets to be handled", SOON, || {
                Ok((daemon.stats()?.totals.matched_packets == matched).then_some(()))
            })?;
        }
    }
    daemon.stats_at_rest()?;
    let mut found: Vec<(u16, String, Value)> = Vec::new();
    for (near, wire) in sinks {
        for frame in wire?.received()? {
            found.extend(read(near, &frame));
        }
    }
    let key = |(port, interface, output): &(u16, String, Value)| (*port, interface.clone(), output.to_string());
    wanted.sort_by_key(key);
    found.sort_by_key(key);
    let odd = wanted.iter().zip(&found).find(|(wanted, found)| key(wanted) != key(found));
    ensure!(odd.is_none() && wanted.len() == found.len(), "{} and {}: {odd:?}", wanted.len(), found.len());
    eprintln!("{rules} rules; {matched} packets matched, {unmatched} not; {} sent", found.len());
    ensure!(matched > 100 && unmatched > 30 && found.len() > 100);
    Ok(())
}
