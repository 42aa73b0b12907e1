//! A rule by itself: each kind of mistake, and all of them at once.

use super::*;

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
    assert!(warned.len() == 2 && warned[0].contains("224.0.0.0/24") && warned[1].contains("PTP"), "{warned:?}");
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
    assert_eq!(back(sourced, "").expect("only a warning").warnings.len(), 1);
}

#[test]
fn unknown_fields_are_refused() {
    assert!(serde_json::from_str::<RuleSpec>(r#"{"match":{"interface":"e0","gruop":"239.1.1.1"}}"#).is_err());
}
