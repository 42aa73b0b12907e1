//! Packets arrive that are nearly what the rule wants.

use anyhow::Result;
use netns_tests::{needs_root, packet::Packet, topology::Topology};

use crate::{
    fault::{Fault, Repair, UNASKED},
    stream::{packet, tagged},
};

#[test]
fn another_group_port_or_source() -> Result<()> {
    needs_root!();
    let other_group = Packet { group: [239, 1, 1, 2].into(), to_mac: [1, 0, 0x5e, 1, 1, 2], ..packet() };
    let faults = [
        Fault {
            name: "another group",
            says: &["239.1.1.2:5001 from 10.1.0.1 on v1", "wants group 239.1.1.1"],
            repair: Repair::Printed("mcrctl rule set feed --group 239.1.1.2"),
            ..Fault::of(other_group.frame())
        },
        Fault {
            name: "another port",
            says: &["239.1.1.1:5002 from 10.1.0.1", "wants port 5001"],
            repair: Repair::Printed("mcrctl rule set feed --port 5002"),
            ..Fault::of(Packet { port: 5002, ..packet() }.frame())
        },
        Fault {
            name: "past a range, under a prefix",
            flags: &["--group", "239.1.0.0/16", "--port", "5001-5010"],
            says: &["wants ports 5001-5010"],
            repair: Repair::Printed("mcrctl rule set feed --port 5001-5011"),
            ..Fault::of(Packet { port: 5011, ..packet() }.frame())
        },
        Fault {
            name: "another source",
            flags: &["--source", "10.1.0.9"],
            says: &["wants source 10.1.0.9"],
            repair: Repair::Printed("mcrctl rule set feed --source 10.1.0.1"),
            ..Fault::of(packet().frame())
        },
    ];
    faults.iter().try_for_each(Fault::check)
}

#[test]
fn another_vlan_or_interface() -> Result<()> {
    needs_root!();
    let faults = [
        Fault {
            name: "a tag",
            file: UNASKED,
            says: &["in VLAN 100", "wants no VLAN tag"],
            repair: Repair::Printed("mcrctl rule set feed --vlan 100"),
            ..Fault::of(tagged(100).frame())
        },
        Fault {
            name: "no tag",
            flags: &["--vlan", "100"],
            says: &["untagged", "wants VLAN 100"],
            repair: Repair::Printed("mcrctl rule set feed --vlan none"),
            ..Fault::of(packet().frame())
        },
        Fault {
            name: "a tag and another port",
            file: UNASKED,
            says: &["wants port 5001 and no VLAN tag"],
            repair: Repair::Printed("mcrctl rule set feed --port 5003 --vlan 7"),
            ..Fault::of(Packet { port: 5003, ..tagged(7) }.frame())
        },
        // As where two cables are swapped.
        Fault {
            name: "another interface",
            topology: Topology::mesh(1, 1),
            mcrd: &["--iface-in", "w1"],
            from: "w0",
            says: &["239.1.1.1:5001 from 10.1.0.1 on w1", "wants interface v1"],
            repair: Repair::Printed("mcrctl rule set feed --in w1"),
            ..Fault::of(packet().frame())
        },
    ];
    faults.iter().try_for_each(Fault::check)
}
