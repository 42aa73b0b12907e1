//! Packets whose form no rule matches, whatever its values: several VLAN tags, other tags than 802.1Q's, PTP, UDP port 0.

use anyhow::{Context, Result, ensure};
use netns_tests::{daemon::Daemon, needs_root, packet::Packet, topology::Topology};
use serde_json::{Value, json};

use crate::{
    fault::{Fault, Repair, UNASKED, add},
    stream::{Stream, packet, tagged},
};

/// `frame` with one more tag before its own EtherType.
fn under(ethertype: u16, vlan: u16, mut frame: Vec<u8>) -> Vec<u8> {
    frame.splice(12..12, [ethertype, vlan].into_iter().flat_map(u16::to_be_bytes));
    frame
}

#[test]
fn forms_that_no_rule_matches() -> Result<()> {
    needs_root!();
    let faults = [
        Fault {
            name: "a provider's tag before the rule's",
            file: UNASKED,
            flags: &["--vlan", "5"],
            says: &["239.1.1.1:5001 from 10.1.0.1", "two VLAN tags (6, 5)", "to v1 without the outer tag"],
            repair: Repair::Sender(tagged(5).frame()),
            ..Fault::of(under(0x88a8, 6, tagged(5).frame()))
        },
        Fault {
            name: "two tags of 802.1Q, and the rule wants none",
            says: &["two VLAN tags (5, 6), and mcr matches at most one"],
            ..Fault::of(under(0x8100, 5, tagged(6).frame()))
        },
        Fault {
            name: "another type of tag",
            says: &["a VLAN tag of type 0x9100", "set the tag type (TPID) of the switch's port to v1 to 0x8100"],
            ..Fault::of(under(0x9100, 6, packet().frame()))
        },
        Fault {
            name: "PTP",
            says: &["239.1.1.1:319 from 10.1.0.1", "is PTP (port 319), which mcr never forwards"],
            ..Fault::of(Packet { port: 319, ..packet() }.frame())
        },
        Fault {
            name: "port 0",
            says: &["239.1.1.1:0 from 10.1.0.1", "the rule wants port 5001", "a rule can name no port 0"],
            ..Fault::of(Packet { port: 0, ..packet() }.frame())
        },
    ];
    faults.iter().try_for_each(Fault::check)
}

#[test]
fn unmatched_says_why_no_rule_can_match() -> Result<()> {
    needs_root!();
    let network = Topology::chain(1).build()?;
    let daemon = Daemon::start(network.relay(), "", &[])?;
    daemon.done(&add(&[]))?;
    let of = |last: u8| Packet { group: [239, 1, 1, last].into(), to_mac: [1, 0, 0x5e, 1, 1, last], ..packet() };
    let tagged_of = |last, vlan| Packet { tag: tagged(vlan).tag, ..of(last) }.frame();
    let mut fragment = of(6).frame();
    fragment[20] |= 0x20;
    let mut cut = under(0x88a8, 6, tagged_of(9, 5));
    cut.truncate(20);
    let sent: [(u8, Vec<u8>, Value); 9] = [
        (2, under(0x88a8, 6, tagged_of(2, 5)), json!(["two_tags", 6, 5, 5001])),
        (3, under(0x8100, 7, under(0x88a8, 6, tagged_of(3, 5))), json!(["two_tags", 7, 6, 5001])),
        (4, under(0x9100, 6, of(4).frame()), json!(["tag_type", 6, null, 5001])),
        (5, Packet { port: 320, ..of(5) }.frame(), json!(["ptp", null, null, 320])),
        (6, fragment, json!(["fragment", null, null, null])),
        (7, Packet { port: 0, ..of(7) }.frame(), json!(["port_0", null, null, 0])),
        (8, Packet { port: 5002, ..of(8) }.frame(), json!([null, null, null, 5002])),
        // Neither is UDP to a group that ends here: the second tag is cut, and there are more tags than are looked at.
        (9, cut, Value::Null),
        (10, under(0x8100, 8, under(0x8100, 7, under(0x88a8, 6, tagged_of(10, 5)))), Value::Null),
    ];
    let streams: Result<Vec<Stream>> =
        sent.iter().map(|(_, frame, _)| Stream::begin(&network, "v0", frame.clone())).collect();
    let _streams = streams?;
    let answer: Value = serde_json::from_str(&daemon.done(&["--json", "unmatched", "v1", "--seconds", "2"])?)?;
    let flows = answer["flows"].as_array().context("flows")?;
    for (last, _, wanted) in &sent {
        let flow = flows.iter().find(|flow| flow["group"] == format!("239.1.1.{last}"));
        let found = flow.map(|flow| json!([flow["why"], flow["vlan"], flow["inner_vlan"], flow["port"]]));
        ensure!(found.as_ref().unwrap_or(&Value::Null) == wanted, "239.1.1.{last}: {found:?}, not {wanted}: {answer}");
        let has_reason = flow.is_some_and(|flow| flow["reason"].is_string());
        ensure!(has_reason == wanted[0].is_string(), "{flow:?}");
        ensure!(flow.is_none_or(|flow| flow["packets"].as_u64() > Some(20)), "{flow:?}");
    }
    let text = daemon.done(&["unmatched", "--seconds", "1"])?;
    eprintln!("{text}");
    for says in ["WHY", "two VLAN tags (6, 5): mcr matches at most one", "PTP (port 320): mcr never forwards it"] {
        ensure!(text.contains(says), "{text}");
    }
    // A packet that nobody sends.
    for (group, port, why) in [("239.1.1.1", "319", "ptp"), ("224.0.0.5", "5001", "link_local")] {
        let words = ["--json", "explain", "--in", "v1", "--source", "10.1.0.1", "--group", group, "--port", port];
        let answer: Value = serde_json::from_str(&daemon.ctl(&words)?.exited(1)?.stdout)?;
        ensure!(answer["why"] == why && answer["reason"].is_string() && answer["rule"].is_null(), "{answer}");
        ensure!(daemon.ctl(&words[1..])?.exited(1)?.stdout.contains("never forward"), "{words:?}");
    }
    Ok(())
}
