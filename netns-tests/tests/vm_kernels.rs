//! Each kernel: the program loads, `auto` takes the best mode there is, and every packet comes out once.
//!
//! Sender and receiver are in the guest too, so a machine needs nothing of the host.

use anyhow::{Result, ensure};
use netns_tests::{
    daemon::Final,
    ledger::{self, Deleted},
    needs_machines,
    probe::Load,
    rules,
    stats::Stats,
    vm::{
        kernel::{self, Kernel},
        machine::Machine,
        relay::Relay,
        wire,
    },
};

const LOAD: Load = Load { first: rules::SENT, streams: 10, rate: 500, size: 256, seconds: 2 };
/// The first with zero-copy on virtio_net.
const ZERO_COPY: (u32, u32) = (6, 13);

#[test]
fn every_packet_once_on_every_kernel() -> Result<()> {
    needs_machines!();
    let mut wrong = Vec::new();
    for kernel in kernel::all()? {
        match forward(&kernel) {
            Ok(mode) => eprintln!("{:<20} {:<30} {mode}", kernel.name, kernel.release),
            Err(error) => wrong.push(format!("{} ({}): {error:#}", kernel.name, kernel.release)),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    Ok(())
}

/// Boots a kernel and forwards over it; the mode that it granted.
fn forward(kernel: &Kernel) -> Result<String> {
    let machine = Machine { kernel: kernel.clone(), cpus: 2, nics: wire::INSIDE.into() };
    let guest = machine.boot()?;
    let boot = guest.age().as_secs_f64();
    wire::inside(&guest)?;
    let relay = Relay::start(&guest, &rules::file(&rules::streams(LOAD.streams, "eth1", "eth2")), "")?;
    let crossing = wire::cross_inside(&guest, &LOAD, "v0", "v3")?;
    let stats = relay.stats_at_rest()?;
    let log = relay.log()?;
    // How fast an emulated sender is says nothing.
    let miscounted = crossing.miscounted(&LOAD);
    ensure!(miscounted.is_empty(), "{}\n{stats:?}\n{log}", miscounted.join("; "));
    ledger::check(&stats, Deleted::None)?;
    let mode = granted(&stats);
    let wanted = if kernel.version() < ZERO_COPY { "XDP driver, AF_XDP copy" } else { "XDP driver, AF_XDP zerocopy" };
    assert_eq!(mode, [wanted; 2], "{:?}", stats.interfaces);
    let (matched, sent) = (LOAD.packets(), LOAD.packets());
    assert_eq!(relay.stop()?, Final { matched, ingress_dropped: 0, sent, egress_dropped: 0 });
    guest.healthy()?;
    let reasons: Vec<&str> = stats.interfaces.iter().map(|interface| &*interface.xsk_reason).collect();
    let options: Vec<&str> = log.lines().filter(|line| line.contains("socket option")).collect();
    Ok(format!("boot {boot:4.1} s, {}, why {reasons:?}, {options:?}", mode.join("; ")))
}

fn granted(stats: &Stats) -> Vec<String> {
    let one = |name| {
        let interface = stats.interface(name);
        format!("XDP {}, AF_XDP {}", interface.xdp, interface.xsk)
    };
    ["eth1", "eth2"].map(one).into()
}
