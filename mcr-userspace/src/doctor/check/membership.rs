//! Whether the host's memberships are asked for, and answered: queries, firewalls, and this host's own senders and receivers.

use super::super::{
    facts::{Host, Interface},
    finding::Finding,
    firewall::{Judgement, Kind, Place, judge},
};
use crate::control::protocol::QueriesView;

/// After so many seconds without a query a membership has ended, with the intervals that RFC 3376 section 8 gives: 2 x 125 + 10.
const INTERVAL: f64 = 260.0;

/// Whether a firewall lets queries in.
pub fn igmp_firewall(interface: &Interface, host: &Host) -> Option<Finding> {
    let id = "igmp-firewall";
    let joined: Vec<&QueriesView> = host.queries(&interface.nic.name).collect();
    let Judgement { drops, may, unread } = everywhere(interface, host, Kind::Query);
    let ends = "a switch that snoops then ends the streams after its membership interval of some minutes";
    if let Some((names, fix)) = all(&drops) {
        let found = format!("IGMP queries that come in are dropped by {names}, so the host answers none: {ends}");
        let repeats = |queries: &&QueriesView| queries.rejoin_seconds.is_some();
        return Some(match joined.as_slice() {
            [] => Finding::warning(id, found).fix(fix),
            joined if joined.iter().all(repeats) => {
                Finding::note(id, format!("{found}; here mcrd repeats its memberships all the same (rejoin)")).fix(fix)
            }
            _ => Finding::problem(id, found).fix(fix),
        });
    }
    let is_heard = !joined.is_empty() && joined.iter().all(|queries| queries.from.is_some() && queries.answered);
    if is_heard {
        return Some(Finding::ok(id, "the IGMP queries that come in reach the host"));
    }
    if let Some((names, fix)) = all(&may) {
        let found = format!(
            "IGMP queries that come in may be dropped by {names}, depending on what its rules do not tell: {ends} if so"
        );
        return Some(Finding::warning(id, found).fix(fix));
    }
    Some(match unread.first() {
        Some(why) => Finding::not_checked(id, why),
        None => Finding::ok(id, "no firewall here drops IGMP queries that come in"),
    })
}

/// Whether a firewall lets the host's reports out.
pub fn igmp_reports(interface: &Interface, host: &Host) -> Option<Finding> {
    let id = "igmp-reports";
    let Judgement { drops, may, unread } = everywhere(interface, host, Kind::Report);
    let deaf = "a switch that snoops does not hear which groups the host joins, and sends it none";
    if let Some((names, fix)) = all(&drops) {
        let found = format!("IGMP reports that the host sends are dropped by {names}: {deaf}");
        let is_joined = host.queries(&interface.nic.name).next().is_some();
        let finding = if is_joined { Finding::problem(id, found) } else { Finding::warning(id, found) };
        return Some(finding.fix(fix));
    }
    if let Some((names, fix)) = all(&may) {
        let found = format!(
            "IGMP reports that the host sends may be dropped by {names}, depending on what its rules do not tell: {deaf} if so"
        );
        return Some(Finding::warning(id, found).fix(fix));
    }
    Some(match unread.first() {
        Some(why) => Finding::not_checked(id, why),
        None => Finding::ok(id, "no firewall here drops IGMP reports that the host sends"),
    })
}

/// What becomes of a message on the interface, and in the VLANs on it where mcrd has joined groups.
fn everywhere(interface: &Interface, host: &Host, kind: Kind) -> Judgement {
    let own = interface.nic.name.as_str();
    let others = host.queries(own).map(|queries| queries.on.as_str()).filter(|on| *on != own);
    let mut all = Judgement::default();
    for name in std::iter::once(own).chain(others) {
        let judgement = judge(&host.firewall, kind, name);
        all.drops.extend(judgement.drops);
        all.may.extend(judgement.may);
        all.unread.extend(judgement.unread);
    }
    all
}

/// Names for a sentence, and one command.
fn all(places: &[Place]) -> Option<(String, String)> {
    let mut unique: Vec<&Place> = Vec::new();
    places.iter().for_each(|place| {
        if !unique.contains(&place) {
            unique.push(place);
        }
    });
    let join = |of: fn(&Place) -> &str, by| unique.iter().map(|place| of(place)).collect::<Vec<_>>().join(by);
    (!unique.is_empty()).then(|| (join(|place| &place.name, " and "), join(|place| &place.fix, "; ")))
}

/// Whether queries come where mcrd has joined groups, and reach the host.
pub fn igmp_queries(interface: &Interface, host: &Host) -> Option<Finding> {
    let id = "igmp-queries";
    // One that is in order says nothing of another in a VLAN.
    let queries = host.queries(&interface.nic.name).min_by_key(|queries| (queries.answered, queries.from.is_some()))?;
    let QueriesView { on, listening_seconds, from, seen_seconds, answered, rejoin_seconds, .. } = queries;
    let repeats = rejoin_seconds.is_some();
    let Some((from, seen)) = from.zip(*seen_seconds).filter(|(_, seen)| *seen < INTERVAL || !answered) else {
        let silent = seen_seconds.unwrap_or(*listening_seconds);
        return Some(match repeats {
            true => Finding::ok(
                id,
                format!(
                    "no querier is needed: mcrd repeats its memberships on {on} (rejoin); no IGMP query has come in for {silent:.0} s"
                ),
            ),
            false if silent < INTERVAL => Finding::not_checked(
                id,
                format!(
                    "no IGMP query has come in on {on} in the {silent:.0} s that mcrd has listened; a querier asks every 125 s"
                ),
            ),
            false => Finding::note(
                id,
                format!(
                    "no querier is needed on {on} unless a switch on the way snoops IGMP, and none asks (no query for {silent:.0} s); if such a switch ends the streams, have a router or switch ask, or set rejoin = \"30s\" for {} in mcrd's file",
                    interface.nic.name
                ),
            ),
        });
    };
    if *answered {
        return Some(Finding::ok(
            id,
            format!("IGMP queries arrive: {from} asks on {on}, last {seen:.0} s ago, and the host hears it"),
        ));
    }
    let judgement = judge(&host.firewall, Kind::Query, on);
    let come = format!("the IGMP queries of {from}, last {seen:.0} s ago, come in on {on} and do not reach the host");
    let found = match repeats {
        true => format!("no querier is needed: mcrd repeats its memberships on {on} (rejoin), although {come}"),
        false => format!("{come}, which answers none"),
    };
    let severity = |found: String| if repeats { Finding::note(id, found) } else { Finding::problem(id, found) };
    let places = if judgement.drops.is_empty() { &judgement.may } else { &judgement.drops };
    if let Some((names, fix)) = all(places) {
        return Some(severity(format!("{found}: {names} drops them")).fix(fix));
    }
    if let Some(bridge) = &interface.master {
        let name = &interface.nic.name;
        let remedy = match repeats {
            true => String::new(),
            false => format!("; set rejoin = \"30s\" for {name} in mcrd's file, or match on {bridge}"),
        };
        return Some(severity(format!("{found}: {on} is a port of {bridge}, which takes them{remedy}")));
    }
    Some(match interface.rp_filter {
        Some(1..) => severity(format!(
            "{found}: the host has no way back to {from} through it, and checks (rp_filter)"
        ))
        .fix(format!("sysctl -w net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.{}.rp_filter=0", on.replace('.', "/"))),
        _ => severity(format!("{found}; what drops them was not found (tc, nftables that could not be read)")),
    })
}

/// Senders and receivers on this host that mcr does not serve.
pub fn own_host(interface: &Interface, host: &Host) -> Option<Finding> {
    let all: Vec<&str> = host.own_host(&interface.nic.name).map(|own| own.text.as_str()).collect();
    let (first, more) = all.split_first()?;
    let more = if more.is_empty() { String::new() } else { format!(" (and {} more)", more.len()) };
    Some(Finding::warning("own-host", format!("{first}{more}")))
}

#[cfg(test)]
mod tests;
