//! `mcrctl doctor` on virtio_net in a virtual machine: a driver that grants zero-copy, and one that must not be asked for it.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use netns_tests::{
    doctor::{Report, words},
    needs_machines, needs_root, rules,
    vm::{
        guest::Guest,
        kernel,
        machine::{Machine, Nic},
        relay::Relay,
        wire,
    },
};

fn examine(guest: &Guest, interfaces: &[&str], socket: &str) -> Result<Report> {
    let words = words(Path::new(socket), interfaces, true);
    Report::of(&guest.finish(&format!("mcrctl {}", words.join(" ")))?)
}

/// eth0 and eth1 have no more pairs of queues than there are processors, eth2 and eth3 have.
#[test]
fn virtio() -> Result<()> {
    needs_root!();
    let nics = [2, 2, 4, 4].map(Nic::Tap).into();
    let guest = Machine { kernel: kernel::newest()?, cpus: 2, nics }.boot()?;
    let _network = wire::chain(&guest, 0, 1)?;
    let _more = wire::chain(&guest, 2, 3)?;
    guest.run(
        "ethtool -L eth0 combined 2 || true; ethtool -L eth1 combined 2 || true; ethtool -L eth2 combined 1 || true",
    )?;
    eprintln!("{}", guest.finish("mcrctl doctor eth0 eth2")?.stdout);

    let nobody = "/run/nobody.sock";
    let report = examine(&guest, &["eth0"], nobody)?;
    let interface = &report.interfaces[0];
    assert_eq!((interface.driver.as_deref(), interface.rx_queues), (Some("virtio_net"), Some(2)));
    ensure!(interface.bus.as_deref().is_some_and(|bus| bus.contains(':')), "{interface:?}");
    for (id, severity) in [
        ("zero-copy", "ok"),
        ("xdp", "ok"),
        ("queues", "ok"),
        ("gro", "ok"),
        ("multicast-filter", "ok"),
        ("link", "ok"),
    ] {
        assert_eq!(report.severity(id), severity, "{:?}", report.find(id));
    }
    // Without a name the driver is not asked.
    let report = examine(&guest, &[], nobody)?;
    assert_eq!(report.severity("zero-copy"), "not_checked");

    // Where the driver would take queues of its own, zero-copy is not asked for, and the remedy is one.
    let report = examine(&guest, &["eth2"], nobody)?;
    let finding = report.find("zero-copy");
    assert_eq!(
        (&*finding.severity, finding.fix.as_deref()),
        ("note", Some("ethtool -L eth2 combined 4")),
        "{finding:?}"
    );
    guest.run(finding.fix.as_deref().unwrap_or_default())?;
    assert_eq!(examine(&guest, &["eth2"], nobody)?.severity("zero-copy"), "ok");

    // The interrupts of both queues on one processor, and then as is said.
    let on_one = "for irq in $(grep -E 'virtio[0-9]+-input' /proc/interrupts | cut -d: -f1); do echo 1 > /proc/irq/$irq/smp_affinity_list; done";
    guest.run(on_one)?;
    let report = examine(&guest, &["eth0"], nobody)?;
    let finding = report.find("irq-affinity");
    assert_eq!(finding.severity, "note", "{finding:?}");
    guest.run(finding.fix.as_deref().unwrap_or_default())?;
    assert_eq!(examine(&guest, &["eth0"], nobody)?.severity("irq-affinity"), "ok");

    // A daemon forwards on: it is asked instead of the driver.
    let relay = Relay::start(&guest, &rules::file(&rules::streams(1, "eth0", "eth1")), "--mode zerocopy")?;
    let report = Report::of(&relay.ctl("doctor eth0 eth1 --json")?)?;
    assert_eq!(report.find("zero-copy").found, "mcrd has it here");
    let report = examine(&guest, &["eth0"], nobody)?;
    assert_eq!((report.severity("xdp-program"), report.severity("zero-copy")), ("ok", "not_checked"));
    relay.stop()?;

    // The driver is a module, and what it would send by zero-copy may be lost.
    guest.show_module()?;
    let report = examine(&guest, &["eth0"], nobody)?;
    let finding = report.find("zero-copy");
    ensure!(finding.severity == "note" && finding.found.contains("is a module"), "{finding:?}");
    let relay = Relay::start(&guest, &rules::file(&rules::streams(1, "eth0", "eth1")), "--mode zerocopy")?;
    let report = Report::of(&relay.ctl("doctor eth0 --json")?)?;
    let finding = report.find("zero-copy");
    ensure!(finding.severity == "warning" && finding.found.contains("is a module"), "{finding:?}");
    relay.stop()?;
    guest.healthy()
}

/// The oldest kernel does not tell of native XDP, and its virtio_net has no zero-copy.
#[test]
fn an_old_kernel() -> Result<()> {
    needs_machines!();
    let kernel = kernel::all()?.into_iter().find(|kernel| kernel.name == "6.1").context("no kernel 6.1")?;
    let guest = Machine { kernel, cpus: 2, nics: wire::INSIDE.into() }.boot()?;
    wire::inside(&guest)?;
    let report = examine(&guest, &["eth1"], "/run/nobody.sock")?;
    for (id, severity) in [("kernel", "note"), ("xdp", "not_checked"), ("zero-copy", "note"), ("xdp-program", "ok")] {
        assert_eq!(report.severity(id), severity, "{:?}", report.find(id));
    }
    ensure!(report.find("zero-copy").found.contains("from Linux 6.13"), "{report:?}");
    // What it may attach in spite of that, mcrd knows.
    let relay = Relay::start(&guest, &rules::file(&rules::streams(1, "eth1", "eth2")), "")?;
    let report = Report::of(&relay.ctl("doctor eth1 --json")?)?;
    assert_eq!((report.severity("xdp"), report.severity("xdp-program")), ("ok", "ok"), "{report:?}");
    relay.stop()?;
    guest.healthy()
}
