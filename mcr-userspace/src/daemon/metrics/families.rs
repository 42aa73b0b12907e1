//! Every metric that mcrd serves: its name, its type, its labels and its help text. docs/metrics.md repeats the list, and a test
//! compares both.

/// What a metric's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, from 0 at the daemon's start. Its name ends in `_total`.
    Counter,
    /// A level.
    Gauge,
    /// Always 1: its labels are the information. Its name ends in `_info`.
    Info,
}

/// A metric.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// Its whole name, as queries use it.
    pub name: &'static str,
    /// What its value is.
    pub kind: Kind,
    /// The names of its labels, in the order of [`Series::sample`](super::text::Series::sample)'s values.
    pub labels: &'static [&'static str],
    /// What it means, in a sentence that stands alone.
    pub help: &'static str,
}

/// Defines the metrics, and `ALL` with each of them.
macro_rules! families {
    ($($constant:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)+) => {
        $(pub const $constant: Family =
            Family { name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help };)+

        /// Every metric, in the order of the answer.
        #[cfg(test)]
        pub const ALL: &[Family] = &[$($constant),+];
    };
}

families! {
    BUILD = Info "mcr_build_info" ["version", "arch"]
        "The version of mcrd and the processor architecture it was built for.";
    CPU = Counter "process_cpu_seconds_total" []
        "CPU time that all threads of mcrd have used, in user and in system mode.";
    START = Gauge "process_start_time_seconds" []
        "When mcrd started, in seconds since 1970-01-01 UTC.";
    RESIDENT = Gauge "process_resident_memory_bytes" []
        "Physical memory that mcrd occupies.";
    VIRTUAL = Gauge "process_virtual_memory_bytes" []
        "Address space that mcrd has mapped.";
    OPEN_FDS = Gauge "process_open_fds" []
        "File descriptors that mcrd has open.";
    MAX_FDS = Gauge "process_max_fds" []
        "File descriptors that mcrd may have open at once.";
    THREADS = Gauge "process_threads" []
        "Threads of mcrd.";
    RULES = Gauge "mcr_rules" []
        "Rules that mcrd holds, disabled and waiting ones included.";
    RULES_LIMIT = Gauge "mcr_rules_limit" []
        "Rules that mcrd may hold at once.";
    WARNINGS = Gauge "mcr_warnings" []
        "Warnings that `mcrctl status` prints now.";
    RELOAD_SUCCESSFUL = Gauge "mcr_config_last_reload_successful" []
        "1 if the last attempt to load the configuration file succeeded, else 0; the start counts as an attempt.";
    RELOAD_TIME = Gauge "mcr_config_last_reload_success_timestamp_seconds" []
        "When the configuration file was last loaded successfully, in seconds since 1970-01-01 UTC.";
    MATCHED = Counter "mcr_rule_matched_packets_total" ["rule"]
        "Packets that matched the rule and that the XDP program redirected to a worker.";
    MATCHED_BYTES = Counter "mcr_rule_matched_bytes_total" ["rule"]
        "Bytes of the packets that matched the rule, from the Ethernet header to the end of the frame, without the FCS.";
    RULE_DROPPED = Counter "mcr_rule_dropped_packets_total" ["rule", "reason"]
        "Packets that matched the rule and were dropped before any of its outputs, by reason.";
    RULE_STATE = Gauge "mcr_rule_state" ["rule", "state"]
        "1 for the state that the rule is in, 0 for each other state.";
    RULE_PATH = Info "mcr_rule_path_info" ["rule", "path"]
        "The path that forwards the rule's packets: xsk is AF_XDP.";
    RULE_LAST_PACKET = Gauge "mcr_rule_last_packet_timestamp_seconds" ["rule"]
        "When the rule's last packet came, to about half a second, in seconds since 1970-01-01 UTC; absent until the first packet.";
    OFFERED = Counter "mcr_output_offered_packets_total" ["rule", "output", "interface", "group", "port", "vlan"]
        "Packets that reached the output: it sent them or dropped them.";
    SENT = Counter "mcr_output_sent_packets_total" ["rule", "output", "interface", "group", "port", "vlan"]
        "Packets that the output sent.";
    SENT_BYTES = Counter "mcr_output_sent_bytes_total" ["rule", "output", "interface", "group", "port", "vlan"]
        "Bytes of the packets that the output sent, from the Ethernet header to the end of the frame, without the FCS.";
    OUTPUT_DROPPED = Counter "mcr_output_dropped_packets_total"
        ["rule", "output", "interface", "group", "port", "vlan", "reason"]
        "Packets that reached the output and that it did not send, by reason.";
    INTERFACE_UP = Gauge "mcr_interface_up" ["interface"]
        "1 if the interface exists and is set up, as `ip link set dev IF up` does, else 0.";
    INTERFACE_CARRIER = Gauge "mcr_interface_carrier" ["interface"]
        "1 if the interface is up and has a carrier, else 0.";
    INTERFACE_MTU = Gauge "mcr_interface_mtu_bytes" ["interface"]
        "The largest IP packet that the interface sends; absent while there is no such interface.";
    INTERFACE_MODE = Info "mcr_interface_mode_info" ["interface", "xdp", "xsk"]
        "What the kernel granted: the mode of the XDP program (driver, skb, none) and of the AF_XDP sockets (zerocopy, copy, none).";
    VERDICTS = Counter "mcr_interface_verdict_packets_total" ["interface", "verdict"]
        "Packets that the XDP program saw on the interface, by its verdict.";
    MEMBERSHIPS = Gauge "mcr_memberships" ["interface", "state"]
        "Multicast memberships that rules need on the interface: joined, taken by allmulticast, or failed to join.";
    WORKER_RX = Counter "mcr_worker_rx_packets_total" ["worker"]
        "Packets that the worker took from RX rings.";
    WORKER_TX = Counter "mcr_worker_tx_packets_total" ["worker"]
        "Packets that TX rings completed for the worker.";
    WORKER_LOOKUPS = Counter "mcr_worker_own_lookups_total" ["worker"]
        "Packets whose rule the worker looked up itself, because they came without XDP metadata.";
    WORKER_CPU = Counter "mcr_worker_cpu_seconds_total" ["worker"]
        "CPU time that the worker's thread has used, in user and in system mode.";
    WORKER_FRAMES = Gauge "mcr_worker_frames" ["worker"]
        "Frames of the worker's UMEMs.";
    WORKER_FRAMES_LIMIT = Gauge "mcr_worker_frames_limit" ["worker"]
        "Frames that the worker's UMEMs may have; a frame of 4096 bytes counts as two.";
    WORKER_FRAMES_FREE = Gauge "mcr_worker_frames_free" ["worker"]
        "Frames of the worker's UMEMs that are in no ring and hold no packet.";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn names_follow_the_convention_and_help_texts_stand_alone() {
        for Family { name, kind, labels, help } in ALL {
            assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
            assert_eq!(name.ends_with("_info"), *kind == Kind::Info, "{name}");
            assert!(help.ends_with('.') && help.split(' ').count() > 2 && !help.starts_with("Their"), "{name}: {help}");
            assert_eq!(labels.iter().collect::<std::collections::BTreeSet<_>>().len(), labels.len(), "{name}");
        }
        let by_help: BTreeMap<&str, &str> = ALL.iter().map(|family| (family.help, family.name)).collect();
        assert_eq!(by_help.len(), ALL.len(), "two metrics with one help text");
    }

    /// `| name | type | labels | meaning |` for each metric, no more and no fewer.
    #[test]
    fn the_docs_list_every_metric_with_its_type_and_labels() {
        let page = include_str!("../../../../docs/metrics.md");
        let rows = page.lines().filter_map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let name = cells.first()?.strip_prefix('`')?.strip_suffix('`')?;
            let is_metric = name.starts_with("mcr_") || name.starts_with("process_");
            (cells.len() == 4 && is_metric).then(|| (name, (cells[1].to_owned(), cells[2].to_owned(), cells[3])))
        });
        let rows: Vec<_> = rows.collect();
        let documented: BTreeMap<&str, _> = rows.iter().cloned().collect();
        assert_eq!(documented.len(), rows.len(), "a metric twice");
        for Family { name, kind, labels, .. } in ALL {
            let Some((of_type, of_labels, meaning)) = documented.get(name) else {
                panic!("docs/metrics.md lacks {name}")
            };
            assert_eq!(*of_type, format!("{kind:?}").to_lowercase(), "{name}");
            let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
            assert_eq!(*of_labels, labels.join(" "), "{name}");
            assert!(meaning.len() > 10, "{name}: {meaning}");
        }
        assert_eq!(documented.len(), ALL.len(), "docs/metrics.md has metrics that are none");
    }
}
