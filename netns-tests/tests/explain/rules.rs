//! The rule itself: one that is well, one that is off, one whose packets another takes, one output of three.

use anyhow::{Context, Result, ensure};
use netns_tests::{
    daemon::Daemon,
    deadline::{SOON, until},
    needs_root,
    packet::Packet,
    process::finish,
    programs,
    topology::{Network, SINK, Topology},
};
use serde_json::Value;

use crate::{
    fault::{Fault, Repair, arrives, explain, explained, rule},
    stream::{Stream, packet},
};

fn started(rules: &str) -> Result<(Network, Daemon)> {
    let network = Topology::fan(1, 3).build()?;
    let daemon = Daemon::start(network.relay(), rules, &[])?;
    Ok((network, daemon))
}

const EXACT: &str = "group = \"239.1.1.1\", port = 5001";

#[test]
fn a_rule_that_is_well_says_so() -> Result<()> {
    needs_root!();
    let (network, daemon) = started(&rule("feed", EXACT, "{ interface = \"v2\" }, { interface = \"v4\" }"))?;
    // A source that this host has no route to, checked strictly: mcr forwards it.
    network.relay().run("sysctl -qw net.ipv4.conf.v1.rp_filter=1")?;
    let _stream = Stream::begin(&network, "v0", Packet { source: [172, 31, 0, 9].into(), ..packet() }.frame())?;
    until("the stream to be matched", SOON, || Ok((daemon.stats()?.rule("feed").state == "active").then_some(())))?;
    let told = daemon.ctl(&["explain", "feed"])?;
    ensure!(told.status.success(), "{}", told.told());
    ensure!(told.stdout.starts_with("feed is active: nothing is wrong\n"), "{}", told.stdout);
    eprintln!("{}", told.stdout);
    ensure!(daemon.ctl(&["explain", "nosuch"])?.exited(1)?.stderr.contains("no rule nosuch"));
    daemon.ctl(&["explain"])?.exited(2)?;
    daemon.ctl(&["explain", "feed", "--in", "v1"])?.exited(2)?;
    daemon.ctl(&["explain", "feed", "--seconds", "0"])?.exited(2)?;
    Ok(())
}

/// What a rule takes on a port, the bridge above it does not get.
#[test]
fn a_rule_on_a_port_of_the_bridge() -> Result<()> {
    needs_root!();
    let network = Topology::chain(1).build()?;
    network.relay().ip_batch("link add b9 type bridge mcast_snooping 0\nlink set v1 master b9\nlink set b9 up\n")?;
    let daemon =
        Daemon::start(network.relay(), &rule("port", "group = \"239.1.0.0/16\"", "{ interface = \"v2\" }"), &[])?;
    let feed = "rule add --name feed --in b9 --group 239.1.1.1 --port 5001 --out v2";
    daemon.done(&feed.split(' ').collect::<Vec<_>>())?;
    let _stream = Stream::begin(&network, "v0", packet().frame())?;
    let told = explained(&network, &daemon, &["rule port takes the packets on v1, before b9 gets them"])?;
    ensure!(told.fix.is_none(), "{told:?}");
    daemon.done(&["rule", "del", "port"])?;
    arrives(&network, &daemon)
}

#[test]
fn a_rule_that_is_switched_off() -> Result<()> {
    needs_root!();
    Fault {
        name: "off",
        change: ("relay", "mcrctl rule disable feed"),
        says: &["switched off"],
        repair: Repair::Printed("mcrctl rule enable feed"),
        ..Fault::of(packet().frame())
    }
    .check()
}

#[test]
fn one_output_of_three_a_stronger_rule_and_a_rule_that_is_off() -> Result<()> {
    needs_root!();
    let three = "{ interface = \"v2\" }, { interface = \"v4\", name = \"court1\" }, { interface = \"v6\" }";
    let wide = rule("wide", "group = \"239.1.0.0/16\"", "{ interface = \"v2\" }");
    let off = rule("off", "group = \"239.1.1.9\", port = 5001", "{ interface = \"v2\" }") + "enabled = false\n";
    let (network, daemon) = started(&(rule("feed", EXACT, three) + &wide + &off))?;
    let _stream = Stream::begin(&network, "v0", packet().frame())?;
    network.ip("relay", "link set v4 down")?;
    until("the link to be known", SOON, || Ok((daemon.stats()?.rule("feed").state == "degraded").then_some(())))?;
    let told = explain(&network, &daemon, "feed")?;
    ensure!(told.first.contains("v4 is down") && told.first.contains("output court1 (v4)"), "{told:?}");
    ensure!(told.problems == 1 && told.fix.as_deref() == Some("ip link set dev v4 up"), "{told:?}");

    let told = explain(&network, &daemon, "wide")?;
    ensure!(told.first.contains("rule feed is more specific and takes the packets"), "{told:?}");
    let told = explain(&network, &daemon, "off")?;
    ensure!(told.first.contains("switched off") && told.fix.as_deref() == Some("mcrctl rule enable off"), "{told:?}");

    // Of two causes at once it names both.
    network.ip(SINK, "link set v7 down")?;
    until("the second link", SOON, || {
        let told = explain(&network, &daemon, "feed")?;
        Ok((told.problems == 2).then_some(()))
    })?;

    // doctor knows the rules.
    let doctor = finish(network.relay().command(programs::path("mcrctl")?).args([
        "--socket",
        daemon.files().socket().to_str().context("a path")?,
        "--json",
        "doctor",
    ]))?;
    let report: Value = serde_json::from_str(&doctor.stdout)?;
    let host = report["host"].as_array().context("findings")?;
    let found = host.iter().find(|finding| finding["id"] == "rules").context("no finding on rules")?;
    ensure!(found["severity"] == "problem" && doctor.status.code() == Some(1), "{}", doctor.told());
    ensure!(found["found"].as_str().is_some_and(|text| text.contains("rule feed is degraded")), "{found}");
    Ok(())
}
