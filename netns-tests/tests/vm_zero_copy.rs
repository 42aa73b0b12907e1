//! Zero-copy on virtio_net in a virtual machine: real programs, real rings, every packet once.

use anyhow::{Result, ensure};
use netns_tests::{
    crossing::Crossing,
    daemon::Final,
    ledger::{self, Deleted},
    needs_root,
    probe::Load,
    rules,
    topology::Network,
    vm::{
        guest::Guest,
        kernel,
        machine::{Machine, Nic},
        relay::Relay,
        wire,
    },
};

/// What emulation carries with ease.
const LOAD: Load = Load { first: rules::SENT, streams: 50, rate: 2_000, size: 256, seconds: 3 };

#[test]
fn every_packet_once_over_one_two_and_four_queues() -> Result<()> {
    needs_root!();
    let machine = Machine { kernel: kernel::newest()?, cpus: 4, memory: 1024, nics: vec![Nic::Tap(4); 2] };
    let guest = machine.boot()?;
    let network = wire::chain(&guest, 0, 1)?;
    for queues in [1, 2, 4] {
        eprintln!("{queues} queues");
        guest.run(&format!("for nic in eth0 eth1; do ethtool -L $nic combined {queues}; done"))?;
        exactly_once(&guest, &network, queues)?;
    }
    Ok(())
}

fn exactly_once(guest: &Guest, network: &Network, queues: u32) -> Result<()> {
    let config = rules::file(&rules::streams(LOAD.streams, "eth0", "eth1"));
    let relay = Relay::start(guest, &config, "--mode zerocopy")?;
    let before = relay.stats_at_rest()?;
    let crossing = Crossing::of_chain(network, &LOAD)?;
    let stats = relay.stats_at_rest()?;
    eprintln!("{}{crossing:?}\n{stats:?}", relay.log()?);

    for name in ["eth0", "eth1"] {
        let interface = stats.interface(name);
        let granted = (&*interface.driver, interface.queues, &*interface.xdp, &*interface.xsk);
        assert_eq!(granted, ("virtio_net", queues, "driver", "zerocopy"), "{interface:?}");
    }
    crossing.exactly_once(&LOAD)?;
    ledger::check(&stats, Deleted::None)?;
    ledger::check_frames(&before, &stats)?;
    assert_eq!(stats.workers.len(), queues as usize);
    for worker in &stats.workers {
        ensure!(worker.rx_packets > 0, "worker {} carried nothing: {:?}", worker.id, stats.workers);
    }
    let all = LOAD.packets();
    assert_eq!(relay.stop()?, Final { matched: all, ingress_dropped: 0, sent: all, egress_dropped: 0 });
    Ok(())
}
