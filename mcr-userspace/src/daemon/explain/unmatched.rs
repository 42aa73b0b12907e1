//! What the program has recorded, by names, and the rule that is nearest to it. Pure.

use mcr_common::{counter::Verdict, flow::Vlan, unmatched::UnmatchedKey};

use super::{
    facts::Flow,
    near::{Candidate, Readiness, close, nearer, wants},
    obstacle::Obstacle,
};
use crate::{control::protocol::UnmatchedFlow, kernel::unmatched::Flows};

/// The flows of interfaces that have a name here.
pub fn flows(recorded: &Flows, names: &[(u32, String)]) -> Vec<Flow> {
    let named = |(key, packets): (&UnmatchedKey, &u64)| {
        let (_, name) = names.iter().find(|(ifindex, _)| *ifindex == key.ifindex)?;
        let verdict = *Verdict::ALL.get(usize::from(key.verdict))?;
        Some(Flow {
            interface: name.clone(),
            vlan: (key.vlan != Vlan::UNTAGGED).then(|| key.vlan.bits()),
            source: key.source.into(),
            group: key.group.into(),
            port: (key.is_fragment == 0).then_some(key.port),
            verdict,
            obstacle: Obstacle::of(key),
            is_unicast: key.is_unicast != 0,
            packets: *packets,
        })
    };
    // One flow may have been passed on for several reasons, while rules changed.
    let mut flows: Vec<Flow> = recorded.iter().filter_map(named).collect();
    flows.sort_by(|a, b| {
        let key = |flow: &Flow| (flow.interface.clone(), flow.vlan, flow.source, flow.group, flow.port);
        key(a).cmp(&key(b))
    });
    flows
}

/// A flow, and what the nearest rule lacks.
pub fn view(flow: Flow, candidates: &[Candidate]) -> UnmatchedFlow {
    let near = nearest(&flow, candidates);
    let Flow { interface, vlan, source, group, port, packets, obstacle, .. } = flow;
    let inner_vlan = match obstacle {
        Some(Obstacle::Tags { inner, .. }) => Some(inner),
        _ => None,
    };
    let why = obstacle.map(|obstacle| obstacle.name().to_owned());
    let reason = obstacle.map(Obstacle::why);
    UnmatchedFlow { interface, vlan, inner_vlan, source, group, port, packets, near, why, reason }
}

fn nearest(flow: &Flow, candidates: &[Candidate]) -> Option<String> {
    let (lacks, candidate) = close(candidates, &flow.arrived()).min_by(nearer)?;
    let name = &candidate.name;
    let not_matched = flow.obstacle.and_then(Obstacle::not_matched);
    Some(match (&candidate.readiness, flow.verdict) {
        _ if !lacks.is_empty() => wants(name, &candidate.matcher, &lacks),
        (Readiness::Disabled, _) => format!("{name} is switched off"),
        (Readiness::Waiting(why), _) => format!("{name} waits: {why}"),
        (Readiness::Ready, Verdict::PassUnservedQueue) => format!("{name} matches, and no socket serves the queue"),
        (Readiness::Ready, _) if flow.is_unicast => format!("{name} wants frames for the interface's own address"),
        (Readiness::Ready, _) => {
            not_matched.map_or_else(|| format!("{name} matches by now"), |what| format!("{name} matches {what}"))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::rule::{Match, Ports, Prefix};

    fn candidate(name: &str, vlan: Option<u16>, source: Prefix) -> Candidate {
        let group = Prefix::host([239, 1, 1, 1].into());
        let matcher = Match { interface: "eth0".into(), group, ports: Ports::Exact(5001), source, vlan };
        Candidate { name: name.into(), matcher, readiness: Readiness::Ready }
    }

    #[test]
    fn the_nearest_rule_says_what_it_wants() {
        let s1 = candidate("s1", Some(100), Prefix::ANY);
        let flow = Flow { verdict: Verdict::PassVlan, ..Flow::example() };
        assert_eq!(nearest(&flow, std::slice::from_ref(&s1)).as_deref(), Some("s1 wants VLAN 100"));
        let s2 = candidate("s2", None, Prefix::host([10, 0, 0, 6].into()));
        assert_eq!(nearest(&flow, &[s1.clone(), s2]).as_deref(), Some("s2 wants source 10.0.0.6"), "more specific");
        let other = Flow { group: [239, 7, 7, 7].into(), port: Some(9), ..flow.clone() };
        assert_eq!(nearest(&other, std::slice::from_ref(&s1)), None);
        let fits = Flow { vlan: Some(100), ..flow.clone() };
        let off = Candidate { readiness: Readiness::Disabled, ..s1.clone() };
        assert_eq!(nearest(&fits, &[off]).as_deref(), Some("s1 is switched off"));
        let fragment = Flow { port: None, obstacle: Some(Obstacle::Fragment), ..fits };
        assert!(nearest(&fragment, std::slice::from_ref(&s1)).is_some_and(|near| near.contains("fragments")));
        let hidden =
            |obstacle, flow: &Flow| view(Flow { obstacle: Some(obstacle), ..flow.clone() }, std::slice::from_ref(&s1));
        let fits = Flow { port: Some(5001), vlan: Some(100), ..flow.clone() };
        let seen = hidden(Obstacle::Tags { count: 2, outer: 100, inner: 5 }, &fits);
        assert_eq!(seen.near.as_deref(), Some("s1 matches no packet with two VLAN tags"));
        assert_eq!((seen.why.as_deref(), seen.vlan, seen.inner_vlan), (Some("two_tags"), Some(100), Some(5)));
        assert_eq!(seen.reason.as_deref(), Some("two VLAN tags (100, 5): mcr matches at most one"));
        let seen = hidden(Obstacle::Ptp(319), &Flow { port: Some(319), ..fits.clone() });
        assert_eq!((seen.why.as_deref(), seen.near.as_deref()), (Some("ptp"), Some("s1 wants port 5001")));
        let seen = view(fits, &[]);
        assert_eq!((seen.why, seen.reason, seen.inner_vlan), (None, None, None));
    }

    #[test]
    fn interfaces_are_named() {
        let key = UnmatchedKey {
            ifindex: 3,
            source: 0x0a00_0005,
            group: 0xef01_0101,
            port: 0,
            vlan: Vlan::tagged(7),
            verdict: Verdict::PassFragment as u8,
            is_unicast: 0,
            is_fragment: 1,
            inner: Vlan::UNTAGGED,
            tag_type: 0,
            tags: 0,
        };
        let recorded = Flows::from([(key, 4), (UnmatchedKey { ifindex: 9, ..key }, 1)]);
        let flows = flows(&recorded, &[(3, "eth0".into())]);
        assert_eq!(flows.len(), 1, "an interface that is gone has no name");
        assert_eq!((flows[0].vlan, flows[0].port, flows[0].packets), (Some(7), None, 4));
        assert_eq!(flows[0].obstacle, Some(Obstacle::Fragment));
        let whole = UnmatchedKey { is_fragment: 0, ..key };
        let obstacle = |key: UnmatchedKey| Obstacle::of(&key).map(Obstacle::name);
        assert_eq!(obstacle(whole), Some("port_0"));
        assert_eq!(obstacle(UnmatchedKey { port: 320, ..whole }), Some("ptp"));
        assert_eq!(obstacle(UnmatchedKey { port: 321, ..whole }), None);
        // Tags come first: nothing behind them counts.
        for key in [key, whole, UnmatchedKey { port: 319, ..whole }] {
            assert_eq!(obstacle(UnmatchedKey { tags: 1, tag_type: 0x9100, ..key }), Some("tag_type"));
            assert_eq!(obstacle(UnmatchedKey { tags: 3, ..key }), Some("two_tags"));
        }
    }
}
