//! Rules as the programs print them. Whether the kernel does the same with a query is shown by `firewall` of netns-tests.

use super::*;

const INPUT: &str = ",\"hook\":\"input\",\"policy\":\"accept\"";
const DROPPING: &str = ",\"hook\":\"input\",\"policy\":\"drop\"";
const DROP: &str = "{\"drop\":null}";
const ACCEPT: &str = "{\"accept\":null}";

fn nft(objects: &[String]) -> Ruleset {
    let text = format!("{{\"nftables\":[{}]}}", objects.join(","));
    Ruleset { nft: Listed::Text { text, program: "nft".into() }, ..Ruleset::default() }
}

fn chain(name: &str, more: &str) -> String {
    format!("{{\"chain\":{{\"family\":\"inet\",\"table\":\"t\",\"name\":\"{name}\"{more}}}}}")
}

fn rule(chain: &str, expr: &str) -> String {
    format!("{{\"rule\":{{\"family\":\"inet\",\"table\":\"t\",\"chain\":\"{chain}\",\"expr\":[{expr}]}}}}")
}

fn is(left: &str, op: &str, right: &str) -> String {
    format!("{{\"match\":{{\"op\":\"{op}\",\"left\":{left},\"right\":{right}}}}}")
}

/// `drops`, `may` or `passes`.
fn said(ruleset: &Ruleset) -> &'static str {
    let judgement = judge(ruleset, Kind::Query, "eth0");
    assert_eq!(judgement.unread, Vec::<String>::new());
    match (judgement.drops.is_empty(), judgement.may.is_empty()) {
        (false, _) => "drops",
        (true, false) => "may",
        (true, true) => "passes",
    }
}

/// A chain `in` with this policy and these rules, and a chain `side` that `in` may jump to.
fn judged(policy: &str, rules: &[&str], side: &[&str]) -> &'static str {
    let mut objects = vec![chain("in", policy), chain("side", "")];
    objects.extend(rules.iter().map(|expr| rule("in", expr)));
    objects.extend(side.iter().map(|expr| rule("side", expr)));
    said(&nft(&objects))
}

#[test]
fn policies_jumps_and_returns() {
    let back = "{\"return\":null}";
    let [jump, goto] = ["jump", "goto"].map(|word| format!("{{\"{word}\":{{\"target\":\"side\"}}}}"));
    assert_eq!(judged(INPUT, &[], &[]), "passes");
    assert_eq!(judged(DROPPING, &[], &[]), "drops");
    assert_eq!(judged("", &[DROP], &[]), "passes", "it is hooked in nowhere");
    assert_eq!(judged(DROPPING, &[&jump], &[ACCEPT]), "passes");
    assert_eq!(judged(DROPPING, &[&jump, ACCEPT], &[back]), "passes");
    assert_eq!(judged(DROPPING, &[&goto, ACCEPT], &[back]), "drops", "a goto does not come back");
    assert_eq!(judged(INPUT, &[&jump], &[DROP]), "drops");
    let limited = format!("{{\"limit\":{{\"rate\":1}}}},{ACCEPT}");
    assert_eq!(judged(DROPPING, &[&limited], &[]), "may");
    assert_eq!(judged(DROPPING, &[&limited, ACCEPT], &[]), "passes");
    assert_eq!(
        judged(INPUT, &[&jump, ACCEPT], &["{\"jump\":{\"target\":\"in\"}}"]),
        "may",
        "the kernel has no such rules"
    );
    // Each chain that is hooked in counts for itself.
    assert_eq!(said(&nft(&[chain("in", INPUT), chain("early", DROPPING), rule("in", ACCEPT)])), "drops");
    for end in [DROP, "{\"reject\":{\"type\":\"icmp\"}}"] {
        assert_eq!(judged(INPUT, &[end], &[]), "drops", "{end}");
    }
}

#[test]
fn matches() {
    let protocol = "{\"payload\":{\"protocol\":\"ip\",\"field\":\"protocol\"}}";
    let to = "{\"payload\":{\"protocol\":\"ip\",\"field\":\"daddr\"}}";
    let from = "{\"payload\":{\"protocol\":\"ip\",\"field\":\"saddr\"}}";
    let port = "{\"payload\":{\"protocol\":\"tcp\",\"field\":\"dport\"}}";
    let meta = |key: &str| format!("{{\"meta\":{{\"key\":\"{key}\"}}}}");
    let (iif, l4, packet) = (meta("iifname"), meta("l4proto"), meta("pkttype"));
    let prefix = |addr: &str, len: u32| format!("{{\"prefix\":{{\"addr\":\"{addr}\",\"len\":{len}}}}}");
    let state = "{\"ct\":{\"key\":\"state\"}}";
    let concat = format!("{{\"concat\":[{iif},{l4}]}}");
    let cases = [
        (is(protocol, "==", "\"igmp\""), "passes"),
        (is(protocol, "==", "2"), "passes"),
        (is(protocol, "!=", "\"igmp\""), "drops"),
        (is(&l4, "==", "{\"set\":[\"icmp\",\"igmp\"]}"), "passes"),
        (is(&l4, "!=", "{\"set\":[6,17]}"), "passes"),
        (is(&l4, "==", "{\"set\":[6,17]}"), "drops"),
        (is(&l4, "<", "3"), "passes"),
        (is(&iif, "==", "\"eth0\""), "passes"),
        (is(&iif, "==", "\"eth*\""), "passes"),
        (is(&iif, "==", "\"eth1\""), "drops"),
        (is(&iif, "==", "{\"set\":[\"lo\",\"eth1\"]}"), "drops"),
        (is(to, "==", &prefix("224.0.0.0", 4)), "passes"),
        (is(to, "==", &prefix("239.0.0.0", 8)), "drops"),
        (is(to, "==", "{\"range\":[\"224.0.0.0\",\"224.0.0.255\"]}"), "passes"),
        (is(to, "==", "{\"set\":[{\"elem\":{\"val\":\"224.0.0.1\",\"timeout\":5}}]}"), "passes"),
        (is(from, "==", &prefix("10.0.0.0", 8)), "may"),
        (is(port, "==", "22"), "drops"),
        (is(port, "!=", "22"), "drops"),
        (is(&packet, "==", "\"multicast\""), "passes"),
        (is(state, "in", "[\"established\",\"related\"]"), "drops"),
        (is(state, "in", "[\"new\",\"untracked\"]"), "passes"),
        (is(&meta("mark"), "==", "1"), "may"),
        (is(&concat, "==", "{\"concat\":[\"eth0\",\"igmp\"]}"), "passes"),
        (is(&concat, "==", "{\"set\":[{\"concat\":[\"eth0\",\"udp\"]}]}"), "drops"),
        (is("{\"&\":[1,2]}", "==", "1"), "may"),
        ("{\"xt\":null}".to_owned(), "may"),
        ("{\"counter\":null}".to_owned(), "passes"),
    ];
    for (condition, expected) in cases {
        assert_eq!(judged(DROPPING, &[&format!("{condition},{ACCEPT}")], &[]), expected, "{condition}");
    }
}

#[test]
fn sets_and_maps_with_names() {
    let iif = "{\"meta\":{\"key\":\"iifname\"}}";
    let named = |kind: &str, elements: &str| {
        format!("{{\"{kind}\":{{\"family\":\"inet\",\"table\":\"t\",\"name\":\"x\",\"elem\":[{elements}]}}}}")
    };
    let of = |elements: &str| {
        let accept = rule("in", &format!("{},{ACCEPT}", is(iif, "==", "\"@x\"")));
        said(&nft(&[named("set", elements), chain("in", DROPPING), accept]))
    };
    assert_eq!([of("\"eth0\",\"eth1\""), of("\"eth1\""), of("")], ["passes", "drops", "drops"]);
    let map = |data: &str| format!("{{\"vmap\":{{\"key\":{iif},\"data\":{data}}}}}");
    let verdicts = format!("[\"lo\",{DROP}],[\"eth0\",{ACCEPT}]");
    assert_eq!(judged(DROPPING, &[&map(&format!("{{\"set\":[{verdicts}]}}"))], &[]), "passes");
    let by_name = [named("map", &verdicts), chain("in", DROPPING), rule("in", &map("\"@x\""))];
    assert_eq!(said(&nft(&by_name)), "passes");
    let others = format!("{{\"set\":[[\"eth1\",{ACCEPT}],[\"*\",{DROP}]]}}");
    assert_eq!(judged(INPUT, &[&map(&others)], &[]), "drops");
}

#[test]
fn ingress_is_of_an_interface() {
    let ingress = |dev: &str| {
        let more = format!(",\"hook\":\"ingress\",\"dev\":{dev},\"policy\":\"drop\"");
        said(&nft(&[chain("early", &more)]))
    };
    assert_eq!(["\"eth0\"", "[\"lo\",\"eth0\"]", "\"eth1\""].map(ingress), ["drops", "drops", "passes"]);
}

fn legacy(lines: &str) -> &'static str {
    let text = format!("*filter\n:INPUT DROP [0:0]\n:side - [0:0]\n{lines}\nCOMMIT\n");
    let xtables = Listed::Text { text, program: "iptables-legacy".into() };
    said(&Ruleset { xtables, ..Ruleset::default() })
}

#[test]
fn rules_of_the_older_kind() {
    let cases = [
        ("", "drops"),
        ("-A INPUT -p igmp -j ACCEPT", "passes"),
        ("-A INPUT -p 2 -j ACCEPT", "passes"),
        ("-A INPUT ! -p tcp -j ACCEPT", "passes"),
        ("-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT", "drops"),
        ("-A INPUT -i eth+ -j ACCEPT", "passes"),
        ("-A INPUT ! -i eth0 -j ACCEPT", "drops"),
        ("-A INPUT -d 224.0.0.0/4 -m comment --comment \"all of -j \\\"them\\\"\" -j ACCEPT", "passes"),
        ("-A INPUT -s 10.0.0.0/8 -j ACCEPT", "may"),
        ("-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", "drops"),
        ("-A INPUT -m pkttype --pkt-type multicast -j ACCEPT", "passes"),
        ("-A INPUT -m set --match-set them src -j ACCEPT", "may"),
        ("-A INPUT -j side\n-A INPUT -j ACCEPT\n-A side -p igmp -j DROP", "drops"),
        ("-A INPUT -g side\n-A INPUT -j ACCEPT\n-A side -p udp -j ACCEPT", "drops"),
        ("-A INPUT -j LOG --log-prefix \"x\"\n-A INPUT -j ACCEPT", "passes"),
    ];
    for (lines, expected) in cases {
        assert_eq!(legacy(lines), expected, "{lines}");
    }
}

#[test]
fn what_cannot_be_read_is_said() {
    let listed = |text: &str| Listed::Text { text: text.into(), program: "nft".into() };
    for text in ["", "[]", "{\"nftables\":3}"] {
        let judgement = judge(&Ruleset { nft: listed(text), ..Ruleset::default() }, Kind::Query, "eth0");
        assert_eq!((judgement.unread.len(), judgement.drops.len()), (1, 0), "{text}");
    }
}

/// A chain on the way out, and on the way in, with the same rules.
#[test]
fn reports_go_out() {
    let hooked = |hook: &str| format!(",\"hook\":\"{hook}\",\"policy\":\"accept\"");
    let reports = |hook: &str, expr: &str| {
        let ruleset = nft(&[chain("c", &hooked(hook)), rule("c", expr)]);
        !judge(&ruleset, Kind::Report, "eth0").drops.is_empty()
    };
    let meta = |key: &str| format!("{{\"meta\":{{\"key\":\"{key}\"}}}}");
    let kind = "{\"payload\":{\"protocol\":\"igmp\",\"field\":\"type\"}}";
    let to = "{\"payload\":{\"protocol\":\"ip\",\"field\":\"daddr\"}}";
    let dropping = |left: &str, op: &str, right: &str| format!("{},{DROP}", is(left, op, right));
    for (hook, wanted) in [("output", true), ("postrouting", true), ("input", false), ("prerouting", false)] {
        assert_eq!(reports(hook, DROP), wanted, "{hook}");
    }
    for (expr, wanted) in [
        (dropping(&meta("oifname"), "==", "\"eth0\""), true),
        (dropping(&meta("oifname"), "!=", "\"eth0\""), false),
        (dropping(&meta("iifname"), "==", "\"eth0\""), false),
        (dropping(&meta("iifname"), "!=", "\"lo\""), true),
        (dropping(kind, "==", "\"membership-query\""), false),
        (dropping(kind, "==", "34"), true),
        (dropping(to, "==", "\"224.0.0.22\""), true),
    ] {
        assert_eq!(reports("output", &expr), wanted, "{expr}");
    }
    let legacy = |text: &str| {
        let listed = Listed::Text { text: text.into(), program: "iptables-legacy".into() };
        judge(&Ruleset { xtables: listed, ..Ruleset::default() }, Kind::Report, "eth0").drops
    };
    assert!(legacy("*filter\n:INPUT DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -o eth1 -p igmp -j DROP\n").is_empty());
    let drops = legacy("*filter\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -o eth0 -p igmp -j DROP\n");
    assert_eq!(drops[0].fix, "iptables-legacy -t filter -I OUTPUT -p igmp -j ACCEPT");
}
