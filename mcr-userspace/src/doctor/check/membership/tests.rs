use std::net::Ipv4Addr;

use super::*;
use crate::{
    doctor::{
        facts::Daemon,
        finding::Severity::{self, NotChecked, Note, Ok, Problem, Warning},
        firewall::{Listed, Ruleset},
    },
    kernel::nic::Nic,
};

const ASKS: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 254);

fn interface() -> Interface {
    Interface { nic: Nic { name: "eth0".into(), ..Nic::default() }, ..Interface::default() }
}

fn dropping() -> Ruleset {
    let text = "{\"nftables\":[{\"chain\":{\"family\":\"ip\",\"table\":\"f\",\"name\":\"in\",\"hook\":\"input\",\"policy\":\"drop\"}}]}";
    Ruleset { nft: Listed::Text { text: text.into(), program: "nft".into() }, ..Ruleset::default() }
}

/// mcrd has joined groups on eth0; who asked when, and whether the host heard it.
fn asked(seen: Option<f64>, answered: bool, rejoin: Option<f64>) -> Host {
    let queries = QueriesView {
        interface: "eth0".into(),
        on: "eth0".into(),
        listening_seconds: 300.0,
        from: seen.map(|_| ASKS),
        seen_seconds: seen,
        answered,
        rejoin_seconds: rejoin,
    };
    let daemon = Daemon::Runs {
        version: String::new(),
        pid: 1,
        elsewhere: false,
        interfaces: Vec::new(),
        queries: vec![queries],
        own_host: Vec::new(),
        rules: Vec::new(),
        memberships: Vec::new(),
    };
    Host { daemon, ..Host::default() }
}

fn judged(check: fn(&Interface, &Host) -> Option<Finding>, host: &Host) -> Option<(Severity, Option<String>)> {
    check(&interface(), host).map(|finding| (finding.severity, finding.fix))
}

#[test]
fn a_firewall_matters_where_groups_are_joined() {
    let fix = Some("nft insert rule ip f in ip protocol igmp accept".to_owned());
    let judged = |host: Host| judged(igmp_firewall, &host).expect("always");
    assert_eq!(judged(Host { firewall: dropping(), ..Host::default() }), (Warning, fix.clone()));
    assert_eq!(judged(Host { firewall: dropping(), ..asked(None, true, None) }), (Problem, fix.clone()));
    assert_eq!(judged(Host { firewall: dropping(), ..asked(None, true, Some(30.0)) }), (Note, fix));
    let unread = Ruleset { nft: Listed::Unread("no nft".into()), ..Ruleset::default() };
    assert_eq!(judged(Host { firewall: unread.clone(), ..Host::default() }), (NotChecked, None));
    assert_eq!(judged(Host { firewall: unread, ..asked(Some(3.0), true, None) }), (Ok, None), "it was heard");
    assert_eq!(judged(Host::default()), (Ok, None));
}

#[test]
fn who_asks_and_who_hears() {
    let judged = |host: Host| judged(igmp_queries, &host);
    assert_eq!(judged(Host::default()), None, "nothing is joined");
    assert_eq!(judged(asked(Some(3.0), true, None)), Some((Ok, None)));
    assert_eq!(judged(asked(None, true, None)), Some((Note, None)));
    assert_eq!(judged(asked(Some(299.0), true, None)), Some((Note, None)), "it has fallen silent");
    assert_eq!(judged(asked(None, true, Some(30.0))), Some((Ok, None)));
    let fix = Some("nft insert rule ip f in ip protocol igmp accept".to_owned());
    assert_eq!(judged(Host { firewall: dropping(), ..asked(Some(299.0), false, None) }), Some((Problem, fix)));
    let deaf = |interface: Interface| igmp_queries(&interface, &asked(Some(3.0), false, None)).expect("judged");
    let strict = deaf(Interface { rp_filter: Some(1), ..interface() });
    assert!(strict.fix.is_some_and(|fix| fix.contains("net.ipv4.conf.eth0.rp_filter=0")));
    let port = deaf(Interface { master: Some("br0".into()), ..interface() });
    assert!(port.found.contains("a port of br0") && port.severity == Problem, "{port:?}");
    assert!(deaf(interface()).found.contains("was not found"));
    // `explain` shows what is no problem as ok: its text says first that all is well.
    let begins = |host: Host, text: &str| {
        let finding = igmp_queries(&interface(), &host).expect("judged");
        assert!(finding.found.starts_with(text), "{finding:?}");
    };
    begins(asked(Some(3.0), true, None), "IGMP queries arrive: 10.1.0.254 asks on eth0");
    begins(asked(None, true, None), "no querier is needed on eth0 unless a switch on the way snoops IGMP");
    for host in [asked(None, true, Some(30.0)), asked(Some(3.0), false, Some(30.0))] {
        begins(host, "no querier is needed: mcrd repeats its memberships on eth0 (rejoin)");
    }
}
