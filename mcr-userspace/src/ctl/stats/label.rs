//! Outputs by what tells them apart.

use std::collections::HashMap;

use crate::control::protocol::OutputStats;

/// A text for each output of a rule: `[name=N ]IF[ vlan=V] GROUP:PORT`. Those that would look alike are numbered as in the metrics.
pub(in crate::ctl) fn labels(outputs: &[OutputStats]) -> Vec<String> {
    let plain: Vec<String> = outputs.iter().map(label).collect();
    let mut alike: HashMap<&str, usize> = HashMap::new();
    plain.iter().for_each(|label| *alike.entry(label).or_default() += 1);
    let numbered = plain.iter().enumerate().map(|(at, label)| match alike[label.as_str()] {
        1 => label.clone(),
        _ => format!("#{} {label}", at + 1),
    });
    numbered.collect()
}

fn label(output: &OutputStats) -> String {
    let name = output.name.as_ref().map(|name| format!("name={name} ")).unwrap_or_default();
    let vlan = output.vlan.as_ref().map(|vlan| format!(" vlan={vlan}")).unwrap_or_default();
    let port = output.port.map_or("any".to_owned(), |port| port.to_string());
    format!("{name}{}{vlan} {}:{port}", output.interface, output.group)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::spec::Scalar;

    #[test]
    fn no_two_outputs_look_alike() {
        let plain =
            OutputStats { interface: "eth1".into(), group: "239.1.1.1".into(), port: Some(5001), ..Default::default() };
        let vlan = |id| OutputStats { vlan: Some(Scalar::Number(id)), ..plain.clone() };
        let named = OutputStats { name: Some("hotel-a".into()), port: None, ..plain.clone() };
        assert_eq!(
            labels(&[plain.clone(), vlan(10), vlan(20), plain, named]),
            [
                "#1 eth1 239.1.1.1:5001",
                "eth1 vlan=10 239.1.1.1:5001",
                "eth1 vlan=20 239.1.1.1:5001",
                "#4 eth1 239.1.1.1:5001",
                "name=hotel-a eth1 239.1.1.1:any",
            ]
        );
    }
}
