//! Outputs that send into the same group and port what came from different ones: receivers get both.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Kind, Warning};
use crate::rules::{
    reach::{last_address, segment, sent_groups, sent_ports, sent_vlan, shared_ports},
    rule::{Match, Output, Ports, Prefix, Rule},
};

/// Places looked at for one output: where so many of one origin overlap, one more that is not of it may be missed.
const MOST_LOOKED_AT: usize = 256;

/// What rules send to each interface and VLAN.
#[derive(Clone, Debug, Default)]
pub struct Sent {
    links: HashMap<Link, Groups>,
}

/// Egress interface and VLAN.
type Link = (String, Option<u16>);

/// Groups of one link.
#[derive(Clone, Debug)]
struct Groups {
    places: BTreeMap<Prefix, Places>,
    /// How many distinct groups have each length: only lengths in use are looked for.
    lengths: [u32; 33],
}

/// Ports of one group, or prefix of groups.
#[derive(Clone, Debug, Default)]
struct Places {
    exact: BTreeMap<u16, Senders>,
    ranges: BTreeMap<(u16, u16), Senders>,
}

/// Who sends to one place.
type Senders = BTreeMap<Origin, BTreeSet<Sender>>;
/// A rule and the number of its output.
type Sender = (String, usize);

/// Where packets of a group and port that are sent have come from. Of two outputs with the same origin, packets of one group and port
/// were of one group and port before.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Origin {
    interface: String,
    vlan: Option<u16>,
    /// From the group that came to the one that is sent.
    shift: u32,
    ports: PortChange,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum PortChange {
    Shift(u16),
    /// All ports become one.
    All,
}

impl Sent {
    /// Adds what a rule sends, and tells where another output sends too.
    pub fn insert(&mut self, rule: &Rule) -> Vec<Warning> {
        let mut warnings = Vec::new();
        for (i, output) in rule.outputs.iter().enumerate() {
            let (groups, ports) = (sent_groups(&rule.matcher, output), sent_ports(&rule.matcher, output));
            let link = link(&rule.matcher, output);
            let (origin, place) = (origin(&rule.matcher, output), segment(&link.0, link.1));
            let known = self.links.entry(link).or_default();
            if let Some((name, output)) = known.other(groups, ports, &origin) {
                let other = match *name == rule.name {
                    true => format!("output[{output}]"),
                    false => format!("rule `{name}`"),
                };
                warnings.push(Kind::Mixed.at(
                    format!("output[{i}]"),
                    format!(
                        "sends {groups}:{ports} to {place}, where {other} sends other packets to the same group and port, so \
                         receivers get both mixed; change the group, port, interface or VLAN of one"
                    ),
                ));
            }
            known.insert(groups, ports, origin, (rule.name.clone(), i));
        }
        warnings
    }

    /// Takes out what a rule sends that is in.
    pub fn remove(&mut self, rule: &Rule) {
        for (i, output) in rule.outputs.iter().enumerate() {
            let (groups, ports) = (sent_groups(&rule.matcher, output), sent_ports(&rule.matcher, output));
            let link = link(&rule.matcher, output);
            if let Some(known) = self.links.get_mut(&link) {
                known.remove(groups, ports, &origin(&rule.matcher, output), &(rule.name.clone(), i));
                if known.places.is_empty() {
                    self.links.remove(&link);
                }
            }
        }
    }
}

fn link(matcher: &Match, output: &Output) -> Link {
    (output.interface.clone(), sent_vlan(matcher, output))
}

fn origin(matcher: &Match, output: &Output) -> Origin {
    let shift = |to: u32| to.wrapping_sub(matcher.group.address.into());
    Origin {
        interface: matcher.interface.clone(),
        vlan: matcher.vlan,
        shift: output.group.map_or(0, |group| shift(group.into())),
        ports: match (output.port, matcher.ports) {
            (None, _) => PortChange::Shift(0),
            (Some(to), Ports::Exact(from) | Ports::Range(from, _)) => PortChange::Shift(to.wrapping_sub(from)),
            (Some(_), Ports::Any) => PortChange::All,
        },
    }
}

impl Default for Groups {
    fn default() -> Self {
        Self { places: BTreeMap::new(), lengths: [0; 33] }
    }
}

impl Groups {
    /// Who sends packets of another origin to some of these groups and ports.
    fn other(&self, groups: Prefix, ports: Ports, origin: &Origin) -> Option<&Sender> {
        // A prefix that overlaps is one of the shorter ones that contain this, or lies within this.
        let wider = (0..groups.length).filter(|length| self.lengths[usize::from(*length)] > 0).filter_map(|length| {
            let wide = Prefix { address: groups.address, length };
            self.places.get(&Prefix { address: (u32::from(wide.address) & wide.mask()).into(), length })
        });
        let last = Prefix { address: last_address(groups), length: 32 };
        let within = self.places.range(groups..=last).map(|(_, places)| places).take(MOST_LOOKED_AT);
        wider.chain(within).find_map(|places| places.other(ports, origin))
    }

    fn insert(&mut self, groups: Prefix, ports: Ports, origin: Origin, sender: Sender) {
        let lengths = &mut self.lengths;
        let places = self.places.entry(groups).or_insert_with(|| {
            lengths[usize::from(groups.length)] += 1;
            Places::default()
        });
        let senders = match ports {
            Ports::Exact(port) => places.exact.entry(port).or_default(),
            Ports::Range(..) | Ports::Any => places.ranges.entry(ports.bounds()).or_default(),
        };
        senders.entry(origin).or_default().insert(sender);
    }

    fn remove(&mut self, groups: Prefix, ports: Ports, origin: &Origin, sender: &Sender) {
        let Some(places) = self.places.get_mut(&groups) else { return };
        match ports {
            Ports::Exact(port) => take_out(&mut places.exact, port, origin, sender),
            Ports::Range(..) | Ports::Any => take_out(&mut places.ranges, ports.bounds(), origin, sender),
        }
        if places.exact.is_empty() && places.ranges.is_empty() {
            self.places.remove(&groups);
            self.lengths[usize::from(groups.length)] -= 1;
        }
    }
}

fn take_out<P: Ord>(places: &mut BTreeMap<P, Senders>, ports: P, origin: &Origin, sender: &Sender) {
    let Some(senders) = places.get_mut(&ports) else { return };
    if let Some(of_origin) = senders.get_mut(origin) {
        of_origin.remove(sender);
        if of_origin.is_empty() {
            senders.remove(origin);
        }
    }
    if senders.is_empty() {
        places.remove(&ports);
    }
}

impl Places {
    fn other(&self, ports: Ports, origin: &Origin) -> Option<&Sender> {
        let (first, last) = ports.bounds();
        let shares = |(bounds, _): &(&(u16, u16), &Senders)| {
            shared_ports(Ports::Range(bounds.0, bounds.1), Ports::Range(first, last)).is_some()
        };
        let exact = self.exact.range(first..=last).map(|(_, senders)| senders);
        let ranges = self.ranges.iter().take(MOST_LOOKED_AT).filter(shares).map(|(_, senders)| senders);
        let mut senders = ranges.chain(exact.take(MOST_LOOKED_AT));
        senders.find_map(|senders| {
            let of_others = senders.iter().find(|(other, _)| *other != origin);
            of_others.and_then(|(_, of_others)| of_others.first())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{check::check_rule, set::RuleSet, spec::RuleSpec};

    fn rule(name: &str, matcher: &str, outputs: &[&str]) -> Rule {
        let outputs: Vec<String> = outputs.iter().map(|output| format!("{{{output}}}")).collect();
        let json = format!(r#"{{"name":"{name}","match":{{{matcher}}},"output":[{}]}}"#, outputs.join(","));
        let spec: RuleSpec = serde_json::from_str(&json).expect("a rule as typed");
        check_rule(&spec).expect("a right rule").rule
    }

    const A: &str = r#""interface":"e0","group":"239.1.1.1","port":5001"#;
    const OUT: &str = r#""interface":"e2","group":"239.10.1.1","port":6001"#;

    /// Messages about `b` beside `a`.
    fn beside(a: &Rule, b: &Rule) -> Vec<String> {
        let mut set = RuleSet::new(10);
        set.insert(a.clone()).expect("one rule");
        let warnings = set.insert(b.clone()).expect("no conflict");
        set.remove(&a.name);
        let alone = set.replace(b.clone()).expect("it is there").1;
        assert!(alone.iter().all(|warning| warning.kind != Kind::Mixed), "{alone:?}");
        let mixed = warnings.into_iter().filter(|warning| warning.kind == Kind::Mixed);
        mixed.map(|warning| warning.to_string()).collect()
    }

    #[test]
    fn two_rules_into_one_group_and_port() {
        let a = rule("a", A, &[OUT]);
        for (matcher, output) in [
            (r#""interface":"e0","group":"239.1.1.2","port":5001"#, OUT),
            (r#""interface":"e1","group":"239.1.1.1","port":5001"#, OUT),
            (r#""interface":"e0","group":"239.1.1.1","port":5002"#, OUT),
            (r#""interface":"e0","group":"239.1.1.1","port":5001,"vlan":7"#, OUT),
            // Kept as they are.
            (r#""interface":"e1","group":"239.10.1.1","port":6001"#, r#""interface":"e2""#),
            (r#""interface":"e1","group":"239.10.1.1","port":"6000-6005""#, r#""interface":"e2","source":"keep""#),
            (
                r#""interface":"e1","group":"239.1.1.0/24","port":"7000-7009""#,
                r#""interface":"e2","group":"239.10.1.0","port":5995"#,
            ),
        ] {
            let told = beside(&a, &rule("b", matcher, &[output]));
            assert!(told.len() == 1 && told[0].contains("rule `a`"), "{matcher}: {told:?}");
        }
        let prefix = rule("b", r#""interface":"e1","group":"239.10.0.0/16""#, &[r#""interface":"e2""#]);
        assert_eq!((beside(&a, &prefix).len(), beside(&prefix, &rule("c", A, &[OUT])).len()), (1, 1));
    }

    #[test]
    fn what_does_not_mix() {
        let a = rule("a", A, &[OUT]);
        for (matcher, output) in [
            (
                r#""interface":"e0","group":"239.1.1.2","port":5001"#,
                r#""interface":"e3","group":"239.10.1.1","port":6001"#,
            ),
            (
                r#""interface":"e0","group":"239.1.1.2","port":5001"#,
                r#""interface":"e2","group":"239.10.1.2","port":6001"#,
            ),
            (
                r#""interface":"e0","group":"239.1.1.2","port":5001"#,
                r#""interface":"e2","group":"239.10.1.1","port":6002"#,
            ),
            (
                r#""interface":"e0","group":"239.1.1.2","port":5001"#,
                r#""interface":"e2","group":"239.10.1.1","port":6001,"vlan":7"#,
            ),
            // The same stream, of one source, is another rule's.
            (r#""interface":"e0","group":"239.1.1.1","port":5001,"source":"10.0.0.5""#, OUT),
            // Another part of what the other takes, renumbered alike.
            (
                r#""interface":"e0","group":"239.1.0.0/16","port":"5001-5002""#,
                r#""interface":"e2","group":"239.10.0.0","port":6001"#,
            ),
        ] {
            let told = beside(&a, &rule("b", matcher, &[output]));
            assert_eq!(told.len(), 0, "{matcher}: {told:?}");
        }
        let wide = rule("wide", r#""interface":"e0","group":"239.1.0.0/16""#, &[r#""interface":"e2""#]);
        assert_eq!(beside(&wide, &rule("b", A, &[r#""interface":"e2","ttl":9"#])).len(), 0, "an exception of it");
    }

    #[test]
    fn two_outputs_of_one_rule() {
        let matcher = r#""interface":"e0","group":"239.1.1.1","port":"5001-5050""#;
        let told = |second: &str| {
            let both = rule("a", matcher, &[r#""interface":"e2","port":6001"#, second]);
            let warnings = RuleSet::new(1).insert(both).expect("one rule");
            warnings
                .into_iter()
                .filter(|warning| warning.kind == Kind::Mixed)
                .map(|warning| warning.to_string())
                .collect::<Vec<_>>()
        };
        let mixed = told(r#""interface":"e2","port":6020"#);
        assert!(mixed.len() == 1 && mixed[0].starts_with("output[1]: ") && mixed[0].contains("output[0]"), "{mixed:?}");
        assert_eq!(told(r#""interface":"e2","port":6051"#), Vec::<String>::new());
        assert_eq!(told(r#""interface":"e2","port":6001"#), Vec::<String>::new(), "that is another warning");
    }

    #[test]
    fn many_are_quick_and_leave_nothing() {
        let of = |i: u16| {
            let matcher = format!(r#""interface":"e0","group":"239.1.{}.{}","port":{}"#, i >> 8, i & 255, 1024 + i);
            rule(&format!("r{i}"), &matcher, &[r#""interface":"e2","group":"239.10.1.1""#])
        };
        let mut sent = Sent::default();
        let rules: Vec<Rule> = (0..2000).map(of).collect();
        for rule in &rules {
            assert_eq!(sent.insert(rule).len(), 0);
        }
        let any = rule("any", r#""interface":"e9","group":"239.10.0.0/16""#, &[r#""interface":"e2""#]);
        assert_eq!(sent.insert(&any).len(), 1);
        rules.iter().chain([&any]).for_each(|rule| sent.remove(rule));
        assert!(sent.links.is_empty(), "{sent:?}");
    }
}
