//! What names an output apart from all others.

use crate::rules::rule::{Output, Rule, Vlan};

/// The labels of an output that `stats` does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputLabels {
    /// Its name, or else its number in the rule, from 1.
    pub output: String,
    /// The tag of what it sends, as a rule says it: `none`, `keep`, or the VLAN's ID.
    pub vlan: String,
}

/// Those of each output of `rule`, no two with the same [`OutputLabels::output`].
pub fn of(rule: &Rule) -> Vec<OutputLabels> {
    let label = |(i, output): (usize, &Output)| OutputLabels {
        output: output.name.clone().unwrap_or_else(|| number(rule, i)),
        vlan: match output.vlan {
            Vlan::None => "none".to_owned(),
            Vlan::Keep => "keep".to_owned(),
            Vlan::Set(id) => id.to_string(),
        },
    };
    rule.outputs.iter().enumerate().map(label).collect()
}

/// The number of output `i`, with `#` before it where another output has that number for its name.
fn number(rule: &Rule, i: usize) -> String {
    let mut number = (i + 1).to_string();
    while rule.outputs.iter().any(|output| output.name.as_ref() == Some(&number)) {
        number.insert(0, '#');
    }
    number
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{check::check_rule, spec::RuleSpec};

    #[test]
    fn outputs_that_differ_in_vlan_or_name_alone_are_told_apart() {
        let rule = r#"{"match":{"interface":"a","group":"239.1.1.1","port":5001},"output":[
            {"interface":"b"},{"interface":"b","vlan":100},{"interface":"b","vlan":"keep"},
            {"interface":"b","name":"spare"},{"interface":"b","name":"1"}]}"#;
        let spec: RuleSpec = serde_json::from_str(rule).expect("a rule");
        let labels = of(&check_rule(&spec).expect("in order").rule);
        let labels: Vec<(&str, &str)> =
            labels.iter().map(|labels| (labels.output.as_str(), labels.vlan.as_str())).collect();
        assert_eq!(labels, [("#1", "none"), ("2", "100"), ("3", "keep"), ("spare", "none"), ("1", "none")]);
    }
}
