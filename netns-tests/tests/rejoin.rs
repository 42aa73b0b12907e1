//! A querier that asks once and then falls silent, behind a switch that forgets who was not asked: the stream ends, and with `rejoin`
//! it goes on.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use netns_tests::{
    daemon::Daemon,
    deadline::{SOON, until},
    igmp::Reports,
    needs_root,
    probe::{Load, Share},
    rules,
    topology::{BRIDGES, Network, Topology},
};

const LOAD: Load = Load { first: rules::SENT, streams: 2, rate: 500, size: 128, seconds: 1 };
/// How long the bridge remembers a report, in hundredths of a second.
const MEMORY: u32 = 400;

/// br0 asks once, and then not for hours. It does not flood meanwhile: it is the querier.
fn silent(igmp: u8) -> Result<Network> {
    let network = Topology::dual_bridge(1, 1).with_igmp(igmp).build()?;
    let set = |words: &str| network.namespace(BRIDGES).run(&format!("ip link set br0 type bridge {words}"));
    set("mcast_querier 0")?;
    set(&format!(
        "mcast_startup_query_count 1 mcast_query_interval 1000000 mcast_membership_interval {MEMORY} mcast_last_member_count 2"
    ))?;
    set("mcast_querier 1")?;
    // Before the response interval has passed it floods.
    sleep(Duration::from_millis(500));
    if igmp == 2 {
        network.relay().run("sysctl -q -w net.ipv4.conf.v1.force_igmp_version=2")?;
    }
    Ok(network)
}

/// How many groups the bridge sends towards the relay.
fn remembered(network: &Network) -> Result<usize> {
    let all = network.namespace(BRIDGES).run("bridge mdb show dev br0")?;
    Ok((0..LOAD.streams)
        .filter(|i| all.contains(&format!("port v1 grp {} ", rules::stream(rules::SENT, *i).0)))
        .count())
}

fn arrives(network: &Network) -> Result<bool> {
    let receiver = LOAD.receive(network.namespace("r0"), "e0", rules::RECEIVED, Share::Many)?;
    LOAD.sent(LOAD.send(network.namespace("s0"), "e0", Share::Many)?)?;
    let received = LOAD.received(receiver)?;
    Ok(received.packets == LOAD.packets() && received.lost + received.duplicated == 0)
}

/// Two rules, of any source or of the sender alone.
fn config(rejoin: &str, source: bool) -> String {
    let source = if source { ", source = \"10.1.1.1\"" } else { "" };
    let rules = rules::file(&rules::streams(LOAD.streams, "v1", "v2"));
    let rules = rules.replace(" }\noutput", &format!("{source} }}\noutput"));
    format!("[[interface]]\nname = \"v1\"\n{rejoin}\n\n{rules}")
}

/// Without `rejoin` the bridge forgets; with it nothing is forgotten, and nothing is left in between.
fn goes_on(igmp: u8, source: bool, words: &[&str]) -> Result<()> {
    let network = silent(igmp)?;
    let relay = network.relay();
    let daemon = Daemon::start(relay, &config("", source), &[])?;
    until("memberships", SOON, || Ok((remembered(&network)? == 2).then_some(())))?;
    until("a bridge that forgets", SOON, || Ok((remembered(&network)? == 0).then_some(())))?;
    daemon.stop()?;

    // What the kernel still says of leaving is not heard by another.
    let network = silent(igmp)?;
    let relay = network.relay();
    let reports = Reports::listen(relay, "v1")?;
    let daemon = Daemon::start(relay, &config("rejoin = \"1s\"", source), &[])?;
    until("memberships", SOON, || Ok((remembered(&network)? == 2).then_some(())))?;
    let start = Instant::now();
    while start.elapsed() < 3 * Duration::from_millis(u64::from(MEMORY) * 10) {
        let now = remembered(&network)?;
        ensure!(now == 2, "{now} of 2 are remembered after {:?}\n{}", start.elapsed(), reports.said());
        sleep(Duration::from_millis(100));
    }
    ensure!(arrives(&network)?, "the stream has ended\n{}", reports.said());
    let said = reports.said();
    let leaves = ["leave", "to_in", "block"].iter().any(|word| said.contains(word));
    ensure!(!leaves && !said.contains("bad"), "{said}");
    reports.until(words)?;
    let (group, _) = rules::SENT;
    let times = said.matches(&group.to_string()).count();
    ensure!(times >= 6, "{group} is reported {times} times\n{said}");
    // Each is a report as the kernel's own are.
    ensure!(
        said.lines()
            .filter(|line| line.contains("proto IGMP"))
            .all(|line| { line.contains("tos 0xc0") && line.contains("ttl 1") && line.contains("options (RA)") }),
        "{said}"
    );
    let own = said
        .lines()
        .filter(|line| line.contains(" > ") && line.contains("igmp"))
        .all(|line| line.contains("10.1.0.1 > "));
    ensure!(own, "{said}");
    ensure!(daemon.done(&["--json", "status"])?.contains("\"warnings\":[]"), "{}", daemon.done(&["status"])?);
    daemon.stop()?;
    reports.until(&[if igmp == 2 {
        "igmp leave"
    } else if source {
        "block"
    } else {
        "to_in"
    }])
}

#[test]
fn igmp_version_3() -> Result<()> {
    needs_root!();
    goes_on(3, false, &["gaddr 239.1.1.1 is_ex { }", "gaddr 239.1.1.2 is_ex { }"])
}

#[test]
fn igmp_version_3_of_one_source() -> Result<()> {
    needs_root!();
    goes_on(3, true, &["is_in { 10.1.1.1 }"])
}

#[test]
fn igmp_version_2() -> Result<()> {
    needs_root!();
    goes_on(2, false, &["igmp v2 report 239.1.1.1", "igmp v2 report 239.1.1.2"])
}

/// What repeats nothing is an error, and where it stands.
#[test]
fn where_nothing_is_joined_nothing_is_repeated() -> Result<()> {
    needs_root!();
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("mcrd.toml");
    for membership in ["none", "allmulticast"] {
        std::fs::write(
            &file,
            format!("[[interface]]\nname = \"v1\"\nmembership = \"{membership}\"\nrejoin = \"30s\"\n"),
        )?;
        let mut mcrctl = std::process::Command::new(netns_tests::programs::path("mcrctl")?);
        let checked = netns_tests::process::finish(mcrctl.arg("check").arg(&file))?.exited(2)?;
        ensure!(
            checked.told().contains("mcrd.toml:4: interface[0].rejoin: repeats the reports of"),
            "{}",
            checked.told()
        );
    }
    Ok(())
}
