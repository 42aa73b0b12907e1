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
    let held = |members: &Members| (members.users(LO, GROUP), members.view(None).len());
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
