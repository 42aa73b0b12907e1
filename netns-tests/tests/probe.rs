//! `mcrprobe` by itself: one source, a VLAN, a DSCP, and what it says meanwhile.

use anyhow::{Result, ensure};
use netns_tests::{
    deadline::{SOON, until},
    needs_root,
    netns::Namespace,
    process::Process,
    programs,
    topology::{GEN, RELAY, Topology},
};

fn probe(namespace: &Namespace, words: &str) -> Result<Process> {
    Process::spawn(namespace.command(programs::path("mcrprobe")?).args(words.split(' ')))
}

/// A receiver that has joined.
fn receiver(namespace: &Namespace, words: &str) -> Result<Process> {
    let receiver = probe(namespace, words)?;
    until("ready", SOON, || Ok(receiver.stderr().starts_with("ready\n").then_some(())))?;
    Ok(receiver)
}

#[test]
fn one_source_is_received_and_no_other() -> Result<()> {
    needs_root!();
    let network = Topology::chain(1).build()?;
    let (from, to) = (network.namespace(GEN), network.namespace(RELAY));
    network.ip(GEN, "addr add 10.1.0.7/24 dev v0")?;
    let received = receiver(to, "recv --iface v1 --group 232.1.1.1 --port 5001 --source 10.1.0.7 --idle 2000")?;
    let filter = to.run("cat /proc/net/mcfilter")?;
    ensure!(filter.contains("0x0a010007"), "the join is of that source: {filter}");
    let send = "send --iface v0 --group 232.1.1.1 --port 5001 --size 125 --rate 1k --seconds 2.5";
    let other = probe(from, send)?;
    let own = probe(from, &format!("{send} --source-ip 10.1.0.7"))?;
    other.wait(SOON)?.success()?;
    let own = own.wait(SOON)?.success()?;
    ensure!(own.stderr.contains("    1 s  sent ") && own.stderr.contains("0 refused"), "{}", own.told());
    let received = received.wait(SOON)?.success()?;
    ensure!(received.stdout.starts_with("received 2500 packets"), "{}", received.told());
    ensure!(received.stderr.contains(" Mbit/s; so far "), "{}", received.told());
    Ok(())
}

#[test]
fn a_vlan_wants_an_interface_and_a_dscp_reaches_the_far_end() -> Result<()> {
    needs_root!();
    let network = Topology::chain(1).build()?;
    let (from, to) = (network.namespace(GEN), network.namespace(RELAY));
    let send = "send --iface v0 --group 239.1.1.1 --port 5001 --size 125 --rate 1Mbit --seconds 1 --dscp CS5 --quiet";
    let refused = probe(from, &format!("{send} --vlan 7"))?.wait(SOON)?.exited(1)?;
    ensure!(refused.stderr.contains("ip link add link v0 name v0.7 type vlan id 7"), "{}", refused.told());
    // The kernel counts packets by their TOS only where a rule asks for it: CS5 is 0xa0.
    to.run("nft add table ip probe")?;
    to.run("nft add chain ip probe in { type filter hook prerouting priority 0 ; }")?;
    to.run("nft add rule ip probe in iifname v1 ip dscp cs5 udp dport 5001 counter")?;
    let received = receiver(to, "recv --iface v1 --group 239.1.1.1 --port 5001 --count 1000 --idle 2000 --quiet")?;
    probe(from, send)?.wait(SOON)?.success()?;
    let received = received.wait(SOON)?.success()?;
    ensure!(received.stdout.starts_with("received 1000 packets"), "{}", received.told());
    ensure!(received.stderr == "ready\n", "--quiet: {}", received.told());
    let rules = to.run("nft list chain ip probe in")?;
    ensure!(rules.contains("packets 1000 "), "{rules}");
    Ok(())
}

#[test]
fn losses_have_a_time() -> Result<()> {
    needs_root!();
    let network = Topology::chain(1).build()?;
    let (from, to) = (network.namespace(GEN), network.namespace(RELAY));
    // Half a second's packets are dropped behind the first thousand.
    to.run("nft add table ip probe")?;
    to.run("nft add chain ip probe in { type filter hook prerouting priority 0 ; }")?;
    to.run("nft add rule ip probe in udp dport 5001 numgen inc mod 3000 == 1000-1499 counter drop")?;
    let received = receiver(to, "recv --json --iface v1 --group 239.1.1.1 --port 5001 --count 2000 --idle 2000")?;
    probe(from, "send --iface v0 --group 239.1.1.1 --port 5001 --size 125 --rate 1k --count 2000")?
        .wait(SOON)?
        .success()?;
    let received = received.wait(SOON)?.exited(1)?;
    let summary: serde_json::Value = serde_json::from_str(&received.stdout)?;
    ensure!(summary["lost"] == 500, "{}", received.told());
    let between = summary["lost_between"].as_array().map(Vec::as_slice).unwrap_or_default();
    ensure!(between.len() == 2 && between[0] == between[1], "one gap: {}", received.told());
    ensure!(received.stderr.contains("500 lost"), "{}", received.told());
    Ok(())
}
