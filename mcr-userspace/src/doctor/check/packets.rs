//! What reaches the program of what is on the wire: sizes, tags, merged packets, groups.

use super::super::{
    facts::{Host, Interface},
    finding::{Finding, quoted},
};
use crate::{daemon::fit::largest_mtu, kernel::ethtool::RX_VLAN_HW_PARSE};

/// Frames that hold a packet each, in bytes: the usual, and the largest.
const FRAMES: [u32; 2] = [2048, 4096];

/// Whether the largest packet fits a frame.
pub fn mtu(interface: &Interface, _: &Host) -> Option<Finding> {
    let mtu = interface.nic.mtu;
    let [usual, largest] = FRAMES.map(largest_mtu);
    Some(if mtu > largest {
        Finding::problem(
            "mtu",
            format!("{mtu} is above the {largest} bytes that mcr's largest frame holds: mcrd refuses it"),
        )
        .fix(format!("ip link set dev {} mtu {largest}", interface.word()))
    } else if mtu > usual {
        Finding::note(
            "mtu",
            format!("{mtu} needs frames of 4 KiB: mcrd takes them where the interface is there when it starts"),
        )
    } else {
        Finding::ok("mtu", format!("{mtu} fits"))
    })
}

/// A tag that is taken out of a packet before the program sees it.
pub fn vlan_offload(interface: &Interface, host: &Host) -> Option<Finding> {
    let id = "vlan-offload";
    let fix = format!("ethtool -K {} rx-vlan-offload off", interface.word());
    if interface.link.kind == "bridge" {
        return Some(Finding::warning(
            id,
            "a bridge takes VLAN tags out of packets: a rule with `vlan` matches nothing here, and one without matches tagged packets too",
        ));
    }
    Some(match interface.feature(RX_VLAN_HW_PARSE) {
        Some((true, false)) => Finding::warning(
            id,
            format!(
                "{} takes VLAN tags out of packets and cannot be told not to: a rule with `vlan` matches nothing here, and one without matches tagged packets too",
                interface.driver()
            ),
        ),
        Some((true, true)) if host.serves(&interface.nic.name).is_some() => {
            // mcrd has turned it off where it receives; `status` warns where it could not.
            Finding::ok(id, "VLAN tags are taken out of packets, as an egress does not mind")
        }
        Some((true, true)) => {
            Finding::note(id, "VLAN tags are taken out of packets: mcrd turns that off while it receives here").fix(fix)
        }
        Some((false, _)) | None => Finding::ok(id, "VLAN tags stay in packets"),
    })
}

/// A veth passes on what its peer sent, a tag beside the packet too.
pub fn vlan_peer(interface: &Interface, _: &Host) -> Option<Finding> {
    let id = "vlan-peer";
    if interface.link.kind != "veth" {
        return None;
    }
    Some(match (&interface.other_end, interface.other_end_keeps_tags) {
        (Some(peer), Some(true)) => Finding::note(
            id,
            format!("its peer {peer} may leave VLAN tags beside packets, where mcr does not see them"),
        )
        .fix(format!("ethtool -K {} tx-vlan-offload off", quoted(peer))),
        (Some(peer), Some(false)) => Finding::ok(id, format!("its peer {peer} leaves VLAN tags in packets")),
        _ => Finding::not_checked(
            id,
            "its peer is in another network namespace; for VLAN tags run `ethtool -K PEER tx-vlan-offload off` there",
        ),
    })
}

/// VLANs that the NIC drops because nobody has asked for them.
pub fn vlan_filter(interface: &Interface, _: &Host) -> Option<Finding> {
    let (on, changeable) = interface.feature("rx-vlan-filter")?;
    let name = interface.word();
    let found = "the NIC drops tagged packets whose VLAN is not configured on it";
    match (on, changeable) {
        (false, _) => None,
        (true, true) => Some(Finding::note("vlan-filter", found).fix(format!("ethtool -K {name} rx-vlan-filter off"))),
        (true, false) => Some(Finding::note(
            "vlan-filter",
            format!("{found}: for a rule with `vlan = N` run `ip link add link {name} name {name}.N type vlan id N`"),
        )),
    }
}

/// Packets that the device has merged: most drivers refuse a program then.
pub fn gro(interface: &Interface, _: &Host) -> Option<Finding> {
    let (on, changeable) = interface.feature("rx-gro-hw")?;
    let driver = interface.driver();
    // virtio_net switches it off by itself when a program is attached, where its host lets it.
    let by_itself = interface.nic.driver == "virtio_net";
    Some(match (on, changeable) {
        (true, false) => Finding::warning(
            "gro",
            format!(
                "packets come merged (rx-gro-hw), which {driver} cannot turn off: it refuses native XDP then, and mcrd takes skb mode"
            ),
        ),
        (true, true) if !by_itself => {
            Finding::note("gro", "packets come merged by the NIC (rx-gro-hw): many drivers refuse native XDP then")
                .fix(format!("ethtool -K {} rx-gro-hw off", interface.word()))
        }
        _ => Finding::ok("gro", "no packets are merged before the program sees them"),
    })
}

/// The older way of merging.
pub fn lro(interface: &Interface, _: &Host) -> Option<Finding> {
    let fix = format!("ethtool -K {} lro off", interface.word());
    let (on, changeable) = interface.feature("rx-lro")?;
    let finding = Finding::warning("lro", "packets come merged by the NIC (LRO): most drivers refuse native XDP then");
    on.then(|| if changeable { finding.fix(fix) } else { finding })
}

/// Whether groups that nobody has joined come in.
pub fn multicast_filter(interface: &Interface, _: &Host) -> Option<Finding> {
    let id = "multicast-filter";
    Some(match interface.link.takes_all_multicast {
        true => Finding::ok(id, "it takes every group (a snooping switch still wants a join)"),
        false => Finding::ok(
            id,
            format!(
                "it takes the groups that are joined, and mcrd joins those of its rules (`ip maddr show dev {}`)",
                interface.word()
            ),
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        doctor::finding::Severity,
        kernel::{ethtool::Feature, link::Link, nic::Nic},
    };

    fn nic(driver: &str) -> Interface {
        Interface { nic: Nic { name: "eth0".into(), driver: driver.into(), ..Nic::default() }, ..Interface::default() }
    }

    fn with(driver: &str, feature: &str, on: bool, changeable: bool) -> Interface {
        let features = [(feature.to_owned(), Feature { on, changeable })].into();
        Interface { features, ..nic(driver) }
    }

    fn judged(check: fn(&Interface, &Host) -> Option<Finding>, interface: &Interface) -> Option<(Severity, String)> {
        check(interface, &Host::default()).map(|finding| (finding.severity, finding.fix.unwrap_or_default()))
    }

    #[test]
    fn sizes() {
        let of = |mtu| {
            let mut interface = nic("ice");
            interface.nic.mtu = mtu;
            judged(super::mtu, &interface).expect("always")
        };
        let [usual, largest] = FRAMES.map(largest_mtu);
        assert_eq!((usual, largest), (1774, 3822), "as the README says");
        assert_eq!(of(9000), (Severity::Problem, "ip link set dev eth0 mtu 3822".into()));
        assert_eq!([of(largest).0, of(usual + 1).0, of(usual).0], [Severity::Note, Severity::Note, Severity::Ok]);
    }

    #[test]
    fn tags() {
        let parse =
            |on, changeable| judged(vlan_offload, &with("ice", RX_VLAN_HW_PARSE, on, changeable)).expect("always");
        assert_eq!(parse(true, true), (Severity::Note, "ethtool -K eth0 rx-vlan-offload off".into()));
        assert_eq!(parse(true, false), (Severity::Warning, String::new()));
        assert_eq!(parse(false, true).0, Severity::Ok);
        let filter = |on, changeable| judged(vlan_filter, &with("ice", "rx-vlan-filter", on, changeable));
        assert_eq!(filter(true, true), Some((Severity::Note, "ethtool -K eth0 rx-vlan-filter off".into())));
        assert_eq!((filter(true, false), filter(false, true)), (Some((Severity::Note, String::new())), None));
    }

    #[test]
    fn peers() {
        let veth = |other_end: Option<&str>, other_end_keeps_tags| Interface {
            link: Link { kind: "veth".into(), ..Link::default() },
            other_end: other_end.map(str::to_owned),
            other_end_keeps_tags,
            ..nic("veth")
        };
        let peer = |interface: &Interface| judged(vlan_peer, interface);
        assert_eq!(
            peer(&veth(Some("x1"), Some(true))),
            Some((Severity::Note, "ethtool -K x1 tx-vlan-offload off".into()))
        );
        assert_eq!(peer(&veth(Some("x1"), Some(false))), Some((Severity::Ok, String::new())));
        assert_eq!(peer(&veth(None, None)), Some((Severity::NotChecked, String::new())));
        assert_eq!(peer(&nic("ice")), None);
    }

    #[test]
    fn merged_packets() {
        let hardware = |driver, on, changeable| judged(gro, &with(driver, "rx-gro-hw", on, changeable)).expect("told");
        assert_eq!(hardware("bnxt_en", true, true), (Severity::Note, "ethtool -K eth0 rx-gro-hw off".into()));
        assert_eq!(hardware("virtio_net", true, true).0, Severity::Ok);
        assert_eq!(hardware("virtio_net", true, false), (Severity::Warning, String::new()));
        assert_eq!(
            judged(lro, &with("ixgbe", "rx-lro", true, true)),
            Some((Severity::Warning, "ethtool -K eth0 lro off".into()))
        );
        assert_eq!(judged(lro, &with("veth", "rx-lro", false, false)), None);
    }

    #[test]
    fn groups() {
        let mut interface = nic("ice");
        assert_eq!(judged(multicast_filter, &interface), Some((Severity::Ok, String::new())));
        interface.link.takes_all_multicast = true;
        assert_eq!(judged(multicast_filter, &interface), Some((Severity::Ok, String::new())));
    }
}
