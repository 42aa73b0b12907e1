//! The ladder of docs/rules.md, packet by packet.

use mcr_common::{
    flow::{Datagram, FlowValue, Vlan},
    lookup,
};

use crate::{
    kernel::flows::FlowIndex,
    rules::{check::check_rule, set::RuleSet, spec::RuleSpec},
};

const IFINDEX: u32 = 3;

/// Cells of the rows of the manual's tables.
fn rows() -> impl Iterator<Item = Vec<&'static str>> {
    let text = include_str!("../../../../../docs/rules.md");
    text.lines()
        .filter_map(|line| Some(line.strip_prefix("| ")?.trim_end_matches('|').split('|').map(str::trim).collect()))
}

#[test]
fn the_manual_s_ladder_is_the_lookup_s() {
    let (mut index, mut set) = (FlowIndex::default(), RuleSet::new(100));
    for row in rows() {
        let [number, source, group, port] = row[..] else { continue };
        let Ok(slot) = number.parse::<u32>() else { continue };
        let typed = |cell: &str| (cell != "any").then(|| cell.to_owned());
        let mut spec: RuleSpec = serde_json::from_str(r#"{"match":{"interface":"e0"},"output":[{"interface":"e1"}]}"#)
            .expect("a rule as typed");
        spec.matcher.group = group.to_owned();
        (spec.matcher.source, spec.matcher.port) = (typed(source), typed(port).map(|port| port.as_str().into()));
        let rule = check_rule(&spec).expect("a right rule").rule;
        drop(index.insert(IFINDEX, &rule.matcher, FlowValue { slot, xsk_base: 0, queues: 0 }));
        set.insert(rule).expect("no conflict");
    }
    let mut packets = 0;
    for row in rows() {
        let Some((source, to)) = row[0].split_once(" to ") else { continue };
        let Some((group, port)) = to.split_once(':') else { continue };
        let address = |text: &str| text.parse::<std::net::Ipv4Addr>().expect("an address").into();
        let datagram = Datagram {
            source: address(source),
            group: address(group),
            port: port.parse().expect("a port"),
            vlan: Vlan::UNTAGGED,
            is_unicast: false,
            ip_offset: 14,
            udp_offset: 34,
        };
        let taken = lookup::find(&index, IFINDEX, &datagram).map(|value| value.slot.to_string());
        assert_eq!(taken.as_deref(), Some(row[1]), "{}", row[0]);
        packets += 1;
    }
    assert_eq!((set.len(), packets), (8, 8));
}
