//! `SPEC` of `--out`: `IF[,name=N][,group=G][,port=P][,source=..][,ttl=..][,dscp=N][,vlan=..]`.

use crate::rules::{
    spec::{OutputSpec, Scalar},
    value::shown,
};

const KEYS: [&str; 7] = ["name", "group", "port", "source", "ttl", "dscp", "vlan"];

/// The output as typed, and each thing in it that is not `KEY=VALUE` of a known key, or is there twice.
///
/// Values are not judged here: [`check_rule`](crate::rules::check::check_rule) does.
pub(super) fn parse_output(text: &str) -> (OutputSpec, Vec<String>) {
    let mut problems = Vec::new();
    let mut parts = text.split(',');
    let interface = parts.next().unwrap_or_default();
    if interface.contains('=') && interface.split('=').next().is_some_and(|key| KEYS.contains(&key)) {
        let interface = shown(interface);
        problems.push(format!("begins with `{interface}`; write the interface first: IF,{interface}"));
    }
    let mut values: [Option<String>; KEYS.len()] = Default::default();
    for part in parts {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        match KEYS.iter().position(|known| *known == key) {
            None => problems.push(format!("`{}` is not known; write {}", shown(part), KEYS.join("=, ") + "=")),
            Some(_) if value.is_empty() => problems.push(format!("`{key}` has no value; write {key}=VALUE")),
            Some(i) if values[i].is_some() => problems.push(format!("`{key}` is there twice; write it once")),
            Some(i) => values[i] = Some(value.to_owned()),
        }
    }
    let [name, group, port, source, ttl, dscp, vlan] = values;
    let output = OutputSpec {
        name,
        interface: interface.to_owned(),
        group,
        port: port.map(Scalar::Text),
        source,
        ttl: ttl.map(Scalar::Text),
        dscp: dscp.map(Scalar::Text),
        vlan: vlan.map(Scalar::Text),
    };
    (output, problems)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn all_keys_in_any_order() {
        let text = "veth2,vlan=7,dscp=46,ttl=keep,source=192.0.2.1,port=6001,group=239.10.1.1,name=east";
        let wanted = OutputSpec {
            name: Some("east".into()),
            interface: "veth2".into(),
            group: Some("239.10.1.1".into()),
            port: Some("6001".into()),
            source: Some("192.0.2.1".into()),
            ttl: Some("keep".into()),
            dscp: Some("46".into()),
            vlan: Some("7".into()),
        };
        assert_eq!(parse_output(text), (wanted, vec![]));
    }

    #[test]
    fn every_mistake_is_told() {
        let (_, problems) = parse_output("veth2,ttl,gruop=1,port=1,port=2,");
        assert_eq!(problems.len(), 4, "{problems:?}");
        let (_, problems) = parse_output("group=239.1.1.1,port=1");
        assert!(problems[0].contains("interface first"), "{problems:?}");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(interface in "[a-z0-9.]{1,15}", values in proptest::collection::vec(proptest::option::of("[a-z0-9.=-]{1,20}"), 7)) {
            let mut text = interface.clone();
            for (key, value) in KEYS.iter().zip(&values) {
                if let Some(value) = value {
                    text += &format!(",{key}={value}");
                }
            }
            let (output, problems) = parse_output(&text);
            prop_assert!(problems.is_empty());
            prop_assert_eq!(output.interface, interface);
            let scalar = |value: Option<Scalar>| value.map(|value| value.to_string());
            let read = [output.name, output.group, scalar(output.port), output.source, scalar(output.ttl), scalar(output.dscp), scalar(output.vlan)];
            prop_assert_eq!(read.to_vec(), values);
        }

        #[test]
        fn nothing_makes_it_panic(text in ".*") {
            parse_output(&text);
        }
    }
}
