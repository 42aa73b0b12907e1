//! Joins within a VLAN, by the host's interface in it: in a virtual machine, since not every kernel that tests run on has VLANs.
//!
//! Sender and receiver are in the guest too, so a machine needs nothing of the host. One boot for all of it.

use anyhow::{Context, Result, ensure};
use netns_tests::{
    deadline::until,
    needs_machines,
    probe::Load,
    rules,
    stats::Membership,
    topology::GEN,
    vm::{
        guest::{Guest, LIMIT},
        kernel,
        machine::Machine,
        relay::Relay,
        wire,
    },
};

const LOAD: Load = Load { first: rules::SENT, streams: 1, rate: 500, size: 256, seconds: 1 };
/// Of a second rule, from one source.
const OF_SOURCE: (&str, &str) = ("239.1.1.2", "10.5.0.1");
/// Where tcpdump writes what it sees at the other end of the relay's eth1.
const SEEN: &str = "/run/reports";

/// The groups that the relay's host is a member of on an interface, the all-systems group left out.
fn groups(guest: &Guest, interface: &str) -> Result<Vec<String>> {
    let text = guest.run(&format!("ip -4 maddr show dev {interface}"))?;
    let groups = text.lines().filter_map(|line| line.trim().strip_prefix("inet ")?.split_whitespace().next());
    Ok(groups.filter(|group| *group != "224.0.0.1").map(String::from).collect())
}

/// Reports of a group that came over the wire, a line each.
fn reports(guest: &Guest, group: &str) -> Result<Vec<String>> {
    let text = guest.run(&format!("cat {SEEN}"))?.replace("\n    ", " ");
    Ok(text.lines().filter(|line| line.contains(&format!("gaddr {group} "))).map(String::from).collect())
}

/// Waits until all memberships have that state, and are by this interface.
fn become_so(relay: &Relay<'_>, state: &str, via: Option<&str>) -> Result<()> {
    let so =
        |of: &Membership| of.state == state && (&*of.interface, of.vlan, of.via.as_deref()) == ("eth1", Some(100), via);
    until(state, LIMIT, || {
        let memberships = relay.stats()?.memberships;
        Ok((!memberships.is_empty() && memberships.iter().all(so)).then_some(()))
    })
    .with_context(|| format!("{:?}\n{}", relay.stats().map(|stats| stats.memberships), relay.log().unwrap_or_default()))
}

fn warns(relay: &Relay<'_>, of: &str) -> Result<bool> {
    Ok(relay.ctl("--json status")?.success()?.stdout.contains(of))
}

#[test]
fn joins_within_a_vlan() -> Result<()> {
    needs_machines!();
    let guest = Machine { kernel: kernel::newest()?, cpus: 2, nics: wire::INSIDE.into() }.boot()?;
    wire::inside(&guest)?;
    guest.run(&format!(
        "ip -n {GEN} link add link v0 name v0.100 type vlan id 100
         ip -n {GEN} addr add 10.5.0.1/24 dev v0.100
         ip -n {GEN} link set v0.100 up"
    ))?;
    let tcpdump = guest
        .spawn(&format!("ip netns exec {GEN} tcpdump -Z root -l -n -e -vv -i v0 'igmp or (vlan and igmp)' >{SEEN}"))?;
    until("tcpdump", LIMIT, || Ok(tcpdump.stderr()?.contains("listening on").then_some(())))
        .with_context(|| tcpdump.stderr().unwrap_or_default())?;
    let relay = Relay::start(&guest, "", "--iface-in eth1 --iface-out eth2")?;

    // There is no interface in it: nothing is asked for, and the printed command makes one.
    let rule = &rules::streams(1, "eth1", "eth2")[0];
    let added = relay.ctl(&format!("{} --vlan 100", rule.add().join(" ")))?.success()?;
    let remedy = added.stderr.split('`').nth(1).with_context(|| added.told())?;
    become_so(&relay, "failed: no interface in VLAN 100", None)?;
    ensure!(warns(&relay, remedy)? && groups(&guest, "eth1")?.is_empty());
    let explained = relay.ctl(&format!("explain {} --seconds 1", rule.name))?.exited(1)?;
    let first = explained.stdout.lines().next().unwrap_or_default();
    ensure!(first.contains(" is idle: ") && first.ends_with(&format!("; fix: {remedy}")), "{}", explained.told());
    guest.run(remedy)?;
    become_so(&relay, "joined", Some("eth1.100"))?;
    ensure!(!warns(&relay, "VLAN 100")?);
    assert_eq!((groups(&guest, "eth1")?, groups(&guest, "eth1.100")?), (vec![], vec!["239.1.1.1".to_owned()]));
    let shown = relay.ctl("status")?.success()?.stdout;
    ensure!(shown.contains("eth1 VLAN 100 (eth1.100)"), "{shown}");

    let crossing = wire::cross_inside(&guest, &LOAD, "v0.100", "v3")?;
    let wrong = crossing.miscounted(&LOAD);
    ensure!(wrong.is_empty(), "{}\n{}", wrong.join("; "), relay.log()?);

    // It goes, and another one comes in its place, whatever it is called.
    guest.run("ip link del eth1.100")?;
    become_so(&relay, "failed: no interface in VLAN 100", None)?;
    ensure!(warns(&relay, remedy)? && relay.log()?.contains(remedy), "{}", relay.log()?);
    guest.run("ip link add link eth1 name studio type vlan id 100; ip link set studio up")?;
    become_so(&relay, "joined", Some("studio"))?;
    let (group, source) = OF_SOURCE;
    relay
        .ctl(&format!("rule add --name one --in eth1 --group {group} --source {source} --vlan 100 --out eth2"))?
        .success()?;
    become_so(&relay, "joined", Some("studio"))?;
    assert_eq!(groups(&guest, "studio")?.len(), 2);

    // What was asked for went over the wire with the tag, and nothing without.
    for (group, asks) in [("239.1.1.1", "to_ex".to_owned()), (group, format!("allow {{ {source} }}"))] {
        let seen = || Ok(reports(&guest, group)?.iter().any(|line| line.contains(&asks)).then_some(()));
        until("a report", LIMIT, seen).with_context(|| guest.run(&format!("cat {SEEN}")).unwrap_or_default())?;
        let reports = reports(&guest, group)?;
        ensure!(reports.iter().all(|line| line.contains(" vlan 100,")), "{reports:#?}");
    }

    guest.run("ip link set studio down")?;
    until("a warning", LIMIT, || Ok(warns(&relay, "`ip link set studio up`")?.then_some(())))?;
    for name in [&rule.name, "one"] {
        relay.ctl(&format!("rule del {name}"))?.success()?;
    }
    ensure!(!warns(&relay, "VLAN 100")?);
    until("no membership", LIMIT, || Ok(groups(&guest, "studio")?.is_empty().then_some(())))?;
    relay.stop()?;
    guest.healthy()
}
