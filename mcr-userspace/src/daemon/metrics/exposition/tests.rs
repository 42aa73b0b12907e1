use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::{
    control::protocol::{InterfaceStats, MembershipView},
    daemon::{journal::LastReload, metrics::process::Process},
};

/// `rules` rules of two outputs each, one interface, one worker; the last rule has been silent for ever.
fn snapshot(rules: usize) -> Snapshot {
    let output = |interface: &str| OutputStats {
        interface: interface.into(),
        group: "239.10.1.1".into(),
        port: Some(6001),
        dropped: [("too_big".to_owned(), 3)].into(),
        ..OutputStats::default()
    };
    let rule = |i: usize| RuleStats {
        name: format!("rule {i} \"of\" \\ many"),
        matched_packets: i as u64,
        outputs: vec![output("eth1"), output("eth1")],
        ..RuleStats::default()
    };
    let labels = ["1", "spare"].map(|output| OutputLabels { output: output.into(), vlan: "none".into() });
    let membership =
        |state: &str| MembershipView { interface: "eth0".into(), state: state.into(), ..Default::default() };
    let stats = Stats {
        rules: (0..rules).map(rule).collect(),
        interfaces: vec![InterfaceStats {
            name: "eth0".into(),
            mtu: 1500,
            verdicts: [("steered".to_owned(), 7)].into(),
            ..InterfaceStats::default()
        }],
        workers: vec![WorkerStats::default()],
        memberships: vec![membership("joined"), membership("failed: no"), membership("failed: neither")],
        ..Stats::default()
    };
    Snapshot {
        stats,
        labels: vec![labels.to_vec(); rules],
        heard: (0..rules).map(|i| (i + 1 < rules).then_some(1e9)).collect(),
        rules_limit: 1024,
        warnings: 2,
        reload: LastReload::default(),
        started: Some(1e9),
        process: Process {
            cpu: Some(1.0),
            resident: Some(1),
            virtual_memory: Some(1),
            open_fds: Some(1),
            max_fds: Some(1),
            threads: Some(1),
            workers: [(0, 0.5)].into(),
        },
    }
}

#[test]
fn every_family_stands_once_and_every_reason_and_state_from_0() {
    let text = exposition(&snapshot(2), Format::Text);
    let mut families: Vec<&str> = Vec::new();
    let mut samples: BTreeMap<&str, usize> = BTreeMap::new();
    for line in text.lines() {
        if let Some(of) = line.strip_prefix("# TYPE ") {
            families.extend(of.split(' ').next());
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().expect("a name");
            assert_eq!(families.last(), Some(&name), "a sample outside its family: {line}");
            *samples.entry(name).or_default() += 1;
        }
    }
    assert_eq!(families.iter().collect::<BTreeSet<_>>().len(), families.len());
    let all: BTreeSet<&str> = f::ALL.iter().map(|family| family.name).collect();
    assert_eq!(families.into_iter().collect::<BTreeSet<_>>(), all);
    assert_eq!(samples.keys().copied().collect::<BTreeSet<_>>(), all, "a family without a sample");
    assert_eq!(samples["mcr_rule_state"], 2 * 6);
    assert_eq!(samples["mcr_rule_dropped_packets_total"], 2 * RuleDrop::COUNT);
    assert_eq!(samples["mcr_output_dropped_packets_total"], 4 * OutputDrop::COUNT);
    assert_eq!(samples["mcr_rule_last_packet_timestamp_seconds"], 1, "absent until the first packet");
    for sample in [
        r#"mcr_memberships{interface="eth0",state="failed"} 2"#,
        r#"mcr_memberships{interface="eth0",state="allmulticast"} 0"#,
        r#"mcr_rule_state{rule="rule 0 \"of\" \\ many",state="active"} 1"#,
        r#"mcr_rule_state{rule="rule 0 \"of\" \\ many",state="degraded"} 0"#,
    ] {
        assert!(text.lines().any(|line| line == sample), "no {sample}\n{text}");
    }
}

#[test]
fn no_two_samples_are_of_one_series() {
    let text = exposition(&snapshot(3), Format::OpenMetrics);
    let series: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let named: BTreeSet<&str> = series.iter().filter_map(|line| Some(line.rsplit_once(' ')?.0)).collect();
    assert_eq!(named.len(), series.len());
}
