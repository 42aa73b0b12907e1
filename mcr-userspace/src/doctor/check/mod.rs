//! The checks: facts in, findings out. They ask nothing of the machine.

mod host;
mod rules;
mod identity;
mod membership;
mod modes;
mod queues;
mod packets;

use super::{
    facts::{Host, Interface},
    finding::{Finding, shown},
};
use crate::rules::value;

/// Judges the host.
pub fn host(host: &Host) -> Vec<Finding> {
    let checks: [fn(&Host) -> Finding; 4] = [host::kernel, host::capabilities, host::memlock, host::daemon];
    checks.iter().map(|check| check(host)).chain(rules::judge(host)).collect()
}

/// Judges what a rule's packets have to pass before they arrive.
pub fn hearing(interface: &Interface, host: &Host) -> Vec<Finding> {
    let checks = [membership::igmp_reports, membership::igmp_firewall, membership::igmp_queries];
    checks.iter().filter_map(|check| check(interface, host)).collect()
}

/// Judges an interface. Where mcr cannot use one of its kind, nothing else is of interest.
pub fn interface(interface: &Interface, host: &Host) -> Vec<Finding> {
    let (kind, usable) = identity::kind(interface);
    if !usable {
        return vec![kind];
    }
    let checks: [fn(&Interface, &Host) -> Option<Finding>; 20] = [
        identity::link,
        identity::address,
        modes::xdp_program,
        modes::xdp,
        modes::zero_copy,
        queues::queues,
        queues::rings,
        queues::rss,
        queues::irq_affinity,
        packets::mtu,
        packets::vlan_offload,
        packets::vlan_peer,
        packets::vlan_filter,
        packets::gro,
        packets::lro,
        packets::multicast_filter,
        membership::igmp_reports,
        membership::igmp_firewall,
        membership::igmp_queries,
        membership::own_host,
    ];
    std::iter::once(kind).chain(checks.iter().filter_map(|check| check(interface, host))).collect()
}

/// There is no interface of this name; `others` are those there are.
pub fn missing(name: &str, others: &[String]) -> Finding {
    let shown = shown(name);
    if let Err(why) = value::interface(name) {
        return Finding::problem("name", why);
    }
    let near = |other: &&String| strsim::osa_distance(name, other) <= name.len().max(3).div_ceil(3);
    let mut alike: Vec<&String> = others.iter().filter(near).collect();
    alike.sort_by_key(|other| strsim::osa_distance(name, other));
    let alike: Vec<&str> = alike.into_iter().take(3).map(String::as_str).collect();
    let hint = if alike.is_empty() { String::new() } else { format!("; alike: {}", alike.join(", ")) };
    Finding::problem("name", format!("no interface {shown} in this network namespace (`ip link` lists them){hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Severity;

    #[test]
    fn the_closest_names_are_named() {
        let others = ["eth0", "eth1", "lo", "veth1"].map(String::from);
        let finding = missing("etH0", &others);
        assert_eq!((finding.severity, finding.id), (Severity::Problem, "name"));
        assert!(finding.found.ends_with("; alike: eth0, eth1"), "{finding:?}");
        assert!(!missing("wlan7", &others).found.contains("alike"));
        assert!(missing("a-name-far-too-long", &others).found.contains("Linux allows 15"));
        assert!(missing("eth0@if2", &others).found.contains("write eth0"));
        assert!(missing("a\nb", &others).found.contains(r"a\nb"), "one line");
    }

    #[test]
    fn an_interface_that_cannot_be_used_has_one_finding() {
        let mut lo = Interface::default();
        lo.nic.hardware = libc::ARPHRD_LOOPBACK;
        assert_eq!(interface(&lo, &Host::default()).len(), 1);
    }
}
