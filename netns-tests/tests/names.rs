//! Interfaces and addresses as the kernel knows them: names, link types, sources, and what mcrd may do.

use std::{net::Ipv4Addr, process::Command};

use anyhow::{Context, Result, ensure};
use netns_tests::{
    daemon::{Daemon, Files},
    deadline::{SOON, until},
    needs_root,
    packet::{Packet, is_stream},
    process::finish,
    programs,
    raw::Wire,
    rules,
    topology::{GEN, Network, SINK, Topology},
};

/// What `ip route get` says that the relay's host sends from.
fn kernels_choice(network: &Network) -> Result<String> {
    let line = network.relay().run("ip route get 239.10.1.1 oif v2")?;
    let mut words = line.split_whitespace().skip_while(|word| *word != "src");
    words.nth(1).map(String::from).with_context(|| line.clone())
}

/// The source address of a packet that is sent now.
fn sent_from(from: &Wire, to: &Wire) -> Result<Option<String>> {
    from.send(&Packet::new(rules::SENT.0, rules::SENT.1).frame())?;
    let frames = to.received()?;
    let frame = frames.into_iter().rfind(|frame| is_stream(frame));
    Ok(frame
        .and_then(|frame| frame.get(26..30)?.try_into().ok())
        .map(|octets: [u8; 4]| Ipv4Addr::from(octets).to_string()))
}

/// After each of these the packets come from where the kernel would send from.
#[test]
fn sources_are_the_kernel_s() -> Result<()> {
    needs_root!();
    let network = Topology::chain(1).build()?;
    let relay = network.relay();
    let daemon = Daemon::start(relay, &rules::file(&rules::streams(1, "v1", "v2")), &[])?;
    let (from, to) = (Wire::open(network.namespace(GEN), "v0")?, Wire::open(network.namespace(SINK), "v3")?);
    for steps in [
        &["ip addr flush dev v2", "ip addr add 169.254.7.7/16 dev v2 scope link", "ip addr add 192.168.50.1/24 dev v2"]
            [..],
        &["ip addr add 192.168.50.2/24 dev v2", "ip addr del 192.168.50.1/24 dev v2"],
        &["ip addr flush dev v2", "ip addr add 10.2.0.1/24 dev v2 label v2:0"],
        &["ip addr flush dev v2", "ip addr add 10.2.0.7 peer 10.2.0.8 dev v2"],
        &[
            "ip addr flush dev v2",
            "ip addr add 10.2.0.9/32 dev v2",
            "ip addr change 10.2.0.9/32 dev v2 preferred_lft 0",
        ],
        // None is valid everywhere: another interface's, and then a route's.
        &[
            "ip addr flush dev v2",
            "ip addr add 169.254.7.7/16 dev v2 scope link",
            "ip addr add 192.168.60.1/24 dev v2 scope link",
        ],
        &["ip addr flush dev v1", "ip route add 224.0.0.0/4 dev v2 src 192.168.60.1"],
        &["ip route del 224.0.0.0/4 dev v2"],
    ] {
        for step in steps {
            relay.run(step)?;
        }
        let expected = kernels_choice(&network)?;
        until(&format!("{expected} after {steps:?}"), SOON, || {
            Ok((sent_from(&from, &to)?.as_ref() == Some(&expected)).then_some(()))
        })
        .with_context(|| daemon.log())?;
    }
    Ok(())
}

/// Wherever a name that cannot be used stands, the same reason is given.
#[test]
fn names_that_cannot_be_used() -> Result<()> {
    needs_root!();
    let network = Topology::chain(1).build()?;
    let relay = network.relay();
    relay.run("ip link property add dev v1 altname uplink")?;
    relay.run("ip tuntap add tun0 mode tun")?;
    relay.run("ip addr add 10.9.0.1/24 dev tun0")?;
    let daemon = Daemon::start(relay, "", &[])?;
    for (name, code, why) in [
        ("uplink", 1, "is an alternative name (altname) of v1; write v1"),
        ("tun0", 1, "has no Ethernet (link/none)"),
        ("v1@if2", 2, "write v1"),
        ("v2:", 2, "write v2"),
        ("v2:0", 2, "write v2"),
    ] {
        for (ingress, egress) in [(name, "v2"), ("v1", name)] {
            for wait in [&[][..], &["--wait".to_owned()]] {
                let words = [rules::streams(1, ingress, egress)[0].add(), wait.to_vec()].concat();
                let refused = daemon.ctl(&words)?.exited(code)?;
                ensure!(refused.stderr.contains(why), "{}", refused.told());
            }
        }
        let mut doctor = relay.command(programs::path("mcrctl")?);
        let doctor = finish(doctor.args(["doctor", name]))?.exited(1)?;
        ensure!(doctor.stdout.contains(why), "{}", doctor.told());
        for flag in ["--iface-in", "--iface-out"] {
            let refused = finish(&mut Files::new("")?.command(relay, &[flag, name])?)?.exited(code)?;
            ensure!(refused.stderr.contains(why), "{}", refused.told());
        }
    }
    for (ingress, egress) in [("lo", "v2"), ("v1", "lo")] {
        let refused = daemon.ctl(&rules::streams(1, ingress, egress)[0].add())?.exited(2)?;
        ensure!(refused.stderr.contains("the loopback interface cannot be used"), "{}", refused.told());
    }
    let mut doctor = relay.command(programs::path("mcrctl")?);
    let doctor = finish(doctor.args(["doctor", "lo"]))?.exited(1)?;
    ensure!(doctor.stdout.contains("loopback"), "{}", doctor.told());
    assert_eq!(daemon.stats()?.rules.len(), 0);
    Ok(())
}

/// Exactly those capabilities are named that lack.
#[test]
fn missing_capabilities_are_named() -> Result<()> {
    needs_root!();
    let network = Topology::chain(1).build()?;
    let all = ["net_admin", "net_raw", "bpf", "perfmon", "sys_admin", "ipc_lock"];
    for (held, lacking) in [
        (&["net_admin", "net_raw", "bpf"][..], &["perfmon", "sys_admin", "ipc_lock"][..]),
        (&["net_admin", "net_raw", "sys_admin", "ipc_lock"], &[]),
        (&["net_admin", "sys_admin", "ipc_lock"], &["net_raw"]),
        (&["net_raw", "bpf", "perfmon", "sys_admin", "ipc_lock"], &["net_admin"]),
        (&["net_admin", "net_raw", "sys_admin"], &["ipc_lock"]),
        (&[], &all),
    ] {
        let files = Files::new("")?;
        let set: String = held.iter().map(|name| format!(",+{name}")).collect();
        let mut command = network.relay().command("prlimit");
        command.args(["--memlock=8388608", "setpriv", &format!("--bounding-set=-all{set}")]);
        command.arg("timeout").arg("3").arg(programs::path("mcrd")?).arg("--control-socket").arg(files.socket());
        let told: &mut Command = &mut command;
        let finished = finish(told)?;
        ensure!(finished.stderr.contains("ready: ") == lacking.is_empty(), "{}", finished.told());
        ensure!(lacking.is_empty() || finished.stderr.lines().count() == 1, "{}", finished.told());
        for name in all {
            let named = finished.stderr.contains(&format!("CAP_{}", name.to_uppercase()));
            ensure!(named == lacking.contains(&name), "{name}: {}", finished.told());
        }
    }
    Ok(())
}
