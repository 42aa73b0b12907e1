//! Each fault by itself, and several at once: what stands first, and what fixes it.

use std::time::Duration;

use mcr_common::counter::{OutputDrop, RuleDrop, Verdict};

use super::{
    super::{
        super::{
            active::{OutputReading, Reading},
            passed::Rates,
            traffic::Finding,
        },
        facts::{Flow, OutputFacts, Stronger},
        obstacle::Obstacle,
    },
    *,
};
use crate::{
    control::protocol::MembershipView,
    rules::rule::{Match, Output, Ports, Prefix, Rule, Source, Ttl, Vlan},
};

fn interface(name: &str) -> InterfaceFacts {
    InterfaceFacts {
        name: name.into(),
        link: Link::Up,
        mtu: 1500,
        limit: 1500,
        xdp: "driver".into(),
        xsk: "copy".into(),
        ..InterfaceFacts::default()
    }
}

/// A rule on eth0 that sends to eth1 and eth2, idle, and all is well.
fn facts() -> Facts {
    let output = |interface: &str| Output {
        name: None,
        interface: interface.into(),
        group: None,
        port: None,
        source: Source::Interface,
        ttl: Ttl::Decrement,
        dscp: None,
        vlan: Vlan::None,
    };
    let matcher = Match {
        interface: "eth0".into(),
        group: Prefix::host([239, 1, 1, 1].into()),
        ports: Ports::Exact(5001),
        source: Prefix::ANY,
        vlan: None,
    };
    let rule = Rule {
        name: "feed".into(),
        matcher,
        outputs: vec![output("eth1"), output("eth2")],
        stall_after: None,
        description: None,
        enabled: true,
    };
    let facts = |at: usize, name: &str| OutputFacts {
        label: format!("output {at} ({name})"),
        interface: interface(name),
        lack: None,
        lost_address: None,
        longest: 0,
    };
    let joined = MembershipView {
        interface: "eth0".into(),
        group: Some([239, 1, 1, 1].into()),
        state: "joined".into(),
        ..MembershipView::default()
    };
    Facts {
        rule,
        state: RuleState::Idle,
        waiting: None,
        silence: None,
        passed: Vec::new(),
        pace: 0,
        ingress: interface("eth0"),
        outputs: vec![facts(1, "eth1"), facts(2, "eth2")],
        memberships: vec![joined],
        unjoined: None,
        deaf: None,
        reading: Reading::default(),
        findings: Vec::new(),
        age: Duration::from_secs(5),
        own_host: Vec::new(),
        stronger: Vec::new(),
    }
}

/// `packets` that every output sends.
fn passing(packets: u64) -> Watched {
    let output = OutputReading { offered: packets, sent: packets, ..OutputReading::default() };
    let added = Reading {
        matched_packets: packets,
        matched_bytes: packets * 1014,
        outputs: vec![output; 2],
        ..Reading::default()
    };
    Watched { seconds: 2.0, added, ..Watched::default() }
}

fn arriving(flow: Flow) -> Watched {
    Watched { flows: vec![flow], ..passing(0) }
}

/// The first finding: its text and its fix; and how many problems there are.
fn first(facts: &Facts, watched: Option<&Watched>) -> (String, Option<String>, usize) {
    let explained = judge(facts, watched);
    let problems = explained.findings.iter().filter(|finding| finding.result == CheckResult::Problem).count();
    let first = &explained.findings[0];
    (first.text.clone(), first.fix.clone(), problems)
}

#[track_caller]
fn finds(facts: &Facts, watched: Option<&Watched>, text: &str, fix: Option<&str>) {
    let (found, command, problems) = first(facts, watched);
    assert!(found.contains(text), "{found:?} does not say {text:?}");
    assert_eq!(command.as_deref(), fix, "{found}");
    assert!(problems > 0);
}

#[test]
fn what_is_well_is_no_problem() {
    let well = Facts { state: RuleState::Active, ..facts() };
    let explained = judge(&well, Some(&passing(400)));
    assert!(!explained.has_problem(), "{explained:?}");
    let checks: Vec<&str> = explained.findings.iter().map(|finding| finding.check.as_str()).collect();
    assert_eq!(
        checks,
        ["rule", "ingress", "xdp", "membership", "arrival", "worker", "output", "output", "output", "output"]
    );
    // A stream of few packets.
    let slow = Facts { silence: Some(Duration::from_secs(4)), ..well };
    assert!(!judge(&slow, Some(&passing(0))).has_problem());
    let stopped = Facts { pace: 40, ..slow };
    finds(
        &stopped,
        Some(&passing(0)),
        "239.1.1.1:5001 stopped 4 s ago, after 40 pps; nothing like it arrives on eth0: look at the sender",
        None,
    );
}

#[test]
fn near_misses() {
    let flows: [(Flow, &str, &str); 5] = [
        (
            Flow { group: [239, 1, 1, 2].into(), ..Flow::example() },
            "the rule wants group 239.1.1.1",
            "--group 239.1.1.2",
        ),
        (Flow { port: Some(5002), ..Flow::example() }, "239.1.1.1:5002 from 10.0.0.5 on eth0", "--port 5002"),
        (Flow { vlan: Some(100), verdict: Verdict::PassVlan, ..Flow::example() }, "in VLAN 100", "--vlan 100"),
        (Flow { interface: "eth7".into(), ..Flow::example() }, "the rule wants interface eth0", "--in eth7"),
        (
            Flow { port: Some(5002), vlan: Some(7), ..Flow::example() },
            "wants port 5001 and no VLAN tag",
            "--port 5002 --vlan 7",
        ),
    ];
    for (flow, text, flags) in flows {
        finds(&facts(), Some(&arriving(flow)), text, Some(&format!("mcrctl rule set feed {flags}")));
    }
    let mut ssm = facts();
    ssm.rule.matcher.source = Prefix::host([10, 0, 0, 9].into());
    finds(
        &ssm,
        Some(&arriving(Flow::example())),
        "wants source 10.0.0.9",
        Some("mcrctl rule set feed --source 10.0.0.5"),
    );
    let mut tagged = facts();
    tagged.rule.matcher.vlan = Some(100);
    finds(&tagged, Some(&arriving(Flow::example())), "wants VLAN 100", Some("mcrctl rule set feed --vlan none"));
    let fragment = Flow { port: None, verdict: Verdict::PassFragment, ..Flow::example() };
    finds(&facts(), Some(&arriving(fragment)), "fragments of 239.1.1.1", None);
    let unicast = Flow { is_unicast: true, ..Flow::example() };
    finds(&facts(), Some(&arriving(unicast)), "another host's Ethernet address", None);
    // What no rule matches as it comes stands before what has other values; of another group it says nothing of this rule.
    let hidden = |obstacle| Flow { obstacle: Some(obstacle), ..Flow::example() };
    let tags = hidden(Obstacle::Tags { count: 2, outer: 6, inner: 5 });
    let both = Watched { flows: vec![Flow { port: Some(5002), ..Flow::example() }, tags.clone()], ..passing(0) };
    finds(&facts(), Some(&both), "comes in with two VLAN tags (6, 5), and mcr matches at most one", None);
    finds(&tagged, Some(&arriving(tags.clone())), "have the switch send it to eth0 without the outer tag", None);
    let port = Flow { port: Some(5002), ..tags.clone() };
    finds(&facts(), Some(&arriving(port)), "without the outer tag; the rule also wants port 5001", None);
    let more = hidden(Obstacle::Tags { count: 3, outer: 6, inner: 5 });
    finds(&facts(), Some(&arriving(more)), "three VLAN tags or more (6, 5)", None);
    let foreign = hidden(Obstacle::TagType(0x9100));
    finds(&facts(), Some(&arriving(foreign)), "a VLAN tag of type 0x9100", None);
    let ptp = Flow { port: Some(319), ..hidden(Obstacle::Ptp(319)) };
    finds(&facts(), Some(&arriving(ptp)), "is PTP (port 319), which mcr never forwards", None);
    let any = Facts {
        rule: Rule { matcher: Match { ports: Ports::Any, ..facts().rule.matcher }, ..facts().rule },
        ..facts()
    };
    finds(
        &any,
        Some(&arriving(Flow { port: Some(320), ..hidden(Obstacle::Ptp(320)) })),
        "let a sender of anything else use another port",
        None,
    );
    let zero = Flow { port: Some(0), ..hidden(Obstacle::PortZero) };
    finds(&facts(), Some(&arriving(zero)), "wants port 5001; a rule can name no port 0: look at the sender", None);
    let other = Flow { group: [239, 1, 1, 2].into(), ..tags };
    finds(&facts(), Some(&arriving(other)), "no packet of 239.1.1.1:5001 arrives on eth0", None);
    // Of two, the one of the rule's own group.
    let other = Flow { group: [239, 9, 9, 9].into(), packets: 9999, ..Flow::example() };
    let both = Watched { flows: vec![other, Flow { port: Some(5002), ..Flow::example() }], ..passing(0) };
    finds(&facts(), Some(&both), "wants port 5001", Some("mcrctl rule set feed --port 5002"));
    // Far from it: nothing arrives.
    let far = Flow { group: [239, 9, 9, 9].into(), port: Some(1), ..Flow::example() };
    finds(&facts(), Some(&arriving(far)), "no packet of 239.1.1.1:5001 arrives on eth0", None);
}

#[test]
fn a_stream_that_moved_is_told_from_one_that_stopped() {
    let ended = Facts { silence: Some(Duration::from_secs(12)), pace: 200, ..facts() };
    let moved = arriving(Flow { group: [239, 1, 1, 9].into(), ..Flow::example() });
    let passed =
        |before: f64, since: f64| Facts { passed: vec![("eth0".into(), Rates { before, since })], ..ended.clone() };
    let fix = Some("mcrctl rule set feed --group 239.1.1.9");
    let began = "239.1.1.1:5001 stopped 12 s ago, after 200 pps; since then 239.1.1.9:5001 from 10.0.0.5 on eth0 untagged at 200 pps arrives: the sender may have changed its group";
    finds(&passed(50.0, 240.0), Some(&moved), began, fix);
    // Nobody knows when it began.
    finds(&ended, Some(&moved), "stopped 12 s ago, after 200 pps; now 239.1.1.9:5001 from 10.0.0.5", fix);
    finds(&passed(0.0, 900.0), Some(&moved), "; now 239.1.1.9:5001", fix);
    // It was there before.
    let before = passed(250.0, 250.0);
    finds(
        &before,
        Some(&moved),
        "stopped 12 s ago, after 200 pps; nothing began in its place on eth0: look at the sender",
        None,
    );
    let notes = judge(&before, Some(&moved)).findings;
    assert!(notes.iter().any(|note| note.text.contains("239.1.1.9:5001") && note.text.contains("did not begin")));
    // Of several, the one that began then.
    let port = Flow { port: Some(5002), interface: "eth1".into(), ..Flow::example() };
    let both = Watched { flows: vec![port, moved.flows[0].clone()], ..passing(0) };
    finds(&passed(0.0, 200.0), Some(&both), "since then 239.1.1.9:5001", fix);
    // Too few packets to tell, in a rule that is active.
    let slow = Facts { pace: 1, state: RuleState::Active, ..ended };
    finds(&slow, Some(&moved), "arrives, and the rule wants group 239.1.1.1", fix);
}

#[test]
fn the_rule_itself_and_its_ingress() {
    let off = Facts { state: RuleState::Disabled, waiting: Some(String::new()), ..facts() };
    assert!(is_certain(&off));
    finds(&off, None, "switched off", Some("mcrctl rule enable feed"));
    let waiting = Facts { state: RuleState::Waiting, waiting: Some("no interface eth0".into()), ..facts() };
    finds(&waiting, None, "waits: no interface eth0", None);
    let down = InterfaceFacts { link: Link::Down, ..interface("eth0") };
    let down = Facts { ingress: down, state: RuleState::Degraded, ..facts() };
    assert!(is_certain(&down));
    finds(&down, None, "eth0 is down", Some("ip link set dev eth0 up"));
    let bare = Facts { ingress: InterfaceFacts { link: Link::NoCarrier, ..interface("eth0") }, ..facts() };
    finds(&bare, Some(&passing(0)), "eth0 has no carrier", None);
    let stolen = Watched { stronger: vec![Stronger { name: "b".into(), port: None, matched: 0 }], ..passing(0) };
    finds(&facts(), Some(&stolen), "rule b is more specific and takes the packets", None);
}

#[test]
fn memberships() {
    let warning = "eth0: groups in VLAN 100 are not joined: the host has no interface there to ask by; `ip link add link eth0 name eth0.100 type vlan id 100 && ip link set dev eth0.100 up`, or so";
    let lacking = Facts { unjoined: Some(warning.into()), ..facts() };
    let fix = "ip link add link eth0 name eth0.100 type vlan id 100 && ip link set dev eth0.100 up";
    finds(&lacking, Some(&passing(0)), "VLAN 100 are not joined", Some(fix));
    let mut failed = facts();
    failed.memberships[0].state = "failed: no buffer space".into();
    finds(&failed, Some(&passing(0)), "could not join 239.1.1.1 on eth0: no buffer space", None);
    let limit = "eth0: group 239.1.1.1 is not joined: too many; `sysctl -w net.ipv4.igmp_max_memberships=20`";
    let (text, fix, _) = first(&Facts { unjoined: Some(limit.into()), ..facts() }, Some(&passing(0)));
    assert_eq!(fix.as_deref(), Some("sysctl -w net.ipv4.igmp_max_memberships=20"));
    assert!(text.ends_with("too many"), "the command is said once: {text}");
    let mut prefix = facts();
    prefix.rule.matcher.group = Prefix { address: [239, 0, 0, 0].into(), length: 8 };
    prefix.memberships[0].group = None;
    prefix.unjoined = Some("eth0 needs a static multicast-router port".into());
    finds(&prefix, Some(&passing(0)), "static multicast-router port", None);
    assert!(!judge(&prefix, Some(&passing(400))).has_problem(), "the switch sends them unasked");
    let deaf = Facts { deaf: Some("queries do not reach the host: `mcrctl doctor eth0` tells why".into()), ..facts() };
    finds(&deaf, Some(&passing(400)), "do not reach the host", None);
}

#[test]
fn outputs_by_reason() {
    let dropping = |reason: OutputDrop| {
        let mut watched = passing(400);
        watched.added.outputs[0].sent = 0;
        watched.added.outputs[0].dropped[reason as usize] = 400;
        watched
    };
    let degraded = || Facts { state: RuleState::Degraded, ..facts() };
    finds(
        &degraded(),
        Some(&dropping(OutputDrop::TtlExpired)),
        "output 1 (eth1) drops all of its packets, 400 (ttl_expired)",
        Some("mcrctl rule set feed --out eth1,ttl=64 --out eth2"),
    );
    let mut small = degraded();
    (small.outputs[0].interface.mtu, small.outputs[0].interface.limit) = (900, 900);
    finds(&small, Some(&dropping(OutputDrop::TooBig)), "MTU of eth1, 900", Some("ip link set dev eth1 mtu 1500"));
    finds(&degraded(), Some(&dropping(OutputDrop::TxRingFull)), "more slowly", None);
    // What was found before, while nothing comes now.
    let known = Facts { findings: vec![Finding::NothingSent(1, OutputDrop::TooBig)], ..degraded() };
    finds(
        &known,
        Some(&passing(0)),
        "output 2 (eth2) drops the last packets (too_big)",
        Some("ip link set dev eth2 mtu 1500"),
    );
    let healed = judge(&known, Some(&passing(400)));
    assert!(!healed.has_problem(), "what is sent now counts: {healed:?}");
    let mut down = degraded();
    down.outputs[1].interface.link = Link::Down;
    finds(&down, Some(&passing(400)), "eth2 is down: output 2 (eth2) sends nothing", Some("ip link set dev eth2 up"));
    let mut bare = degraded();
    bare.outputs[1].interface.link = Link::NoCarrier;
    finds(&bare, Some(&passing(400)), "eth2 has no carrier", None);
    let mut lost = degraded();
    lost.outputs[0].lack = Some("eth1 has no IPv4 address to send from".into());
    let fix = "mcrctl rule set feed --out eth1,source=keep --out eth2";
    finds(&lost, Some(&passing(400)), "eth1 has no IPv4 address", Some(fix));
    let mut gone = degraded();
    gone.outputs[0].interface =
        InterfaceFacts { name: "eth1".into(), absent: Some("no interface eth1".into()), ..InterfaceFacts::default() };
    gone.outputs[0].lack = Some("no interface eth1".into());
    finds(&gone, Some(&passing(400)), "no interface eth1: output 1 (eth1) sends nothing", None);
}

#[test]
fn a_loss_whose_cause_is_gone_is_told_as_past() {
    let mut facts = Facts {
        findings: vec![Finding::NothingSent(0, OutputDrop::TooBig), Finding::NothingSent(1, OutputDrop::LinkDown)],
        reading: Reading { outputs: vec![OutputReading::default(); 2], ..Reading::default() },
        ..facts()
    };
    facts.reading.outputs[0].dropped[OutputDrop::TooBig as usize] = 300;
    facts.outputs[0].longest = 1400;
    facts.outputs[1].interface.linked = Some(Duration::from_secs(1));
    let note = |facts: &Facts, at: usize| {
        let said = outputs::judge(facts, Some(&passing(0))).remove(at).finding;
        (said.text, said.result == CheckResult::Problem, said.fix)
    };
    let text = "output 1 (eth1) dropped 300 packets (too_big) before the MTU of eth1 became 1500";
    assert_eq!(note(&facts, 1), (text.into(), false, None));
    assert!(note(&facts, 3).0.ends_with("before the link of eth2 came up"), "{:?}", note(&facts, 3));
    facts.outputs[0].longest = 1600;
    let longer = "output 1 (eth1) drops the last packets (too_big): the packets are longer than the MTU of eth1, 1500; raise it, or let the sender send shorter ones";
    assert_eq!(note(&facts, 1), (longer.into(), true, Some("ip link set dev eth1 mtu 1600".into())));
    // An MTU that mcrd has no frames for.
    (facts.outputs[0].interface.mtu, facts.outputs[0].longest) = (3000, 2000);
    let (text, is_problem, fix) = note(&facts, 1);
    assert!(text.contains("longer than the 1500 bytes that the frames of eth1 hold; restart mcrd"), "{text}");
    assert!(is_problem && fix.is_none());
}

#[test]
fn names_and_addresses_that_were_lost() {
    let gone = |name: &str, now: &str| InterfaceFacts {
        name: name.into(),
        absent: Some(format!("no interface {name}")),
        renamed: Some(now.into()),
        ..InterfaceFacts::default()
    };
    let waiting = |why: &str| Facts { state: RuleState::Waiting, waiting: Some(why.into()), ..facts() };
    let ingress = Facts { ingress: gone("eth0", "lan0"), ..waiting("no interface eth0") };
    finds(&ingress, None, "no interface eth0; it is called lan0 now", Some("mcrctl rule set feed --in lan0"));
    let mut egress = waiting("no interface eth2");
    egress.outputs[1].interface = gone("eth2", "wan 0");
    let fix = "mcrctl rule set feed --out eth1 --out 'wan 0'";
    finds(&egress, None, "it is called wan 0 now", Some(fix));
    let more = Facts { waiting: Some("no interface eth0, eth2".into()), ..egress.clone() };
    finds(&more, None, "no interface eth0, eth2; eth2 is called wan 0 now", Some(fix));
    finds(&Facts { waiting: Some("no frames".into()), ..egress.clone() }, None, "no frames", None);
    let beside = Facts { state: RuleState::Degraded, waiting: None, ..egress };
    finds(&beside, Some(&passing(400)), "output 2 (eth2) sends nothing; it is called wan 0 now", Some(fix));

    let why = "eth1 has no IPv4 address to send from (`ip addr add ADDRESS/LEN dev eth1`)";
    let mut bare = waiting(why);
    finds(&bare, None, why, Some("mcrctl rule set feed --out eth1,source=keep --out eth2"));
    bare.outputs[0].lost_address = Some("10.2.0.1/24".into());
    finds(&bare, None, "it had 10.2.0.1/24", Some("ip address add 10.2.0.1/24 dev eth1"));
    let mut lost = Facts { state: RuleState::Degraded, waiting: None, ..bare };
    lost.outputs[0].lack = Some(why.into());
    finds(&lost, Some(&passing(400)), "it had 10.2.0.1/24", Some("ip address add 10.2.0.1/24 dev eth1"));
}

#[test]
fn what_workers_drop() {
    for (reason, text) in [
        (RuleDrop::Malformed, "checksum"),
        (RuleDrop::MartianSource, "source"),
        (RuleDrop::Oversize, "longer than a frame"),
        (RuleDrop::RxRing, "RX ring"),
    ] {
        let mut watched = passing(0);
        watched.added.matched_packets = 400;
        watched.added.dropped[reason as usize] = 400;
        finds(&facts(), Some(&watched), text, None);
        let before = Facts { findings: vec![Finding::AllDropped(reason)], state: RuleState::Degraded, ..facts() };
        finds(&before, Some(&passing(0)), text, None);
    }
}

#[test]
fn several_causes_each_stand_there_and_the_root_first() {
    let mut facts = facts();
    facts.outputs[0].interface.link = Link::Down;
    facts.outputs[1].interface.link = Link::NoCarrier;
    facts.unjoined = Some("eth0: 239.1.1.1 is not joined: no buffer space".into());
    let watched = arriving(Flow { port: Some(5002), ..Flow::example() });
    let explained = judge(&facts, Some(&watched));
    let problems: Vec<&str> =
        explained.findings.iter().filter(|f| f.result == CheckResult::Problem).map(|f| f.check.as_str()).collect();
    assert_eq!(problems, ["arrival", "membership", "output", "output"], "{explained:?}");
}

#[test]
fn commands_that_can_be_run_are_found() {
    assert_eq!(command_in("x; `ip link set eth1 up`").as_deref(), Some("ip link set eth1 up"));
    assert_eq!(command_in("`ip addr add ADDRESS/LEN dev eth1`"), None);
    assert_eq!(command_in("look at `ip -s link show eth1`"), None);
    assert_eq!(command_in("see `ip link show eth1`; `mcrctl doctor eth1` tells why"), None);
    assert_eq!(command_in("rejoin = `30s`"), None);
    assert_eq!(command_in("nothing"), None);
}
