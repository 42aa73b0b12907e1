//! Whether the cause of a loss can still be there. While no packet comes, a finding stands; what repairs its cause must not wait for the
//! next packet. Pure.

use std::time::Duration;

use mcr_common::counter::{OutputDrop, RuleDrop};

use super::{super::links::Link, facts::InterfaceFacts};

/// What has changed since an output dropped packets for this reason, so that it would drop them no more: `the link of eth1 came up`. The
/// longest of them had `longest` bytes, and all of them came within the last `age`.
pub fn repaired_output(reason: OutputDrop, egress: &InterfaceFacts, longest: u32, age: Duration) -> Option<String> {
    let name = &egress.name;
    match reason {
        OutputDrop::TooBig => {
            (1..=egress.limit).contains(&longest).then(|| format!("the MTU of {name} became {}", egress.mtu))
        }
        // A driver that sends nothing without a carrier fills its ring.
        OutputDrop::LinkDown | OutputDrop::TxRefused | OutputDrop::TxRingFull => {
            let is_repaired = egress.link == Link::Up && is_within(egress.linked, age);
            is_repaired.then(|| format!("the link of {name} came up"))
        }
        OutputDrop::NoSource => is_within(egress.learned, age).then(|| format!("{name} had an address")),
        // The sender's packets and the load are known from packets alone; `frames` changes at a restart.
        OutputDrop::TtlExpired | OutputDrop::NoFrame => None,
    }
}

/// The same of what the workers dropped before the outputs.
pub fn repaired_rule(reason: RuleDrop, ingress: &InterfaceFacts, age: Duration) -> Option<String> {
    let name = &ingress.name;
    match reason {
        RuleDrop::RuleGone => Some("the rule was changed".to_owned()),
        RuleDrop::Oversize => (ingress.mtu <= ingress.limit && is_within(ingress.learned, age))
            .then(|| format!("the MTU of {name} became {}", ingress.mtu)),
        RuleDrop::RxRing | RuleDrop::Malformed | RuleDrop::MartianSource => None,
    }
}

fn is_within(changed: Option<Duration>, age: Duration) -> bool {
    changed.is_some_and(|changed| changed < age)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGE: Duration = Duration::from_secs(10);

    fn eth1() -> InterfaceFacts {
        InterfaceFacts { name: "eth1".into(), link: Link::Up, mtu: 1500, limit: 1500, ..InterfaceFacts::default() }
    }

    fn seconds(seconds: u64) -> Option<Duration> {
        Some(Duration::from_secs(seconds))
    }

    #[test]
    fn packets_that_fit_by_now() {
        let too_big = |limit, longest| {
            repaired_output(OutputDrop::TooBig, &InterfaceFacts { limit, ..eth1() }, longest, AGE).is_some()
        };
        assert!(too_big(1500, 1400) && too_big(1400, 1400));
        assert!(!too_big(1399, 1400), "a larger MTU is not always large enough");
        assert!(!too_big(1500, 0), "no length is known");
    }

    #[test]
    fn a_link_or_an_address_that_came_back_after_the_packets() {
        let up = |linked| InterfaceFacts { linked, ..eth1() };
        for reason in [OutputDrop::LinkDown, OutputDrop::TxRefused, OutputDrop::TxRingFull] {
            let text = repaired_output(reason, &up(seconds(5)), 0, AGE);
            assert_eq!(text.as_deref(), Some("the link of eth1 came up"));
            assert_eq!(repaired_output(reason, &up(seconds(15)), 0, AGE), None, "packets came since, and were dropped");
            assert_eq!(repaired_output(reason, &up(None), 0, AGE), None);
            let bare = InterfaceFacts { link: Link::NoCarrier, ..up(seconds(5)) };
            assert_eq!(repaired_output(reason, &bare, 0, AGE), None);
        }
        let learned = InterfaceFacts { learned: seconds(1), ..eth1() };
        assert!(repaired_output(OutputDrop::NoSource, &learned, 0, AGE).is_some());
        assert!(repaired_output(OutputDrop::NoSource, &eth1(), 0, AGE).is_none());
        for reason in [OutputDrop::TtlExpired, OutputDrop::NoFrame] {
            let all = InterfaceFacts { linked: seconds(1), ..learned.clone() };
            assert_eq!(repaired_output(reason, &all, 100, AGE), None);
        }
    }

    #[test]
    fn what_workers_dropped() {
        let learned = InterfaceFacts { learned: seconds(1), ..eth1() };
        assert!(repaired_rule(RuleDrop::RuleGone, &eth1(), AGE).is_some());
        assert!(repaired_rule(RuleDrop::Oversize, &learned, AGE).is_some());
        assert!(repaired_rule(RuleDrop::Oversize, &eth1(), AGE).is_none());
        let large = InterfaceFacts { mtu: 3000, limit: 1774, ..learned.clone() };
        assert!(repaired_rule(RuleDrop::Oversize, &large, AGE).is_none());
        for reason in [RuleDrop::RxRing, RuleDrop::Malformed, RuleDrop::MartianSource] {
            assert!(repaired_rule(reason, &learned, AGE).is_none());
        }
    }
}
