//! IGMP: behind a bridge that snoops, packets come when a rule wants them and no longer, and the host's memberships are the rules'.

use std::{collections::BTreeSet, net::Ipv4Addr, thread::sleep, time::Duration};

use anyhow::{Context, Result, ensure};
use mcr_userspace::kernel::membership::{Holders, Membership};
use netns_tests::{
    daemon::Daemon,
    deadline::{SOON, until},
    igmp::Reports,
    needs_root,
    netns::Namespace,
    packet::is_stream,
    probe::{Load, Share},
    raw::Wire,
    rules,
    topology::{BRIDGES, Network, Topology},
};

/// From a rule's first moment to when all of its packets are to come.
const COMES: Duration = Duration::from_secs(1);
/// From its last moment to when none is to come.
const GOES: Duration = Duration::from_secs(3);
const LOAD: Load = Load { first: rules::SENT, streams: 1, rate: 500, size: 128, seconds: 1 };

/// Interface, group in brackets where it is of one source, and state.
fn memberships(daemon: &Daemon) -> Result<BTreeSet<(String, String)>> {
    let shown = |membership: netns_tests::stats::Membership| {
        let group = membership.group.unwrap_or_else(|| "all".into());
        let source = membership.source.map(|source| format!(" of {source}")).unwrap_or_default();
        (group + &source, membership.state)
    };
    Ok(daemon.stats()?.memberships.into_iter().map(shown).collect())
}

/// The groups that the relay's kernel is a member of on v1, the all-systems group left out.
fn kernels(relay: &Namespace) -> Result<BTreeSet<String>> {
    let text = relay.run("ip -4 maddr show dev v1")?;
    let groups = text.lines().filter_map(|line| line.trim().strip_prefix("inet "));
    let groups = groups.filter_map(|line| line.split_whitespace().next()).map(String::from);
    Ok(groups.filter(|group| group != "224.0.0.1").collect())
}

/// Waits until those are `wanted`, and v1 takes every group or not: mcrd leaves a moment after the last rule.
fn become_those(relay: &Namespace, wanted: &BTreeSet<String>, all: bool) -> Result<()> {
    let come = || Ok((kernels(relay)? == *wanted && takes_all(relay)? == all).then_some(()));
    until("the kernel's memberships", SOON, come).with_context(|| {
        let found = kernels(relay).unwrap_or_default();
        format!("lacks {:?}, has besides {:?}", wanted.difference(&found), found.difference(wanted))
    })
}

/// Whether the relay's v1 takes every group.
fn takes_all(relay: &Namespace) -> Result<bool> {
    Ok(!relay.run("ip -d link show dev v1")?.contains("allmulti 0"))
}

/// The groups of streams `from` to before `to`.
fn groups(from: u16, to: u16) -> BTreeSet<String> {
    (from..to).map(|i| rules::stream(rules::SENT, i).0.to_string()).collect()
}

fn mdb(network: &Network) -> Result<String> {
    network.namespace(BRIDGES).run("bridge mdb show dev br0")
}

/// Packets of the streams that sender `s` sends and that reach v1 and the host: only where no rule takes them.
fn reaching(network: &Network, s: &str, load: &Load) -> Result<usize> {
    let wire = Wire::open(network.relay(), "v1")?;
    load.sent(load.send(network.namespace(s), "e0", Share::Many)?)?;
    sleep(Duration::from_millis(200));
    Ok(wire.received()?.iter().filter(|frame| is_stream(frame)).count())
}

/// All of `load` from s0 arrives at r0, once.
fn crosses(network: &Network, load: &Load) -> Result<()> {
    let receiver = load.receive(network.namespace("r0"), "e0", rules::RECEIVED, Share::Many)?;
    load.sent(load.send(network.namespace("s0"), "e0", Share::Many)?)?;
    let received = load.received(receiver)?;
    ensure!(
        received.packets == load.packets() && received.lost + received.duplicated == 0,
        "{received:?}\n{}",
        mdb(network)?
    );
    Ok(())
}

#[test]
fn packets_come_when_they_are_wanted_and_no_longer() -> Result<()> {
    needs_root!();
    for (version, joins, leaves) in [(3, "to_ex", "to_in"), (2, "igmp v2 report 239.1.1.1", "igmp leave 239.1.1.1")] {
        let network = Topology::dual_bridge(1, 1).with_igmp(version).build()?;
        let daemon = Daemon::start(network.relay(), "", &["--iface-in", "v1", "--iface-out", "v2"])?;
        if version == 2 {
            // Until it has heard a query of version 2 the host answers in version 3.
            until("a host that speaks IGMPv2", Duration::from_secs(60), || {
                let text = network.relay().run("cat /proc/net/igmp")?;
                Ok(text.lines().any(|line| line.contains("v1 ") && line.contains("V2")).then_some(()))
            })?;
        }
        let reports = Reports::listen(network.relay(), "v1")?;
        assert_eq!(reaching(&network, "s0", &LOAD)?, 0, "IGMPv{version}: nobody has asked");

        let rule = &rules::streams(1, "v1", "v2")[0];
        daemon.done(&rule.add())?;
        sleep(COMES);
        crosses(&network, &LOAD)?;
        reports.until(&["239.1.1.1", joins])?;
        ensure!(mdb(&network)?.contains("port v1 grp 239.1.1.1"), "{}", mdb(&network)?);
        assert_eq!(memberships(&daemon)?, [("239.1.1.1".to_owned(), "joined".to_owned())].into());

        daemon.done(&["rule", "del", &rule.name])?;
        sleep(GOES);
        assert_eq!(reaching(&network, "s0", &LOAD)?, 0, "IGMPv{version}: nobody asks any more");
        reports.until(&[leaves])?;
        ensure!(!mdb(&network)?.contains("239.1.1.1"), "{}", mdb(&network)?);

        // What came to nought would have been seen: somebody else asks, and it comes.
        let other = LOAD.receive(network.relay(), "v1", rules::SENT, Share::Many)?;
        assert_eq!(reaching(&network, "s0", &LOAD)? as u64, LOAD.packets(), "IGMPv{version}: another asks");
        LOAD.received(other)?;
        daemon.stop()?;
    }
    Ok(())
}

#[test]
fn five_hundred_groups() -> Result<()> {
    needs_root!();
    let network = Topology::dual_bridge(1, 1).build()?;
    let load = Load { streams: 500, rate: 5_000, ..LOAD };
    let config = rules::file(&rules::streams(load.streams, "v1", "v2"));
    let daemon = Daemon::start(network.relay(), &config, &[])?;
    sleep(COMES);
    crosses(&network, &load)?;
    assert_eq!(kernels(network.relay())?, groups(0, load.streams));

    std::fs::write(daemon.files().config(), "")?;
    daemon.done(&["reload"])?;
    assert_eq!(memberships(&daemon)?, Default::default());
    become_those(network.relay(), &Default::default(), false)?;
    sleep(GOES);
    ensure!(!mdb(&network)?.contains("port v1 grp 239"), "{}", mdb(&network)?);
    Ok(())
}

/// Of two sources of a group only the one that the rule names is let through, by the bridge already.
#[test]
fn one_source_of_two() -> Result<()> {
    needs_root!();
    let network = Topology::dual_bridge(2, 1).with_igmp(3).build()?;
    let daemon = Daemon::start(network.relay(), "", &["--iface-in", "v1", "--iface-out", "v2"])?;
    let mut words = rules::streams(1, "v1", "v2")[0].add();
    words.extend(["--source".into(), "10.1.1.1".into()]);
    let reports = Reports::listen(network.relay(), "v1")?;
    daemon.done(&words)?;
    reports.until(&["10.1.1.1"])?;
    sleep(COMES);
    assert_eq!(memberships(&daemon)?, [("239.1.1.1 of 10.1.1.1".to_owned(), "joined".to_owned())].into());
    assert_eq!(reaching(&network, "s1", &LOAD)?, 0, "nobody has asked for this one");
    crosses(&network, &LOAD)?;
    Ok(())
}

/// Prefixes, and what the file says: every group is taken, and no longer than mcrd lives.
#[test]
fn every_group() -> Result<()> {
    needs_root!();
    let network = Topology::chain(1).build()?;
    let relay = network.relay();
    let daemon = Daemon::start(relay, "", &["--iface-in", "v1", "--iface-out", "v2"])?;
    assert!(!takes_all(relay)?);
    daemon.done(&["rule", "add", "--name", "many", "--in", "v1", "--group", "239.1.0.0/16", "--out", "v2"])?;
    assert!(takes_all(relay)?);
    assert_eq!(memberships(&daemon)?, [("all".to_owned(), "allmulticast".to_owned())].into());
    let status = daemon.done(&["--json", "status"])?;
    ensure!(status.contains("static multicast-router port"), "{status}");
    daemon.done(&["rule", "del", "many"])?;
    assert_eq!(memberships(&daemon)?, Default::default());
    become_those(relay, &Default::default(), false)?;
    daemon.stop()?;

    let rules = rules::file(&rules::streams(2, "v1", "v2"));
    for (membership, all, groups) in [("allmulticast", true, 0), ("none", false, 0), ("join", false, 2)] {
        let config = format!("[[interface]]\nname = \"v1\"\nmembership = \"{membership}\"\n\n{rules}");
        let daemon = Daemon::start(relay, &config, &[])?;
        assert_eq!((takes_all(relay)?, kernels(relay)?.len()), (all, groups), "{membership}");
        daemon.kill()?;
        assert_eq!((takes_all(relay)?, kernels(relay)?.len()), (false, 0), "{membership}, killed");
    }
    Ok(())
}

/// More groups than are joined one by one: the rest comes because every group does.
#[test]
fn more_groups_than_are_joined() -> Result<()> {
    needs_root!();
    const JOINED: usize = 4_096;
    const ALL: u16 = 4_200;
    let network = Topology::chain(1).build()?;
    let relay = network.relay();
    let daemon = Daemon::start(relay, &rules::file(&rules::streams(ALL, "v1", "v2")), &[])?;
    let count = |state: &str| -> Result<usize> {
        Ok(daemon
            .stats()?
            .memberships
            .iter()
            .filter(|membership| membership.state == state && membership.group.is_some())
            .count())
    };
    assert_eq!(
        (kernels(relay)?.len(), count("joined")?, count("allmulticast")?),
        (JOINED, JOINED, usize::from(ALL) - JOINED)
    );
    assert!(takes_all(relay)?);
    // Fewer: those that are left are all joined.
    std::fs::write(daemon.files().config(), rules::file(&rules::streams(4_000, "v1", "v2")))?;
    daemon.done(&["reload"])?;
    assert_eq!((count("joined")?, count("allmulticast")?), (4_000, 0));
    become_those(relay, &groups(0, 4_000), false)?;
    // Others in place of some, which linger no longer than there is room.
    let rules = rules::streams(ALL, "v1", "v2").split_off(usize::from(ALL) - 4_000);
    std::fs::write(daemon.files().config(), rules::file(&rules))?;
    daemon.done(&["reload"])?;
    assert_eq!((count("joined")?, count("allmulticast")?), (4_000, 0));
    ensure!(kernels(relay)?.len() <= JOINED, "{} groups", kernels(relay)?.len());
    become_those(relay, &groups(ALL - 4_000, ALL), false)
}

/// Rules that share groups come and go in an order that a fixed seed gives; the kernel's memberships are always the rules'.
#[test]
fn memberships_are_those_of_the_rules() -> Result<()> {
    needs_root!();
    const NAMES: u64 = 24;
    let network = Topology::chain(1).build()?;
    let daemon = Daemon::start(network.relay(), "", &["--iface-in", "v1", "--iface-out", "v2"])?;
    let mut there: Vec<Option<(String, Option<String>)>> = vec![None; NAMES as usize];
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for step in 0..300 {
        // xorshift64
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let i = (random % NAMES) as usize;
        let name = format!("r{i}");
        if there[i].take().is_some() {
            daemon.done(&["rule", "del", &name])?;
        } else {
            let (group, source) = (format!("239.2.0.{}", i / 4), (i % 2 == 1).then(|| format!("10.9.9.{}", i % 4)));
            let mut words: Vec<String> =
                format!("rule add --name {name} --in v1 --group {group} --port {} --out v2", 1_000 + i)
                    .split(' ')
                    .map(String::from)
                    .collect();
            words.extend(source.iter().flat_map(|source| ["--source".to_owned(), source.clone()]));
            daemon.done(&words)?;
            there[i] = Some((group, source));
        }
        if step % 20 == 19 {
            let wanted: BTreeSet<(String, String)> = there
                .iter()
                .flatten()
                .map(|(group, source)| {
                    let source = source.as_ref().map(|source| format!(" of {source}")).unwrap_or_default();
                    (format!("{group}{source}"), "joined".to_owned())
                })
                .collect();
            assert_eq!(memberships(&daemon)?, wanted, "step {step}");
            let groups: BTreeSet<String> = there.iter().flatten().map(|(group, _)| group.clone()).collect();
            become_those(network.relay(), &groups, false).with_context(|| format!("step {step}"))?;
        }
    }
    Ok(())
}

/// The host cannot ask within a VLAN in which it has no interface. That is said, and nothing is asked outside of it; `vm_vlans` shows the
/// rest, since not every kernel that tests run on has VLANs.
#[test]
fn a_vlan_without_an_interface() -> Result<()> {
    needs_root!();
    let network = Topology::chain(1).build()?;
    let relay = network.relay();
    let remedy = "ip link add link v1 name v1.100 type vlan id 100 && ip link set v1.100 up";
    let words = "rule add --name tagged --in v1 --group 239.1.1.1 --vlan 100 --out v2";
    for (membership, warns) in [("join", true), ("none", false)] {
        let config = format!("[[interface]]\nname = \"v1\"\nmembership = \"{membership}\"\n");
        let daemon = Daemon::start(relay, &config, &["--iface-in", "v1", "--iface-out", "v2"])?;
        let added = daemon.ctl(&words.split(' ').collect::<Vec<_>>())?.success()?;
        assert_eq!(added.stderr.contains(remedy), warns, "{}", added.told());
        let status = daemon.done(&["--json", "status"])?;
        assert_eq!(status.contains(remedy), warns, "{status}");
        assert_eq!(kernels(relay)?, Default::default());
        let told = daemon.stats()?.memberships;
        let none = told.iter().all(|of| of.state == "failed: no interface in VLAN 100" && of.vlan == Some(100));
        ensure!(none && told.len() == usize::from(warns), "{told:?}");
        if warns {
            until("a word in the log", SOON, || Ok(daemon.log().contains(remedy).then_some(())))?;
        }
        daemon.done(&["rule", "del", "tagged"])?;
        let status = daemon.done(&["--json", "status"])?;
        ensure!(!status.contains(remedy), "{status}");
    }
    Ok(())
}

/// An interface that is deleted takes its memberships along, and the socket that held them has its room again, though what else it holds
/// keeps it open.
#[test]
fn an_interface_that_comes_and_goes() -> Result<()> {
    needs_root!();
    const GROUPS: u8 = 3;
    let network = Topology::chain(1).build()?;
    let relay = network.relay();
    let index =
        |name: &str| -> Result<u32> { Ok(relay.run(&format!("cat /sys/class/net/{name}/ifindex"))?.trim().parse()?) };
    let stays = index("v1")?;
    let of = |group: u8, source: u8| Membership::Source {
        group: Ipv4Addr::new(239, 3, 0, group),
        source: Ipv4Addr::new(10, 9, 9, source),
    };
    let all = || (0..GROUPS).flat_map(|group| [of(group, 1), of(group, 2)]);
    // Sockets belong to the namespace in which they were made.
    let mut holders = relay.enter(|| Ok(Holders::default()))?;
    relay.enter(|| Ok(holders.join(stays, of(0, 1))?))?;
    for round in 0..30 {
        relay.run("ip link add x0 type veth peer name x1")?;
        let comes = index("x0")?;
        relay
            .enter(|| Ok(all().try_for_each(|membership| holders.join(comes, membership))?))
            .with_context(|| format!("round {round}: joining"))?;
        relay.run("ip link del x0")?;
        all().for_each(|membership| holders.leave(comes, membership));
        assert_eq!(kernels(relay)?, ["239.3.0.0".to_owned()].into(), "round {round}");
    }
    Ok(())
}
