//! Interfaces and addresses that come and change while mcrd runs.

use anyhow::{Result, ensure};
use netns_tests::{
    crossing::Crossing,
    daemon::Daemon,
    deadline::{SOON, until},
    ledger::{self, Deleted},
    needs_root,
    packet::is_stream,
    probe::{Load, Share},
    raw::Wire,
    rules,
    topology::{GEN, Network, SINK, Topology},
};

const LOAD: Load = Load { first: rules::SENT, streams: 1, rate: 1_000, size: 256, seconds: 1 };

fn state(daemon: &Daemon, rule: &str) -> Result<String> {
    Ok(daemon.stats()?.rule(rule).outcome())
}

fn becomes(daemon: &Daemon, rule: &str, wanted: &str) -> Result<()> {
    until(&format!("{rule} to be {wanted:?}"), SOON, || Ok(state(daemon, rule)?.starts_with(wanted).then_some(())))
}

/// A link from the relay's v7 to sink's v9.
fn add_link(network: &Network) -> Result<()> {
    let sink = network.namespace(SINK).name();
    network.relay().run(&format!("ip link add v7 type veth peer name v9 netns {sink}"))?;
    network.relay().run("ip link set v7 up")?;
    network.namespace(SINK).run("ip link set v9 up")?;
    Ok(())
}

/// A rule waits for its interface, and then for an address on it, while another forwards; and forwards itself once both are there.
#[test]
fn a_rule_waits_for_what_it_needs() -> Result<()> {
    needs_root!();
    let network = Topology::chain(1).build()?;
    let mut rules = rules::streams(1, "v1", "v2");
    let mut other = rules[0].clone();
    (other.name, other.port, other.outputs[0].interface) = ("late".into(), 5_100, "v7".into());
    rules.push(other.clone());
    let daemon = Daemon::start(network.relay(), &rules::file(&rules), &[])?;
    assert_eq!(state(&daemon, "late")?, "waiting: no interface v7");
    Crossing::of_chain(&network, &LOAD)?.exactly_once(&LOAD)?;

    add_link(&network)?;
    becomes(&daemon, "late", "waiting: v7 has no IPv4 address")?;
    network.relay().run("ip addr add 10.9.0.1/24 dev v7")?;
    network.namespace(SINK).run("ip addr add 10.9.0.2/24 dev v9")?;
    becomes(&daemon, "late", "forwards")?;

    let late = Load { first: (other.group, other.port), ..LOAD };
    let receiver = late.receive(network.namespace(SINK), "v9", rules::RECEIVED, Share::Many)?;
    late.sent(late.send(network.namespace(GEN), "v0", Share::Many)?)?;
    let received = late.received(receiver)?;
    ensure!(received.packets == late.packets() && received.lost + received.duplicated == 0, "{received:?}");
    ledger::check(&daemon.stats_at_rest()?, Deleted::None)
}

/// By hand such a rule is refused, or told to wait.
#[test]
fn a_rule_by_hand_waits_when_it_is_told_to() -> Result<()> {
    needs_root!();
    let network = Topology::chain(1).build()?;
    let daemon = Daemon::start(network.relay(), "", &["--iface-in", "v1"])?;
    let mut words = rules::streams(1, "v1", "v7")[0].add();
    let refused = daemon.ctl(&words)?.exited(1)?;
    ensure!(refused.stderr.contains("no interface v7") && refused.stderr.contains("--wait"), "{}", refused.told());
    words.push("--wait".into());
    daemon.done(&words)?;
    assert_eq!(state(&daemon, "stream-0")?, "waiting: no interface v7");
    add_link(&network)?;
    network.relay().run("ip addr add 10.9.0.1/24 dev v7")?;
    becomes(&daemon, "stream-0", "forwards")
}

/// Source and MAC address of a packet that is sent now.
fn sent_from(network: &Network, wire: &Wire) -> Result<(String, String)> {
    let one = Load { rate: 10, ..LOAD };
    one.sent(one.send(network.namespace(GEN), "v0", Share::Many)?)?;
    let frame = until("the last packet", SOON, || Ok(wire.received()?.into_iter().rfind(|frame| is_stream(frame))))?;
    let mac: Vec<String> = frame[6..12].iter().map(|byte| format!("{byte:02x}")).collect();
    let source: Vec<String> = frame[26..30].iter().map(ToString::to_string).collect();
    Ok((source.join("."), mac.join(":")))
}

/// What an output takes from its interface is what that has now.
#[test]
fn a_changed_address_is_in_the_next_packets() -> Result<()> {
    needs_root!();
    let network = Topology::chain(1).build()?;
    let daemon = Daemon::start(network.relay(), &rules::file(&rules::streams(1, "v1", "v2")), &[])?;
    let wire = Wire::open(network.namespace(SINK), "v3")?;
    let relay = network.relay();
    let mac = relay.run("cat /sys/class/net/v2/address")?.trim().to_owned();
    assert_eq!(sent_from(&network, &wire)?, ("10.2.0.1".into(), mac.clone()));

    for (change, wanted) in [
        ("ip addr del 10.2.0.1/24 dev v2; ip addr add 10.2.0.99/24 dev v2", ("10.2.0.99", mac.as_str())),
        ("ip link set v2 address 02:00:00:00:00:77", ("10.2.0.99", "02:00:00:00:00:77")),
    ] {
        for line in change.split("; ") {
            relay.run(line)?;
        }
        until(&format!("packets as they are to be after `{change}`"), SOON, || {
            let (source, mac) = sent_from(&network, &wire)?;
            Ok(((source.as_str(), mac.as_str()) == wanted).then_some(()))
        })?;
    }
    // Without any it cannot be sent, which is counted; with one again it is.
    relay.run("ip addr del 10.2.0.99/24 dev v2")?;
    until("an output without a source", SOON, || {
        let load = Load { rate: 10, ..LOAD };
        load.sent(load.send(network.namespace(GEN), "v0", Share::Many)?)?;
        Ok(daemon.stats_at_rest()?.rule("stream-0").outputs[0].dropped.contains_key("no_source").then_some(()))
    })?;
    relay.run("ip addr add 10.2.0.5/24 dev v2")?;
    until("packets of the new address", SOON, || Ok((sent_from(&network, &wire)?.0 == "10.2.0.5").then_some(())))?;
    ledger::check(&daemon.stats_at_rest()?, Deleted::None)
}

/// The relay's and sink's ends of the link between v2 and v3, made anew with their addresses.
fn make_again(network: &Network) -> Result<()> {
    let sink = network.namespace(SINK);
    network.relay().run(&format!("ip link add v2 type veth peer name v3 netns {}", sink.name()))?;
    for (namespace, name, address) in [(network.relay(), "v2", "10.2.0.1/24"), (sink, "v3", "10.2.0.2/24")] {
        namespace.run(&format!("ip addr add {address} dev {name}"))?;
        namespace.run(&format!("ip link set {name} up"))?;
    }
    Ok(())
}

/// One of a rule's two outputs goes and comes back: the other one sends all, and what the first one could not is counted.
#[test]
fn an_output_that_is_gone_costs_the_others_nothing() -> Result<()> {
    needs_root!();
    let network = Topology::fan(1, 2).build()?;
    let mut rule = rules::streams(1, "v1", "v2").remove(0);
    rule.outputs.push(rules::Output { interface: "v4".into(), ..rule.outputs[0].clone() });
    let daemon = Daemon::start(network.relay(), &rules::file(std::slice::from_ref(&rule)), &[])?;
    let frames = daemon.stats_at_rest()?;
    let load = Load { rate: 2_000, seconds: 3, ..LOAD };
    let receiver = load.receive(network.namespace(SINK), "v5", rules::RECEIVED, Share::Many)?;
    let sender = load.send(network.namespace(GEN), "v0", Share::Many)?;
    network.relay().run("ip link del v2")?;
    until("an output that waits", SOON, || {
        Ok(daemon.stats()?.rule(&rule.name).outputs[0].waiting.as_deref().map(|why| assert_eq!(why, "no interface v2")))
    })?;
    let stats = daemon.stats()?;
    assert_eq!((stats.rule(&rule.name).state.as_str(), stats.interface("v2").xdp.as_str()), ("degraded", "none"));
    until("packets that are lost there", SOON, || {
        Ok(daemon.stats()?.rule(&rule.name).outputs[0].dropped.contains_key("link_down").then_some(()))
    })?;
    make_again(&network)?;
    let sent = |daemon: &Daemon| -> Result<u64> { Ok(daemon.stats()?.rule(&rule.name).outputs[0].sent_packets) };
    let before = sent(&daemon)?;
    until("packets on the new interface", SOON, || Ok((sent(&daemon)? > before).then_some(())))?;
    load.sent(sender)?;
    let received = load.received(receiver)?;
    ensure!(received.packets == load.packets() && received.lost + received.duplicated == 0, "{received:?}");
    let after = daemon.stats_at_rest()?;
    assert_eq!(after.rule(&rule.name).outputs[0].waiting, None);
    ledger::check(&after, Deleted::None)?;
    ledger::check_frames(&frames, &after)
}
