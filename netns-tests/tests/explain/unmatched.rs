//! `unmatched`: for each client that asks, and recorded for nobody else.

use anyhow::{Context, Result, ensure};
use netns_tests::{
    daemon::{Daemon, Files},
    deadline::{SOON, until},
    needs_root,
    packet::Packet,
    topology::Topology,
};
use serde_json::Value;

use crate::{
    fault::rule,
    stream::{Stream, packet, tagged},
};

#[test]
fn each_client_sees_what_no_rule_matches_and_nothing_is_recorded_for_nobody() -> Result<()> {
    needs_root!();
    let network = Topology::fan(1, 1).build()?;
    let tagged_rule = rule("s1", "group = \"239.1.1.1\", port = 5001, vlan = 100", "{ interface = \"v2\" }");
    let daemon = Daemon::start_by(&["env", "RUST_LOG=debug"], Files::new(&tagged_rule)?, network.relay(), &[])?;
    let plain = Stream::begin(&network, "v0", packet().frame())?;
    let other = Packet { group: [239, 7, 7, 7].into(), port: 9, to_mac: [1, 0, 0x5e, 7, 7, 7], ..tagged(300) };
    let _other = Stream::begin(&network, "v0", other.frame())?;
    let asked = || daemon.done(&["--json", "unmatched", "--seconds", "2"]);
    let answers: Vec<Result<String>> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..3).map(|_| scope.spawn(asked)).collect();
        asking.into_iter().map(|asking| asking.join().expect("no panic")).collect()
    });
    for answer in answers {
        let answer: Value = serde_json::from_str(&answer?)?;
        let flows = answer["flows"].as_array().context("flows")?;
        let flow = |group: &str| flows.iter().find(|flow| flow["group"] == group);
        let s1 = flow("239.1.1.1").with_context(|| format!("{answer}"))?;
        ensure!(s1["near"] == "s1 wants VLAN 100" && s1["vlan"].is_null() && s1["interface"] == "v1", "{s1}");
        ensure!(s1["source"] == "10.1.0.1" && s1["port"] == 5001, "{s1}");
        let packets = s1["packets"].as_u64().context("packets")?;
        ensure!(packets > 20, "{s1}");
        let other = flow("239.7.7.7").with_context(|| format!("{answer}"))?;
        ensure!(other["vlan"] == 300 && other["near"].is_null(), "{other}");
        ensure!(answer["seconds"] == 2);
    }
    let text = daemon.done(&["unmatched", "v1", "--seconds", "1"])?;
    ensure!(
        text.contains("INTERFACE") && text.contains("239.1.1.1:5001") && text.contains("s1 wants VLAN 100"),
        "{text}"
    );
    eprintln!("{text}");
    ensure!(daemon.ctl(&["unmatched", "v9"])?.exited(1)?.stderr.contains("does not receive on v9"));

    // The record ends with the client that asked for it.
    let ended = || daemon.log().matches("what no rule matches is recorded no more").count();
    let before = ended();
    let mut connection = std::os::unix::net::UnixStream::connect(daemon.files().socket())?;
    std::io::Write::write_all(&mut connection, b"{\"command\":\"unmatched\",\"seconds\":3600}\n")?;
    let begun = || daemon.log().matches("what no rule matches is recorded from now on").count();
    until("the record to begin", SOON, || Ok((begun() == before + 1).then_some(())))?;
    drop(connection);
    until("the record to end", SOON, || Ok((ended() == before + 1).then_some(())))?;

    // Nobody asks: the next client does not see what was counted before.
    drop(plain);
    std::thread::sleep(std::time::Duration::from_millis(300));
    let answer: Value = serde_json::from_str(&daemon.done(&["--json", "unmatched", "--seconds", "1"])?)?;
    let flows = answer["flows"].as_array().context("flows")?;
    ensure!(flows.iter().all(|flow| flow["group"] != "239.1.1.1"), "{answer}");
    Ok(())
}
