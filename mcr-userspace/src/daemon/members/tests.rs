//! On the loopback interface, where anybody may join.

use super::*;
use crate::rules::rule::{Ports, Prefix};

/// lo, in every network namespace.
const LO: u32 = 1;
const GROUP: Ipv4Addr = Ipv4Addr::new(239, 255, 77, 77);

fn matcher() -> Match {
    Match {
        interface: "lo".into(),
        group: Prefix { address: GROUP, length: 32 },
        ports: Ports::Any,
        source: Prefix { address: Ipv4Addr::UNSPECIFIED, length: 0 },
        vlan: None,
    }
}

#[test]
fn what_no_rule_needs_is_held_until_the_next_tick() {
    let (mut members, rule, how) = (Members::default(), matcher(), config::Membership::Join);
    let held = |members: &Members| (users(members), members.view().len());
    members.add(LO, &rule, how);
    members.add(LO, &rule, how);
    members.remove(LO, &rule, how);
    members.tick();
    assert_eq!(held(&members), (1, 1), "{members:?}");
    members.remove(LO, &rule, how);
    assert_eq!(held(&members), (1, 0), "it lingers, and is not shown: {members:?}");
    members.add(LO, &rule, how);
    members.tick();
    assert_eq!(held(&members), (1, 1), "it was needed again: {members:?}");
    members.remove(LO, &rule, how);
    members.tick();
    assert_eq!(held(&members), (0, 0), "{members:?}");
    assert!(members.interfaces.is_empty());
}

/// The daemon's sockets that have joined the group on the loopback interface.
fn users(members: &Members) -> usize {
    members.users(LO).get(&GROUP).copied().unwrap_or_default()
}

/// On an interface that does not exist, whose VLAN 100 is said to be lo.
#[test]
fn a_join_within_a_vlan() {
    const ON: u32 = u32::MAX;
    let rule = Match { interface: "eth0".into(), vlan: Some(100), ..matcher() };
    let how = config::Membership::Join;
    let mut members = Members::default();
    let vlan = |is_up| vlans::Vlan { ifindex: LO, name: "eth0.100".into(), is_up };
    let held = |members: &Members| {
        let view = members.view_of([&rule]).remove(0);
        (users(members), view.state, view.vlan, view.via)
    };
    let joined = (1, "joined".to_owned(), Some(100), Some("eth0.100".to_owned()));

    members.add(ON, &rule, how);
    assert_eq!(held(&members), (0, "failed: no interface in VLAN 100".to_owned(), Some(100), None));
    let warning = members.warning(&rule, how).expect("it is not joined");
    assert!(warning.contains("`ip link add link eth0 name eth0.100 type vlan id 100 &&"), "{warning}");
    assert_eq!(members.warnings(), [warning]);

    members.host.vlans.found.insert((ON, 100), vlan(true));
    members.settle();
    assert_eq!(held(&members), joined);
    assert_eq!((members.warnings().len(), members.warning(&rule, how)), (0, None));
    members.host.vlans.found.insert((ON, 100), vlan(false));
    assert!(members.warning(&rule, how).expect("it is down").contains("`ip link set eth0.100 up`"));

    // Another one in its place, and none.
    members.host.vlans.found.insert((ON, 100), vlans::Vlan { ifindex: ON - 1, ..vlan(true) });
    members.settle();
    assert_eq!(users(&members), 0);
    members.host.vlans.found.insert((ON, 100), vlan(true));
    members.settle();
    assert_eq!(held(&members), joined);
    members.host.vlans.found.clear();
    members.settle();
    assert_eq!(held(&members).0, 0);

    // Groups by prefix are taken in by the interface, whatever VLANs it has.
    let many = Match { group: Prefix { address: Ipv4Addr::new(239, 0, 0, 0), length: 8 }, ..rule.clone() };
    assert_eq!(need(&many, how), Some(Need { vlan: None, membership: Membership::All }));
}
