//! Bonds and teams, and the address of a host's interface in a VLAN: in a virtual machine, whose kernel has them.

use anyhow::{Context, Result, ensure};
use netns_tests::{
    deadline::until,
    needs_machines,
    probe::Load,
    rules,
    topology::{GEN, SINK},
    vm::{guest::LIMIT, kernel, machine::Machine, relay::Relay, wire},
};

const LOAD: Load = Load { first: rules::SENT, streams: 1, rate: 200, size: 256, seconds: 1 };

/// gen sends each packet on both ports of its bond; the relay's has one active port.
#[test]
fn a_bond_and_a_trunk() -> Result<()> {
    needs_machines!();
    let kernel = kernel::all()?.into_iter().find(|kernel| kernel.name == "6.1").context("6.1 is there")?;
    let guest = Machine { kernel, cpus: 2, nics: wire::INSIDE.into() }.boot()?;
    wire::inside(&guest)?;
    guest.run(&format!(
        "ip -n {GEN} link add far0 type bond mode broadcast miimon 10
         ip link add uplink type bond mode active-backup miimon 10
         for i in 0 1; do
             ip link add b$i type veth peer name a$i netns {GEN}
             ip link set b$i master uplink
             ip -n {GEN} link set a$i master far0
         done
         ip -n {GEN} addr add 10.5.0.1/24 dev far0
         ip -n {GEN} link set far0 up
         ip link set uplink up
         ip addr add 10.5.0.2/24 dev uplink
         ip link add team0 type team
         ip link add t0 type veth peer name t1
         ip link set t0 master team0"
    ))?;
    for mode in ["zerocopy", "copy"] {
        let refused = Relay::refused(&guest, "", &format!("--mode {mode} --iface-in uplink"))?;
        ensure!(refused.stderr.contains("native XDP runs in the ports of a bond"), "{}", refused.told());
    }
    let relay = Relay::start(&guest, "", "--iface-in uplink --iface-out eth2")?;
    let log = relay.log()?;
    ensure!(
        log.contains("uplink queue 0") && log.contains("XDP in skb mode") && log.contains("ports of a bond"),
        "{log}"
    );
    for (port, bundle) in [("b0", "bond uplink"), ("b1", "bond uplink"), ("t0", "team team0")] {
        let words = rules::streams(1, port, "eth2")[0].add().join(" ");
        let refused = relay.ctl(&words)?.exited(1)?;
        ensure!(refused.stderr.contains(&format!("it is a port of the {bundle}")), "{}", refused.told());
    }
    relay.ctl(&rules::streams(1, "uplink", "eth2")[0].add().join(" "))?.success()?;
    for step in ["true", "ip link set b0 down", "ip link set b0 up; ip link set b1 down"] {
        guest.run(step)?;
        let active = if step.contains("b0 down") { "b1" } else { "b0" };
        until("the fail-over", LIMIT, || {
            let now = guest.run("cat /sys/class/net/uplink/bonding/active_slave")?;
            Ok((now.trim() == active).then_some(()))
        })?;
        let crossing = wire::cross_inside(&guest, &LOAD, "far0", "v3")?;
        let wrong = crossing.miscounted(&LOAD);
        ensure!(wrong.is_empty(), "{step}: {}\n{}", wrong.join("; "), relay.log()?);
    }

    // A trunk without an address: the host's interface in the VLAN has one.
    guest.run("ip addr flush dev eth2")?;
    let add = "rule add --name trunk --in uplink --group 239.1.9.9 --port 5001 --out eth2,vlan=100";
    let refused = relay.ctl(add)?.exited(1)?;
    ensure!(
        refused.stderr.contains("type vlan id 100") && refused.stderr.contains("source=ADDRESS"),
        "{}",
        refused.told()
    );
    guest.run(
        "ip link add link eth2 name studio type vlan id 100; ip link set studio up; ip addr add 10.7.0.1/24 dev studio",
    )?;
    relay.ctl(add)?.success()?;
    let tcpdump = guest.spawn(&format!("ip netns exec {SINK} tcpdump -Z root -l -n -c 1 -i v3 'vlan 100 and udp'"))?;
    until("tcpdump", LIMIT, || Ok(tcpdump.stderr()?.contains("listening on").then_some(())))?;
    let send = "mcrprobe send --iface far0 --group 239.1.9.9 --port 5001 --rate 50 --size 200 --seconds 2 --ttl 5";
    guest.run(&format!("ip netns exec {GEN} {send}"))?;
    let seen = tcpdump.wait()?;
    ensure!(seen.stdout.contains("10.7.0.1."), "{}", seen.told());
    relay.stop()?;
    guest.healthy()
}
