//! Whether packets spread over queues and CPUs: queues, rings, the hash, interrupts.

use std::collections::BTreeSet;

use super::super::{
    facts::{Host, Interface},
    finding::Finding,
};
use crate::kernel::interrupts::Interrupt;

/// A ring shorter than this overflows in a burst of a few milliseconds: 1,024 packets are 1 ms at a million a second.
const SHORT_RING: u32 = 1024;

/// How many queues there are for how many CPUs.
pub fn queues(interface: &Interface, host: &Host) -> Option<Finding> {
    let nic = &interface.nic;
    let cpus = host.cpus.len().max(1) as u32;
    // As `ethtool -L` takes it: `max` are queues that receive, that transmit, that do both.
    let set = |wanted: u32| {
        let [rx, tx, both] = interface.channels?.max;
        let name = interface.word();
        // With queues to spare it takes some of its own for XDP, and zero-copy is lost (docs/kernel.md).
        let wanted = if nic.driver == "virtio_net" { both } else { wanted };
        match (wanted.min(both), wanted.min(rx).min(tx)) {
            (more, _) if more > 0 => Some((more, format!("ethtool -L {name} combined {more}"))),
            (_, more) if more > 0 => Some((more, format!("ethtool -L {name} rx {more} tx {more}"))),
            _ => None,
        }
    };
    if nic.rx_queues > cpus {
        let found = format!("{} receive queues for {cpus} CPUs: each worker serves several", nic.rx_queues);
        let finding = Finding::note("queues", found);
        return Some(match set(cpus).filter(|(queues, _)| *queues < nic.rx_queues) {
            Some((_, command)) => finding.fix(command),
            None => finding,
        });
    }
    if nic.rx_queues == 1 && cpus > 1 {
        let finding = Finding::note(
            "queues",
            format!("one receive queue for {cpus} CPUs: one worker takes all that comes in here"),
        );
        return Some(match set(cpus).filter(|(queues, _)| *queues > 1) {
            Some((_, command)) => finding.fix(command),
            None => finding,
        });
    }
    if nic.tx_queues < nic.rx_queues {
        let found = format!(
            "{} transmit queues for {} receive queues: as an egress it allows {} workers",
            nic.tx_queues, nic.rx_queues, nic.tx_queues
        );
        return Some(Finding::note("queues", found));
    }
    Some(Finding::ok(
        "queues",
        format!("{} receive and {} transmit queues for {cpus} CPUs", nic.rx_queues, nic.tx_queues),
    ))
}

/// Whether a burst fits the device's own ring.
pub fn rings(interface: &Interface, _: &Host) -> Option<Finding> {
    let rings = interface.rings?;
    let better = rings.rx_max.min(SHORT_RING);
    Some(match rings.rx < better {
        true => Finding::note("rings", format!("receive rings of {} packets overflow in bursts", rings.rx))
            .fix(format!("ethtool -G {} rx {better}", interface.word())),
        false => Finding::ok("rings", format!("receive rings of {} packets", rings.rx)),
    })
}

/// Whether streams of one sender spread over the queues.
pub fn rss(interface: &Interface, _: &Host) -> Option<Finding> {
    let hashes_ports = interface.hashes_udp_ports.filter(|_| interface.nic.rx_queues > 1)?;
    let by_hand = match interface.feature("rx-ntuple-filter") {
        Some((true, _) | (_, true)) => format!(
            "; a heavy stream can be given a queue of its own: `ethtool -K {name} ntuple on; ethtool -N {name} flow-type udp4 dst-ip GROUP dst-port PORT action QUEUE`",
            name = interface.word()
        ),
        _ => String::new(),
    };
    Some(match hashes_ports {
        true => Finding::ok("rss", format!("the receive queue of a UDP packet depends on its ports too{by_hand}")),
        false => Finding::note(
            "rss",
            format!("the receive queue of a UDP packet depends on its addresses alone: streams to one group share a queue{by_hand}"),
        )
        .fix(format!("ethtool -N {} rx-flow-hash udp4 sdfn", interface.word())),
    })
}

/// Whether several CPUs serve the queues' interrupts.
pub fn irq_affinity(interface: &Interface, host: &Host) -> Option<Finding> {
    let mut receiving: Vec<&Interrupt> =
        interface.interrupts.iter().filter(|interrupt| receives(&interrupt.name)).collect();
    // Those in use: the device may have more.
    receiving.truncate(interface.nic.rx_queues as usize);
    if receiving.len() < 2 || host.cpus.len() < 2 {
        return None;
    }
    let served: BTreeSet<&str> = receiving.iter().map(|interrupt| interrupt.cpus.as_str()).collect();
    let [cpu] = served.iter().copied().collect::<Vec<_>>()[..] else {
        return Some(Finding::ok("irq-affinity", "several CPUs serve the interrupts of its queues"));
    };
    if cpu.is_empty() || cpu.contains([',', '-']) {
        return Some(Finding::ok("irq-affinity", format!("CPUs {cpu} serve the interrupts of its queues")));
    }
    let set = receiving.iter().zip(host.cpus.iter().cycle());
    let commands: Vec<String> =
        set.map(|(interrupt, cpu)| format!("echo {cpu} > /proc/irq/{}/smp_affinity_list", interrupt.number)).collect();
    let (moves, stop) = match host.irqbalance {
        true => ("; irqbalance runs, and would move them again", "systemctl stop irqbalance; "),
        false => ("", ""),
    };
    Some(
        Finding::note(
            "irq-affinity",
            format!("CPU {cpu} serves the interrupts of all {} queues{moves}", receiving.len()),
        )
        .fix(format!("{stop}{}", commands.join("; "))),
    )
}

/// Whether an interrupt is of a queue that receives. Drivers name them as they like: `eth0-TxRx-0`, `ice-eth0-TxRx-0`,
/// `mlx5_comp0@pci:...`, `virtio2-input.0`; what is left out is of the device itself, or only sends.
fn receives(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["txrx", "rx", "input", "comp"].iter().any(|word| name.contains(word)) && !name.contains("async")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        doctor::finding::Severity,
        kernel::{
            ethtool::{Channels, Rings},
            nic::Nic,
        },
    };

    fn host(cpus: u32) -> Host {
        Host { cpus: (0..cpus).collect(), ..Host::default() }
    }

    fn nic(rx_queues: u32, tx_queues: u32, max: [u32; 3]) -> Interface {
        let nic = Nic { name: "eth0".into(), rx_queues, tx_queues, ..Nic::default() };
        Interface { nic, channels: Some(Channels { rx: rx_queues, tx: tx_queues, max }), ..Interface::default() }
    }

    #[test]
    fn queues_for_cpus() {
        let judged = |interface: &Interface, cpus| {
            let finding = queues(interface, &host(cpus)).expect("always");
            (finding.severity, finding.fix.unwrap_or_default())
        };
        let note = |fix: &str| (Severity::Note, fix.to_owned());
        assert_eq!(judged(&nic(8, 8, [0, 0, 8]), 2), note("ethtool -L eth0 combined 2"));
        assert_eq!(judged(&nic(1, 1, [0, 0, 8]), 4), note("ethtool -L eth0 combined 4"));
        assert_eq!(judged(&nic(1, 1, [2, 2, 0]), 4), note("ethtool -L eth0 rx 2 tx 2"));
        assert_eq!(judged(&nic(1, 1, [0, 0, 1]), 4), note(""));
        assert_eq!(judged(&nic(4, 2, [4, 4, 0]), 4), note(""));
        let virtio = |queues| {
            let mut interface = nic(queues, queues, [0, 0, 4]);
            interface.nic.driver = "virtio_net".into();
            interface
        };
        assert_eq!(judged(&virtio(1), 2), note("ethtool -L eth0 combined 4"), "all, or zero-copy is lost");
        assert_eq!(judged(&virtio(4), 2), note(""));
        assert_eq!(judged(&nic(4, 4, [0, 0, 8]), 4).0, Severity::Ok);
        assert_eq!(judged(&nic(1, 1, [0, 0, 8]), 1).0, Severity::Ok);
    }

    #[test]
    fn rings_and_hash() {
        let mut interface = nic(4, 4, [0, 0, 4]);
        assert_eq!((rings(&interface, &host(2)), rss(&interface, &host(2))), (None, None));
        interface.rings = Some(Rings { rx: 256, rx_max: 4096 });
        interface.hashes_udp_ports = Some(false);
        let fix = |finding: Option<Finding>| finding.and_then(|finding| finding.fix);
        assert_eq!(fix(rings(&interface, &host(2))).as_deref(), Some("ethtool -G eth0 rx 1024"));
        assert_eq!(fix(rss(&interface, &host(2))).as_deref(), Some("ethtool -N eth0 rx-flow-hash udp4 sdfn"));
        interface.rings = Some(Rings { rx: 256, rx_max: 256 });
        assert_eq!(rings(&interface, &host(2)).expect("told").severity, Severity::Ok, "it cannot be longer");
        interface.nic.rx_queues = 1;
        assert_eq!(rss(&interface, &host(2)), None);
    }

    #[test]
    fn interrupts_on_one_cpu() {
        let interrupt = |number, name: &str, cpus: &str| Interrupt { number, name: name.into(), cpus: cpus.into() };
        let on = |cpus: [&str; 2]| Interface {
            interrupts: vec![
                interrupt(37, "virtio2-config", "0"),
                interrupt(38, "virtio2-input.0", cpus[0]),
                interrupt(39, "virtio2-output.0", "1"),
                interrupt(40, "virtio2-input.1", cpus[1]),
            ],
            ..nic(2, 2, [0, 0, 2])
        };
        let finding = irq_affinity(&on(["0", "0"]), &host(2)).expect("judged");
        let fix = "echo 0 > /proc/irq/38/smp_affinity_list; echo 1 > /proc/irq/40/smp_affinity_list";
        assert_eq!((finding.severity, finding.fix.as_deref()), (Severity::Note, Some(fix)));
        let balanced = irq_affinity(&on(["0", "0"]), &Host { irqbalance: true, ..host(2) }).expect("judged");
        assert!(balanced.fix.is_some_and(|fix| fix.starts_with("systemctl stop irqbalance; echo 0")));
        for spread in [["0", "1"], ["0-1", "0-1"]] {
            assert_eq!(irq_affinity(&on(spread), &host(2)).expect("judged").severity, Severity::Ok);
        }
        assert_eq!(irq_affinity(&on(["0", "0"]), &host(1)), None);
        assert_eq!(irq_affinity(&nic(2, 2, [0, 0, 2]), &host(2)), None, "a virtual interface has none");
    }

    #[test]
    fn whose_interrupts_receive() {
        for name in ["eth0-TxRx-0", "ice-eth0-TxRx-3", "mlx5_comp0@pci:0000:01:00.0", "virtio2-input.0", "eth0-rx-1"] {
            assert!(receives(name), "{name}");
        }
        for name in ["virtio2-config", "virtio2-output.0", "mlx5_async0@pci:0000:01:00.0", "eth0-tx-0", "eth0"] {
            assert!(!receives(name), "{name}");
        }
    }
}
