//! How fast a mode can be had: who has a program attached, native XDP, zero-copy.

use super::super::{
    facts::{Host, Interface, ZeroCopy},
    finding::Finding,
};
use crate::daemon::suitable::needs_skb;

/// The first kernel with zero-copy on virtio_net.
const VIRTIO_ZERO_COPY: (u32, u32) = (6, 13);

/// A program that is in the way of mcrd's own.
pub fn xdp_program(interface: &Interface, host: &Host) -> Option<Finding> {
    let Some(xdp) = interface.link.xdp else {
        return Some(Finding::ok("xdp-program", "no other XDP program is attached"));
    };
    let program = match xdp.program {
        0 => format!("XDP programs are attached ({})", xdp.mode),
        id => format!("XDP program {id} is attached in {} mode", xdp.mode),
    };
    if host.serves(&interface.nic.name).is_some() {
        return Some(Finding::ok("xdp-program", format!("{program}, mcrd's own")));
    }
    let holder = interface.holders.first();
    if let Some(holder) = holder.filter(|holder| holder.name == "mcrd") {
        return Some(Finding::ok("xdp-program", format!("{program} by an mcrd, process {}", holder.pid)));
    }
    let found = |whose: String| format!("{program}{whose}: mcrd cannot attach its own beside it");
    Some(match holder {
        // An attachment that a process holds goes with it, and `ip` may not take it away.
        Some(holder) if holder.link => {
            let whose = format!(", held by process {} ({})", holder.pid, holder.name);
            Finding::problem("xdp-program", found(whose)).fix(format!("kill {}", holder.pid))
        }
        None if !host.is_privileged() => {
            Finding::warning("xdp-program", format!("{program}; root can see whether it is mcrd's or in its way"))
                .fix(format!("sudo mcrctl doctor {}", interface.word()))
        }
        _ => {
            let whose = holder.map_or(String::new(), |holder| format!(", of process {} ({})", holder.pid, holder.name));
            let fix = format!("ip link set dev {} {} off", interface.word(), xdp.mode.word());
            Finding::problem("xdp-program", found(whose)).fix(fix)
        }
    })
}

/// Whether the program runs in the driver.
pub fn xdp(interface: &Interface, host: &Host) -> Option<Finding> {
    let driver = interface.driver();
    if let Some(stats) = host.serves(&interface.nic.name) {
        return Some(match stats.xdp.as_str() {
            "driver" => Finding::ok("xdp", "mcrd runs here with native XDP"),
            mode => Finding::note(
                "xdp",
                format!("mcrd runs here in {mode} mode, which is slower{}", why(&stats.xsk_reason)),
            ),
        });
    }
    if let Some(why) = needs_skb(&interface.nic) {
        return Some(Finding::note("xdp", format!("mcrd takes skb mode, which is slower: {why}")));
    }
    Some(match interface.xdp_features {
        Some(features) if features.native && interface.feature("rx-gro-hw") == Some((true, false)) => Finding::note(
            "xdp",
            format!("{driver} has native XDP, but not while packets come merged (see gro): mcrd takes skb mode"),
        ),
        Some(features) if features.native => Finding::ok("xdp", format!("{driver} has native XDP")),
        // veth_set_xdp_features(), drivers/net/veth.c.
        Some(_) if interface.link.kind == "veth" => {
            let finding = Finding::note(
                "xdp",
                "veth has no native XDP while its peer sends on more queues than it receives on: mcrd takes skb mode, which is slower",
            );
            match interface.channels.map(|channels| (channels.rx, channels.max[0])) {
                Some((rx, most)) if most > rx => finding.fix(format!("ethtool -L {} rx {most}", interface.word())),
                _ => finding,
            }
        }
        Some(_) => {
            Finding::note("xdp", format!("{driver} has no native XDP: mcrd takes skb mode, which works and is slower"))
        }
        None => Finding::not_checked(
            "xdp",
            "this kernel does not tell which drivers have native XDP (from 6.3); mcrd's log says what it got",
        ),
    })
}

/// Whether packets reach mcr's memory without a copy.
pub fn zero_copy(interface: &Interface, host: &Host) -> Option<Finding> {
    let (driver, nic) = (interface.driver(), &interface.nic);
    let copied = |why: &str| Finding::note("zero-copy", format!("none, packets are copied once: {why}"));
    if let Some(stats) = host.serves(&nic.name) {
        return Some(match stats.xsk.as_str() {
            "zerocopy" if stats.xsk_reason.is_empty() => Finding::ok("zero-copy", "mcrd has it here"),
            "zerocopy" => {
                Finding::warning("zero-copy", format!("mcrd was told to take it here, but {}", stats.xsk_reason))
            }
            _ if stats.xsk_reason.is_empty() => copied("mcrd runs in copy mode"),
            _ => copied(&stats.xsk_reason),
        });
    }
    if let Some(why) = needs_skb(nic) {
        return Some(copied(&why));
    }
    let old = host.kernel.is_some_and(|version| version < VIRTIO_ZERO_COPY);
    let busy = interface.zero_copy == ZeroCopy::InUse;
    if nic.driver == "virtio_net" && old && !busy {
        return Some(copied("virtio_net has it from Linux 6.13"));
    }
    if interface.xdp_features.is_some_and(|features| !features.zero_copy) && !busy {
        return Some(copied(&format!("{driver} has none")));
    }
    Some(match &interface.zero_copy {
        ZeroCopy::InUse => {
            Finding::problem("zero-copy", "queue 0 has another program's AF_XDP socket: end its owner first")
        }
        ZeroCopy::Granted => Finding::ok("zero-copy", format!("{driver} grants it")),
        ZeroCopy::Untried => {
            let pairs = match nic.max_queues > nic.rx_queues {
                true => format!("; `ethtool -L {} combined {}` may pair them", nic.name, nic.max_queues),
                false => String::new(),
            };
            Finding::note(
                "zero-copy",
                format!(
                    "{driver} grants it, and receiving and sending have interrupts of their own here: some kernels wake only the latter, and mcrd finds out when it attaches{pairs}"
                ),
            )
        }
        ZeroCopy::Doubtful(why) => copied(&format!("{why}; so mode auto does without")),
        ZeroCopy::Refused(why) => {
            let finding = copied(&format!("{driver} refuses it: {why}"));
            match nic.xdp_rx_queues > nic.rx_queues {
                true => finding.fix(format!("ethtool -L {} combined {}", interface.word(), nic.max_queues)),
                false => finding,
            }
        }
        ZeroCopy::NotAsked(why) => {
            let finding = Finding::not_checked("zero-copy", format!("{driver} was not asked: {why}"));
            // Asking again helps where nothing else is in the way.
            match interface.link.xdp.is_none() && interface.is_up() {
                true => finding.fix(format!("sudo mcrctl doctor {}", interface.word())),
                false => finding,
            }
        }
    })
}

fn why(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::link::XdpPlace;
    use crate::{
        control::protocol::InterfaceStats,
        doctor::{
            facts::{CAP_NET_ADMIN, CAP_NET_RAW, Daemon},
            finding::Severity,
        },
        kernel::{
            ethtool::{Channels, Feature},
            holders::Holder,
            link::{AttachedXdp, Link},
            netdev::XdpFeatures,
            nic::Nic,
        },
    };

    fn root() -> Host {
        Host { capabilities: 1 << CAP_NET_ADMIN | 1 << CAP_NET_RAW, kernel: Some((6, 18)), ..Host::default() }
    }

    fn attached(mode: XdpPlace, holders: &[Holder]) -> Interface {
        let nic = Nic { name: "eth0".into(), driver: "ice".into(), ..Nic::default() };
        let link = Link { xdp: Some(AttachedXdp { mode, program: 42 }), ..Link::default() };
        Interface { nic, link, holders: holders.into(), ..Interface::default() }
    }

    fn holder(name: &str, link: bool) -> Holder {
        Holder { pid: 7, name: name.into(), link }
    }

    #[test]
    fn programs_and_how_they_go() {
        let judged = |interface: &Interface, host: &Host| {
            let finding = xdp_program(interface, host).expect("always");
            (finding.severity, finding.fix.unwrap_or_default())
        };
        let of = |mode, holders: &[Holder]| judged(&attached(mode, holders), &root());
        let problem = |fix: &str| (Severity::Problem, fix.to_owned());
        assert_eq!(of(XdpPlace::Driver, &[holder("suricata", true)]), problem("kill 7"));
        assert_eq!(of(XdpPlace::Driver, &[holder("loader", false)]), problem("ip link set dev eth0 xdp off"));
        assert_eq!(of(XdpPlace::Skb, &[]), problem("ip link set dev eth0 xdpgeneric off"));
        assert_eq!(of(XdpPlace::Driver, &[holder("mcrd", true)]).0, Severity::Ok);
        let user = judged(&attached(XdpPlace::Driver, &[]), &Host::default());
        assert_eq!(user, (Severity::Warning, "sudo mcrctl doctor eth0".into()));
        assert_eq!(judged(&Interface::default(), &root()).0, Severity::Ok);
    }

    #[test]
    fn what_the_daemon_was_granted_counts() {
        let stats =
            InterfaceStats { name: "eth0".into(), xdp: "driver".into(), xsk: "zerocopy".into(), ..Default::default() };
        let daemon = |elsewhere, xdp: &str| Daemon::Runs {
            version: "1".into(),
            pid: 7,
            elsewhere,
            interfaces: vec![InterfaceStats { xdp: xdp.into(), ..stats.clone() }],
            queries: Vec::new(),
            own_host: Vec::new(),
            rules: Vec::new(),
            memberships: Vec::new(),
        };
        let here = Host { daemon: daemon(false, "driver"), ..root() };
        let interface = attached(XdpPlace::Driver, &[]);
        for check in [xdp_program, xdp, zero_copy] {
            assert_eq!(check(&interface, &here).expect("always").severity, Severity::Ok);
        }
        // In another namespace it is another interface; and here it found the program of another.
        for daemon in [daemon(true, "driver"), daemon(false, "none")] {
            let there = Host { daemon, ..root() };
            assert_eq!(xdp_program(&interface, &there).expect("always").severity, Severity::Problem);
        }
    }

    #[test]
    fn native_xdp() {
        let with = |driver: &str, native| Interface {
            nic: Nic { name: "eth0".into(), driver: driver.into(), ..Nic::default() },
            link: Link { kind: driver.into(), ..Link::default() },
            xdp_features: Some(XdpFeatures { native, zero_copy: false }),
            channels: Some(Channels { rx: 1, tx: 1, max: [4, 4, 0] }),
            ..Interface::default()
        };
        let judged = |interface: &Interface| {
            let finding = xdp(interface, &root()).expect("always");
            (finding.severity, finding.fix)
        };
        assert_eq!(judged(&with("veth", true)), (Severity::Ok, None));
        assert_eq!(judged(&with("veth", false)), (Severity::Note, Some("ethtool -L eth0 rx 4".into())));
        assert_eq!(judged(&with("bridge", false)), (Severity::Note, None));
        let mut merging = with("virtio_net", true);
        merging.features.insert("rx-gro-hw".into(), Feature { on: true, changeable: false });
        assert_eq!(judged(&merging), (Severity::Note, None));
        assert_eq!(judged(&Interface::default()).0, Severity::NotChecked, "a kernel that does not tell");
    }

    #[test]
    fn zero_copy_as_the_driver_answers() {
        let nic = |driver: &str| Nic { name: "eth0".into(), driver: driver.into(), ..Nic::default() };
        let with = |driver: &str, zero_copy| Interface {
            nic: nic(driver),
            xdp_features: Some(XdpFeatures { native: true, zero_copy: true }),
            zero_copy,
            link: Link { flags: libc::IFF_UP as u32, ..Link::default() },
            ..Interface::default()
        };
        let judged = |interface: &Interface, host: &Host| zero_copy(interface, host).expect("always");
        assert_eq!(judged(&with("ice", ZeroCopy::Granted), &root()).severity, Severity::Ok);
        assert_eq!(judged(&with("ice", ZeroCopy::InUse), &root()).severity, Severity::Problem);
        let mut untried = with("igb", ZeroCopy::Untried);
        (untried.nic.rx_queues, untried.nic.max_queues) = (2, 8);
        let untried = judged(&untried, &root());
        assert!(untried.found.ends_with("`ethtool -L eth0 combined 8` may pair them"), "{untried:?}");
        assert_eq!(untried.severity, Severity::Note);
        let doubtful = judged(&with("virtio_net", ZeroCopy::Doubtful("a bug".into())), &root());
        assert!(doubtful.severity == Severity::Note && doubtful.found.contains("a bug"), "{doubtful:?}");
        let unasked = judged(&with("ice", ZeroCopy::NotAsked("it needs root".into())), &Host::default());
        assert_eq!((unasked.severity, unasked.fix.as_deref()), (Severity::NotChecked, Some("sudo mcrctl doctor eth0")));
        let old =
            judged(&with("virtio_net", ZeroCopy::NotAsked(String::new())), &Host { kernel: Some((6, 12)), ..root() });
        assert!(old.severity == Severity::Note && old.found.contains("6.13"), "{old:?}");
        let mut trap = with("virtio_net", ZeroCopy::Refused("it takes 2 more queues for XDP".into()));
        (trap.nic.rx_queues, trap.nic.xdp_rx_queues, trap.nic.max_queues) = (1, 3, 4);
        assert_eq!(judged(&trap, &root()).fix.as_deref(), Some("ethtool -L eth0 combined 4"));
        let mut veth = with("veth", ZeroCopy::NotAsked(String::new()));
        veth.xdp_features = Some(XdpFeatures { native: true, zero_copy: false });
        assert!(judged(&veth, &Host::default()).found.contains("veth has none"));
    }
}
