//! The rules in every form, and what interface.md says of them.

use super::*;

/// What the kernel's map holds, from the effects alone, and the shapes beside it.
#[derive(Default)]
pub(super) struct Kernel {
    pub(super) entries: HashMap<FlowKey, FlowValue>,
    pub(super) shapes: Vec<Shape>,
    pub(super) groups: Vec<Shape>,
}

impl Kernel {
    pub(super) fn apply(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Set(key, value) => drop(self.entries.insert(key, value)),
                Effect::Delete(key) => drop(self.entries.remove(&key)),
            }
        }
    }
}

impl FlowTable for Kernel {
    fn shape(&self, rank: u32) -> Option<Shape> {
        Some(self.shapes.get(rank as usize).copied().unwrap_or(Shape::END))
    }

    fn group_shape(&self, rank: u32) -> Option<Shape> {
        Some(self.groups.get(rank as usize).copied().unwrap_or(Shape::END))
    }

    fn get(&self, key: &FlowKey) -> Option<FlowValue> {
        self.entries.get(key).copied()
    }
}

/// The rules in every form: the set that accepts them, the index, the kernel's likeness, and a plain list of name, match and value.
pub(super) struct World {
    pub(super) set: RuleSet,
    pub(super) index: FlowIndex,
    pub(super) kernel: Kernel,
    pub(super) rules: BTreeMap<String, (Match, FlowValue)>,
    /// As workers judge a hint.
    pub(super) compiled: BTreeMap<String, Compiled>,
    pub(super) slots: u32,
}

pub(super) const INTERFACES: [&str; 2] = ["e0", "e1"];

pub(super) fn ifindex(interface: &str) -> u32 {
    if interface == INTERFACES[0] { 11 } else { 12 }
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            set: RuleSet::new(1_000),
            index: FlowIndex::default(),
            kernel: Kernel::default(),
            rules: BTreeMap::new(),
            compiled: BTreeMap::new(),
            slots: 0,
        }
    }

    /// Adds a rule, or puts one in the place of the rule of its name as the daemon does: the new one first. Whether the set takes it.
    pub(super) fn put(&mut self, name: &str, matcher: &Match) -> bool {
        let rule = rule(name, matcher);
        let compiled = Compiled::new(&rule, ifindex(&matcher.interface), &vec![0; rule.outputs.len()])
            .expect("a rule has outputs");
        let taken = match self.rules.contains_key(name) {
            true => self.set.replace(rule).is_ok(),
            false => self.set.insert(rule).is_ok(),
        };
        if taken {
            self.slots += 1;
            let value = FlowValue { slot: self.slots, xsk_base: self.slots * 2, queues: 2 };
            let effects = self.index.insert(ifindex(&matcher.interface), matcher, value);
            self.kernel.apply(effects);
            self.compiled.insert(name.to_owned(), compiled);
            if let Some((old, value)) = self.rules.insert(name.to_owned(), (matcher.clone(), value)) {
                self.take(&old, value);
            }
        }
        taken
    }

    pub(super) fn remove(&mut self, name: &str) {
        if let Some((matcher, value)) = self.rules.remove(name) {
            self.set.remove(name);
            self.compiled.remove(name);
            self.take(&matcher, value);
        }
    }

    pub(super) fn take(&mut self, matcher: &Match, value: FlowValue) {
        let effects = self.index.remove(ifindex(&matcher.interface), matcher, value);
        self.kernel.apply(effects);
    }

    /// interface.md, "Matching": of the rules that take the packet, the longer source prefix, then the longer group prefix, then exact
    /// port, narrower range, any port.
    pub(super) fn definition(&self, interface: &str, packet: &Datagram) -> Option<FlowValue> {
        let mut best: Option<((u8, u8, u32), FlowValue)> = None;
        for (matcher, value) in self.rules.values() {
            let rank = match matcher.ports {
                Ports::Exact(_) => 0,
                Ports::Range(first, last) => u32::from(last - first),
                Ports::Any => u32::MAX,
            };
            let rank = (32 - matcher.source.length, 32 - matcher.group.length, rank);
            if takes(matcher, interface, packet) && best.is_none_or(|(other, _)| rank < other) {
                best = Some((rank, *value));
            }
        }
        best.map(|(_, value)| value)
    }

    pub(super) fn agrees(&mut self, interface: &str, packet: &Datagram) -> Result<(), TestCaseError> {
        self.kernel.shapes.clone_from(&self.index.shape_list);
        self.kernel.groups.clone_from(&self.index.group_list);
        let (index, wanted) = (ifindex(interface), self.definition(interface, packet));
        prop_assert_eq!(find(&self.index, index, packet), wanted, "{:?} on {}", packet, interface);
        prop_assert_eq!(find(&self.kernel, index, packet), wanted, "the kernel: {:?} on {}", packet, interface);
        for (name, (matcher, _)) in &self.rules {
            prop_assert_eq!(self.compiled[name].covers(index, packet), takes(matcher, interface, packet), "{}", name);
        }
        for (vlan, same) in [(packet.vlan, true), (Vlan::ANY, false)] {
            let known = self.rules.values().any(|(matcher, _)| {
                let vlan = if same { packet.vlan } else { vlan_of(matcher) };
                let packet = Datagram { vlan, ..*packet };
                matcher.group.contains(packet.group.into())
                    && matcher.interface == interface
                    && vlan_of(matcher) == vlan
            });
            prop_assert_eq!(group_entry(&self.index, index, vlan, packet).is_some(), known);
            prop_assert_eq!(group_entry(&self.kernel, index, vlan, packet).is_some(), known);
        }
        Ok(())
    }
}

pub(super) fn vlan_of(matcher: &Match) -> Vlan {
    matcher.vlan.map_or(Vlan::UNTAGGED, Vlan::tagged)
}

pub(super) fn takes(matcher: &Match, interface: &str, packet: &Datagram) -> bool {
    matcher.interface == interface
        && vlan_of(matcher) == packet.vlan
        && matcher.source.contains(packet.source.into())
        && matcher.group.contains(packet.group.into())
        && match matcher.ports {
            Ports::Exact(port) => packet.port == port,
            Ports::Range(first, last) => first <= packet.port && packet.port <= last,
            Ports::Any => true,
        }
}

pub(super) fn rule(name: &str, matcher: &Match) -> Rule {
    let output = Output {
        name: None,
        interface: "out".to_owned(),
        group: None,
        port: None,
        source: Source::Keep,
        ttl: Ttl::Keep,
        dscp: None,
        vlan: OutputVlan::None,
    };
    Rule {
        name: name.to_owned(),
        matcher: matcher.clone(),
        outputs: vec![output],
        stall_after: None,
        description: None,
        enabled: true,
    }
}

impl World {
    pub(super) fn kernel_now(&self) -> Kernel {
        let entries = self.kernel.entries.clone();
        Kernel { entries, shapes: self.index.shape_list.clone(), groups: self.index.group_list.clone() }
    }
}
