//! The harness itself, against the real kernel: what it builds works, what it leaves is nothing.

use std::{fs, process::Command, time::Duration};

use anyhow::{Result, ensure};
use netns_tests::{
    deadline::{SOON, until},
    needs_root,
    netns::Namespace,
    process::{Process, run},
    programs,
    topology::{BRIDGES, GEN, Network, SINK, Topology},
};

#[test]
fn a_chain_carries_pings_and_has_its_queues() -> Result<()> {
    needs_root!();
    let network = Topology::fan(4, 2).build()?;
    network.namespace(GEN).run("ping -c 1 -W 5 10.1.0.2")?;
    network.namespace(SINK).run("ping -c 1 -W 5 10.2.0.1")?;
    network.namespace(SINK).run("ping -c 1 -W 5 10.3.0.1")?;
    for (namespace, interface) in [(GEN, "v0"), ("relay", "v1"), ("relay", "v2"), (SINK, "v5")] {
        let queues = network.namespace(namespace).run(&format!("ls /sys/class/net/{interface}/queues"))?;
        assert_eq!(queues.split_whitespace().filter(|queue| queue.starts_with("rx-")).count(), 4, "{interface}");
        assert_eq!(queues.split_whitespace().filter(|queue| queue.starts_with("tx-")).count(), 4, "{interface}");
    }
    Ok(())
}

/// Every namespace is empty of IPv6, so no neighbour discovery lands in a counter.
#[test]
fn namespaces_are_quiet() -> Result<()> {
    needs_root!();
    let network = Topology::chain(1).build()?;
    assert_eq!(network.relay().run("ip -6 addr show")?, "");
    Ok(())
}

#[test]
fn dropping_leaves_no_namespace_and_no_process() -> Result<()> {
    needs_root!();
    let network = Topology::chain(1).build()?;
    let name = network.relay().name().to_owned();
    // A process that nobody holds: what a test's own helper might leave.
    let process = Process::spawn(network.relay().command("sleep").arg("1000"))?;
    let pid = process.pid();
    std::mem::forget(process);
    until("sleep in the namespace", SOON, || Ok(netns_pids(&name)?.contains(&pid.to_string()).then_some(())))?;
    drop(network);
    ensure!(!fs::exists(format!("/run/netns/{name}"))?, "{name} is still there");
    // Killed; this process, its parent, has not waited for it.
    until("the end of sleep", SOON, || {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        Ok(status.lines().any(|line| line.starts_with("State:\tZ")).then_some(()))
    })
}

#[test]
fn a_panic_leaves_no_namespace() -> Result<()> {
    needs_root!();
    let namespace = Namespace::create("panic")?;
    let name = namespace.name().to_owned();
    ensure!(fs::exists(format!("/run/netns/{name}"))?);
    let panicked = std::thread::spawn(move || {
        let _owned = namespace;
        panic!("on purpose");
    });
    assert!(panicked.join().is_err());
    ensure!(!fs::exists(format!("/run/netns/{name}"))?, "{name} is still there");
    Ok(())
}

/// A namespace of a process that is gone is swept by the next process that makes one.
#[test]
fn namespaces_of_dead_processes_are_swept() -> Result<()> {
    needs_root!();
    let mut dead = Command::new("true").spawn()?;
    let name = format!("mcrt-{}-0-stale", dead.id());
    dead.wait()?;
    run(Command::new("ip").args(["netns", "add", &name]))?;
    // Another process, so that its first namespace sweeps: this very executable, for the test above.
    let other = Command::new(std::env::current_exe()?).args(["--exact", "a_panic_leaves_no_namespace"]).output()?;
    ensure!(other.status.success(), "{other:?}");
    ensure!(!fs::exists(format!("/run/netns/{name}"))?, "{name} is still there");
    Ok(())
}

#[test]
fn bridges_carry_a_group_to_its_members_alone() -> Result<()> {
    needs_root!();
    ensure!(programs::installed("socat"), "socat is missing: `cargo xtask setup` installs it");
    let network = Topology::dual_bridge(3, 2).build()?;
    network.namespace("s0").run("ping -c 1 -W 5 10.1.0.1")?;
    network.namespace("r2").run("ping -c 1 -W 5 10.2.0.1")?;

    // r1 asks for the group; r0 and r2 do not.
    let receiver = Process::spawn(network.namespace("r1").command("socat").args([
        "-u",
        "UDP4-RECV:5001,ip-add-membership=239.9.9.9:e0",
        "-",
    ]))?;
    until("the membership in br1", SOON, || {
        let mdb = network.namespace(BRIDGES).run("bridge mdb show dev br1")?;
        Ok(mdb.contains("port r1 grp 239.9.9.9").then_some(()))
    })?;
    let before = received(&network, 3)?;
    send_datagrams(&network, 100)?;
    until("100 datagrams at r1", SOON, || Ok((receiver.stdout().lines().count() == 100).then_some(())))?;
    let after = received(&network, 3)?;
    assert!(after[1] - before[1] >= 100, "{before:?} {after:?}");
    for other in [0, 2] {
        // A general query may fall in between.
        assert!(after[other] - before[other] < 5, "br1 floods: {before:?} {after:?}");
    }
    Ok(())
}

/// Packets that the interface of each of the first `n` receivers has received.
fn received(network: &Network, n: u32) -> Result<Vec<u64>> {
    let read = |i| {
        let text = network.namespace(&format!("r{i}")).run("cat /sys/class/net/e0/statistics/rx_packets")?;
        Ok(text.trim().parse()?)
    };
    (0..n).map(read).collect()
}

/// Sends `n` lines, a datagram each, from the relay to 239.9.9.9:5001.
fn send_datagrams(network: &Network, n: u32) -> Result<()> {
    let script = format!(
        "for i in $(seq {n}); do echo line $i | socat -u - UDP4-DATAGRAM:239.9.9.9:5001,ip-multicast-if=10.2.0.1; done"
    );
    let sent = Process::spawn(network.relay().command("sh").args(["-ec", &script]))?;
    sent.wait(Duration::from_secs(30))?.success()?;
    Ok(())
}

fn netns_pids(name: &str) -> Result<String> {
    run(Command::new("ip").args(["netns", "pids", name]))
}
