//! The rules of a running daemon: those that do not forward as they should, and groups that the host could not join.

use super::super::{
    facts::{Daemon, Host},
    finding::{Finding, quoted},
};
use crate::control::protocol::StreamView;

/// Rules that are told of one by one.
const MOST: usize = 20;

/// Judges the rules of a daemon that runs.
pub fn judge(host: &Host) -> Vec<Finding> {
    let Daemon::Runs { rules, memberships, .. } = &host.daemon else { return Vec::new() };
    let troubled: Vec<&StreamView> = rules.iter().filter(|rule| rule.state.is_trouble()).collect();
    let told = troubled.iter().take(MOST).map(|rule| {
        let why = rule.state_reason.as_deref().unwrap_or("the reason is not known");
        let (name, state, word) = (&rule.rule, rule.state, quoted(&rule.rule));
        Finding::problem("rules", format!("rule {name} is {state}: {why} (see `mcrctl explain {word}`)"))
    });
    let mut findings: Vec<Finding> = told.collect();
    if let Some(more) = troubled.len().checked_sub(MOST).filter(|more| *more > 0) {
        let found = format!("{more} more rules do not forward as they should; `mcrctl rule list`");
        findings.push(Finding::problem("rules", found));
    }
    if findings.is_empty() {
        findings.push(match rules.len() {
            0 => Finding::note("rules", "mcrd has no rule"),
            1 => Finding::ok("rules", "its one rule is in order"),
            n => Finding::ok("rules", format!("its {n} rules are in order")),
        });
    }
    let failed = memberships.iter().filter(|view| view.state.starts_with("failed")).take(MOST);
    findings.extend(failed.map(|view| {
        let group = view.group.map_or("every group".to_owned(), |group| group.to_string());
        let tag = view.vlan.map(|vlan| format!(" in VLAN {vlan}")).unwrap_or_default();
        Finding::problem("memberships", format!("{group} is not joined on {}{tag}: {}", view.interface, view.state))
    }));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        control::protocol::{MembershipView, RuleState},
        doctor::finding::Severity::{self, Note, Ok, Problem},
    };

    fn judged(rules: &[(&str, RuleState)], memberships: &[&str]) -> Vec<(Severity, String)> {
        let rule = |(name, state): &(&str, RuleState)| StreamView {
            rule: (*name).to_owned(),
            state: *state,
            state_reason: Some("eth1 is down".into()),
            silent_seconds: None,
        };
        let membership = |state: &&str| MembershipView {
            interface: "eth0".into(),
            group: Some([239, 1, 1, 1].into()),
            state: (*state).to_owned(),
            ..MembershipView::default()
        };
        let daemon = Daemon::Runs {
            version: "1".into(),
            pid: 7,
            elsewhere: false,
            interfaces: Vec::new(),
            queries: Vec::new(),
            own_host: Vec::new(),
            rules: rules.iter().map(rule).collect(),
            memberships: memberships.iter().map(membership).collect(),
        };
        let findings = judge(&Host { daemon, ..Host::default() });
        findings.into_iter().map(|finding| (finding.severity, finding.found)).collect()
    }

    #[test]
    fn rules_that_do_not_forward_are_problems() {
        use RuleState::{Active, Degraded, Disabled, Idle, Stalled, Waiting};
        assert_eq!(judged(&[], &[])[0].0, Note);
        assert_eq!(judged(&[("a", Active), ("b", Idle), ("c", Disabled)], &["joined"])[0].0, Ok);
        let found = judged(&[("a", Degraded), ("b", Stalled), ("c", Waiting), ("d", Active)], &[]);
        assert_eq!(found.len(), 3);
        assert_eq!(found[0], (Problem, "rule a is degraded: eth1 is down (see `mcrctl explain a`)".into()));
        let many: Vec<(&str, RuleState)> = vec![("a", Degraded); MOST + 5];
        let found = judged(&many, &[]);
        assert!(found.len() == MOST + 1 && found[MOST].1.starts_with("5 more rules"), "{found:?}");
        let found = judged(&[("a", Active)], &["failed: no buffer space"]);
        assert_eq!(found[1], (Problem, "239.1.1.1 is not joined on eth0: failed: no buffer space".into()));
    }
}
