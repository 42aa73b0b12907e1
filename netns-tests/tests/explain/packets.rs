//! Packets that no rule can forward.

use anyhow::{Result, ensure};
use netns_tests::{
    daemon::Daemon,
    needs_root,
    packet::Packet,
    topology::{RELAY, Topology},
};

use crate::{
    fault::{Fault, Repair, add, explained, shell},
    stream::{Stream, packet},
};

#[test]
fn packets_that_no_rule_can_forward() -> Result<()> {
    needs_root!();
    let mut damaged = packet().frame();
    damaged[24] ^= 0x55;
    // The length in the UDP header: more than there is.
    let mut long = packet().frame();
    long[38] ^= 0x10;
    let mut fragment = packet().frame();
    fragment[20] |= 0x20;
    refit(&mut fragment);
    let faults = [
        Fault { name: "a bad IPv4 checksum", says: &["malformed", "checksum"], ..Fault::of(damaged) },
        Fault { name: "a bad UDP length", says: &["malformed", "length is wrong"], ..Fault::of(long) },
        Fault { name: "fragments", says: &["fragments of 239.1.1.1 from 10.1.0.1"], ..Fault::of(fragment) },
        Fault {
            name: "a martian",
            says: &["martian_source"],
            ..Fault::of(Packet { source: [127, 0, 0, 1].into(), ..packet() }.frame())
        },
        Fault {
            name: "unicast frames",
            says: &["another host's Ethernet address"],
            ..Fault::of(Packet { to_mac: [2, 9, 9, 9, 9, 9], ..packet() }.frame())
        },
        Fault {
            name: "TTL 1",
            says: &["output 1 (v2)", "ttl_expired"],
            repair: Repair::Printed("mcrctl rule set feed --out v2,ttl=64"),
            ..Fault::of(Packet { ttl: 1, ..packet() }.frame())
        },
    ];
    faults.iter().try_for_each(Fault::check)
}

/// They arrive, so a firewall that drops IGMP queries is not why the rule forwards nothing.
#[test]
fn fragments_behind_a_firewall() -> Result<()> {
    needs_root!();
    let mut fragment = packet().frame();
    fragment[20] |= 0x20;
    refit(&mut fragment);
    let network = Topology::chain(1).build()?;
    let daemon = Daemon::start(network.relay(), "", &[])?;
    daemon.done(&add(&[]))?;
    let policy = "nft 'table inet filter { chain input { type filter hook input priority 0; policy drop; }; }'";
    shell(&network, &daemon, RELAY, policy)?;
    let _stream = Stream::begin(&network, "v0", fragment)?;
    let told = explained(&network, &daemon, &["fragments of 239.1.1.1 from 10.1.0.1"])?;
    ensure!(told.problems > 1, "the firewall is a problem too: {told:?}");
    Ok(())
}

/// Makes the IPv4 header checksum right again.
fn refit(frame: &mut [u8]) {
    frame[24..26].fill(0);
    let sum: u32 = frame[14..34].chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    frame[24..26].copy_from_slice(&(!((folded & 0xffff) + (folded >> 16)) as u16).to_be_bytes());
}
