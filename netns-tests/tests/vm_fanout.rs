//! Three outputs on three zero-copy NICs in a virtual machine, and the host's own traffic beside them.

use std::thread;

use anyhow::{Result, ensure};
use netns_tests::{
    daemon::Final,
    deadline::until,
    ledger::{self, Deleted},
    needs_root,
    probe::{Load, Share},
    process::Process,
    rules::{self, Output, stream},
    topology::{GEN, Network, SINK},
    vm::{
        guest::{Guest, LIMIT},
        kernel,
        machine::{Machine, Nic},
        own,
        relay::Relay,
        wire,
    },
};

/// What emulation carries beside pings and TCP.
const LOAD: Load = Load { first: rules::SENT, streams: 10, rate: 500, size: 256, seconds: 24 };
const EGRESSES: [usize; 3] = [1, 2, 3];

#[test]
fn three_outputs_and_the_hosts_own_traffic() -> Result<()> {
    needs_root!();
    // No more pairs of queues than processors: see docs/kernel.md, virtio_net.
    let nics = [2; 4].map(Nic::Tap).into();
    let guest = Machine { kernel: kernel::newest()?, cpus: 2, nics }.boot()?;
    for i in 0..4 {
        // It is an error to set what is set.
        guest.run(&format!("ethtool -L eth{i} combined 2 || ethtool -l eth{i} >/dev/null"))?;
    }
    let network = wire::fan(&guest, 0, &EGRESSES)?;
    let relay = Relay::start(&guest, &config(), "--mode zerocopy")?;
    let before = relay.stats_at_rest()?;

    let receivers: Vec<Process> = (2..)
        .zip(EGRESSES)
        .map(|(k, _)| LOAD.receive(network.namespace(SINK), &format!("v{}", 2 * k - 1), streams(k), Share::Many))
        .collect::<Result<_>>()?;
    let sent = thread::scope(|scope| -> Result<_> {
        let sending = scope.spawn(|| LOAD.sent(LOAD.send(network.namespace(GEN), "v0", Share::Many)?));
        until("the streams", LIMIT, || Ok((relay.stats()?.totals.sent_packets > 0).then_some(())))?;
        own_traffic(&guest, &network)?;
        let matched = relay.stats()?.totals.matched_packets;
        ensure!(matched < LOAD.packets(), "the streams had ended: nothing was shown");
        sending.join().expect("no panic")
    })?;
    assert_eq!(sent.packets, LOAD.packets());
    for receiver in receivers {
        let received = LOAD.received(receiver)?;
        let wrong =
            received.lost + received.duplicated + received.reordered + received.foreign + received.checksum_errors;
        ensure!(received.packets == LOAD.packets() && wrong == 0, "{received:?}\n{}", relay.log()?);
    }
    let stats = relay.stats_at_rest()?;
    eprintln!("{}\n{stats:?}", relay.log()?);
    for i in 0..4 {
        let interface = stats.interface(&format!("eth{i}"));
        assert_eq!((&*interface.xdp, &*interface.xsk), ("driver", "zerocopy"), "{interface:?}");
    }
    ledger::check(&stats, Deleted::None)?;
    ledger::check_frames(&before, &stats)?;
    let (matched, sent) = (LOAD.packets(), LOAD.packets() * EGRESSES.len() as u64);
    assert_eq!(relay.stop()?, Final { matched, ingress_dropped: 0, sent, egress_dropped: 0 });
    guest.healthy()
}

/// First group and port of what goes out by the link 10.k.0.0/24.
fn streams(k: u32) -> (std::net::Ipv4Addr, u16) {
    (std::net::Ipv4Addr::new(239, 10, k as u8, 1), 6001)
}

fn config() -> String {
    let mut rules = rules::streams(LOAD.streams, "eth0", "eth1");
    for (i, rule) in (0..).zip(&mut rules) {
        let output = |(k, egress)| {
            let (group, port) = stream(streams(k), i);
            Output { interface: format!("eth{egress}"), group, port }
        };
        rule.outputs = (2..).zip(EGRESSES).map(output).collect();
    }
    rules::file(&rules)
}

/// ARP, ping and TCP to each interface, whose queues' receiving sides draw on our fill rings.
fn own_traffic(guest: &Guest, network: &Network) -> Result<()> {
    [(GEN, "10.1.0.2"), (SINK, "10.2.0.1"), (SINK, "10.3.0.1"), (SINK, "10.4.0.1")]
        .iter()
        .try_for_each(|(label, address)| own::traffic(guest, network.namespace(label), address))
}
