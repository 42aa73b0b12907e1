//! A rule by itself: each kind of mistake, and all of them at once.

use super::*;
use crate::rules::rule::{Source, Ttl, Vlan};

fn spec(json: &str) -> RuleSpec {
    serde_json::from_str(json).expect("a rule as typed")
}

/// A rule whose match and only output are the given fields besides what is required.
fn with(matcher: &str, output: &str) -> Result<Checked, Vec<Problem>> {
    check_rule(&spec(&format!(
        r#"{{"match":{{"interface":"veth1",{matcher}}},"output":[{{"interface":"veth2"{output}}}]}}"#
    )))
}

fn keys(result: Result<Checked, Vec<Problem>>) -> Vec<String> {
    result.err().unwrap_or_default().into_iter().map(|problem| problem.key).collect()
}

#[test]
fn defaults_and_names() {
    let checked = with(r#""group":"239.1.1.1""#, "").expect("right");
    assert_eq!(checked.rule.name, "veth1:239.1.1.1:any");
    let output = &checked.rule.outputs[0];
    assert_eq!((output.group, output.port, output.dscp), (None, None, None));
    assert_eq!((output.source, output.ttl, output.vlan), (Source::Interface, Ttl::Decrement, Vlan::None));
    let named = with(r#""group":"239.1.1.0/28","port":"5001-5050","source":"10.0.0.0/8""#, "").expect("right");
    assert_eq!(named.rule.name, "veth1:239.1.1.0/28:5001-5050:10.0.0.0/8");
}

#[test]
fn what_is_shown_can_be_typed_again() {
    let typed = spec(
        r#"{"name":"a","stall_after":"5s",
            "match":{"interface":"e0","group":"239.1.1.0/28","port":"5001-5050","source":"10.0.0.5","vlan":7},
            "output":[{"name":"x","interface":"e1","group":"239.2.0.16","port":"6001","source":"keep","ttl":"keep","dscp":46,"vlan":"keep"},
                      {"interface":"e2","source":"192.0.2.1","ttl":16,"vlan":9},{"interface":"e0"}]}"#,
    );
    let rule = check_rule(&typed).expect("right").rule;
    assert_eq!(check_rule(&RuleSpec::from(&rule)).expect("right").rule, rule);
}

#[test]
fn every_error_at_once() {
    let wrong = spec(
        r#"{"name":"a b","stall_after":"soon",
            "match":{"interface":"a/b","group":"10.0.0.1","port":0,"source":"10.0.0.1/24","vlan":4095},
            "output":[{"name":"","interface":"","group":"1.2.3.4","port":"x","source":"239.1.1.1","ttl":0,"dscp":64,"vlan":0}]}"#,
    );
    let keys = keys(check_rule(&wrong));
    let wanted = "name stall_after match.interface match.group match.port match.source match.vlan output[0].name \
        output[0].interface output[0].group output[0].port output[0].source output[0].ttl output[0].dscp output[0].vlan";
    assert_eq!(keys, wanted.split_whitespace().collect::<Vec<_>>());
}

#[test]
fn groups() {
    for good in ["224.0.1.0", "239.255.255.255", "224.0.0.0/4", "224.0.0.0/23", "239.0.0.0/8"] {
        assert_eq!(keys(with(&format!(r#""group":"{good}""#), "")), [""; 0], "{good}");
    }
    for bad in [
        "224.0.0.1",
        "224.0.0.0/24",
        "224.0.0.128/25",
        "0.0.0.0/0",
        "224.0.0.0/3",
        "240.0.0.0",
        "239.1.1.1/24",
        "ff02::1",
        "x",
    ] {
        assert_eq!(keys(with(&format!(r#""group":"{bad}""#), "")), ["match.group"], "{bad}");
    }
    let warned = with(r#""group":"224.0.0.0/4","port":"300-330""#, "").expect("right").warnings;
    assert!(warned.len() == 2 && warned[0].key == "match.group" && warned[1].key == "match.port", "{warned:?}");
}

#[test]
fn ranges_keep_their_offset_within_bounds() {
    let range = r#""group":"239.1.1.0/28","port":"5001-5050""#;
    for good in [r#","group":"239.10.1.16""#, r#","port":65486"#] {
        assert_eq!(keys(with(range, good)), [""; 0], "{good}");
    }
    for (bad, key) in [
        (r#","group":"239.10.1.1""#, "output[0].group"),
        (r#","group":"239.10.1.0/28""#, "output[0].group"),
        (r#","group":"224.0.0.16""#, "output[0].group"),
        (r#","port":65487"#, "output[0].port"),
        (r#","port":"6001-6050""#, "output[0].port"),
    ] {
        assert_eq!(keys(with(range, bad)), [key], "{bad}");
    }
    assert_eq!(keys(with(r#""group":"239.0.0.0/8""#, r#","group":"224.0.0.0""#)), ["output[0].group"]);
}

#[test]
fn outputs_from_1_to_64_with_unlike_names() {
    let count = |n: usize| {
        let output = vec![r#"{"interface":"e1"}"#; n].join(",");
        keys(check_rule(&spec(&format!(r#"{{"match":{{"interface":"e0","group":"239.1.1.1"}},"output":[{output}]}}"#))))
    };
    assert_eq!(count(64), [""; 0]);
    assert_eq!((count(0), count(65)), (vec!["output".to_owned()], vec!["output".to_owned()]));
    let twice = r#"{"match":{"interface":"e0","group":"239.1.1.1"},"output":[{"name":"a","interface":"e1"},{"name":"a","interface":"e2"}]}"#;
    assert_eq!(keys(check_rule(&spec(twice))), ["output[1].name"]);
}

#[test]
fn an_output_back_to_its_own_rule() {
    let back = |matcher: &str, output: &str| {
        let json = format!(r#"{{"match":{{"interface":"e0",{matcher}}},"output":[{{"interface":"e0"{output}}}]}}"#);
        check_rule(&spec(&json))
    };
    let one = r#""group":"239.1.1.1","port":5001"#;
    assert_eq!(keys(back(one, "")), ["output[0]"]);
    assert_eq!(keys(back(one, r#","group":"239.1.1.2""#)), [""; 0]);
    assert_eq!(keys(back(one, r#","port":5002"#)), [""; 0]);
    assert_eq!(keys(back(one, r#","vlan":7"#)), [""; 0]);
    // The ranges overlap in part.
    assert_eq!(keys(back(r#""group":"239.1.1.1","port":"5001-5050""#, r#","port":5050"#)), ["output[0]"]);
    assert_eq!(keys(back(r#""group":"239.1.1.1","port":"5001-5050""#, r#","port":5051"#)), [""; 0]);
    let sourced = r#""group":"239.1.1.1","source":"10.0.0.0/24""#;
    assert_eq!(keys(back(sourced, r#","source":"keep""#)), ["output[0]"]);
    assert_eq!(keys(back(sourced, r#","source":"10.0.1.1""#)), [""; 0]);
    assert_eq!(back(sourced, "").expect("only a warning").warnings[0].kind, Kind::OwnLoop);
}

#[test]
fn a_loop_is_named_with_what_goes_round() {
    let told = |name: &str, matcher: &str, output: &str| {
        let json = format!(
            r#"{{{name}"match":{{"interface":"e0",{matcher}}},"output":[{{"interface":"e1"}},{{"interface":"e0"{output}}}]}}"#
        );
        let problems = check_rule(&spec(&json)).expect_err("a loop");
        problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
    };
    let ranges = r#""group":"239.1.1.0/28","port":"5001-5050","vlan":7"#;
    let message = told(r#""name":"feed","#, ranges, r#","port":5041,"vlan":"keep""#);
    let cycle =
        "output[1]: leads back to its own rule on e0 VLAN 7, `feed` -> e0 VLAN 7 239.1.1.0/28:5041-5050 -> `feed`, ";
    assert!(message.starts_with(cycle), "{message}");
    let message = told("", r#""group":"239.1.1.1""#, r#","port":6001"#);
    assert!(message.contains(", `e0:239.1.1.1:any` -> e0 239.1.1.1:6001 -> `e0:239.1.1.1:any`, "), "{message}");
    // It is told beside all else that is wrong, the name included.
    let message = told(r#""name":"a b","#, r#""group":"239.1.1.1""#, r#","ttl":0"#);
    assert_eq!(
        message.lines().map(|line| line.split(':').next()).collect::<Vec<_>>(),
        [Some("name"), Some("output[1].ttl")]
    );
    let message = told(r#""name":"a b","#, r#""group":"239.1.1.1""#, "");
    assert!(
        message.lines().count() == 2 && message.contains(", the rule -> e0 239.1.1.1:any -> the rule, "),
        "{message}"
    );
}

#[test]
fn a_default_name_is_no_longer_than_a_name_may_be() {
    let longest = r#"{"match":{"interface":"123456789012345","group":"239.255.255.240/28","port":"50010-50500","source":"192.168.100.128/25"},"output":[{"interface":"e1"}]}"#;
    let name = check_rule(&spec(longest)).expect("right").rule.name;
    assert_eq!(value::name(&name), Ok(name));
}

#[test]
fn what_was_typed_is_shown_in_one_short_line() {
    let long = "\u{1b}[31m\n".repeat(1000);
    let mut wrong = spec(r#"{"match":{"interface":"e0"},"output":[{"interface":"e1"}]}"#);
    let (text, scalar) = (Some(long.clone()), Some(Scalar::Text(long.clone())));
    wrong.name = text.clone();
    wrong.stall_after = text.clone();
    wrong.matcher = MatchSpec {
        interface: long.clone(),
        group: long,
        port: scalar.clone(),
        source: text.clone(),
        vlan: scalar.clone(),
    };
    let output = &mut wrong.output[0];
    (output.name, output.interface, output.group, output.source) =
        (text.clone(), text.clone().unwrap_or_default(), text.clone(), text);
    (output.port, output.ttl, output.dscp, output.vlan) = (scalar.clone(), scalar.clone(), scalar.clone(), scalar);
    let problems = check_rule(&wrong).expect_err("all of it");
    assert_eq!(problems.len(), 15);
    for problem in problems {
        let line = problem.to_string();
        assert!(line.len() < 600 && !line.contains(char::is_control), "{line:?}");
    }
}

#[test]
fn unknown_fields_are_refused() {
    assert!(serde_json::from_str::<RuleSpec>(r#"{"match":{"interface":"e0","gruop":"239.1.1.1"}}"#).is_err());
}

/// A frame with VLAN ID 0 is in no VLAN, so it is matched as an untagged frame is; an output cannot name it.
#[test]
fn vlan_0_is_none() {
    for (typed, found) in [("0", None), ("\"0\"", None), ("7", Some(7))] {
        let checked = with(&format!(r#""group":"239.1.1.1","vlan":{typed}"#), "").expect("right");
        assert_eq!(checked.rule.matcher.vlan, found, "{typed}");
    }
    let problems = with(r#""group":"239.1.1.1","vlan":7"#, r#","vlan":0"#).expect_err("an output in no VLAN");
    assert!(problems.len() == 1 && problems[0].message.contains("`none`"), "{problems:?}");
}
