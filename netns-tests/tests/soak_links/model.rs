//! What is there, as far as it can be known without asking: links, rules, and what follows from them.

use std::{collections::BTreeMap, net::Ipv4Addr};

use serde_json::{Value, json};

/// Interfaces of the relay at most, each the end of a veth pair.
pub const DEVICES: usize = 4;
/// Names that they may have: more, so that some are always missing.
pub const NAMES: usize = 6;
/// Queues of an interface at most.
pub const MOST_QUEUES: u32 = 2;
/// A rule that is always there: all names are known by it, so none is ever forgotten.
pub const KEEPER: &str = "keeper";

/// A name by its number.
pub fn name(number: usize) -> String {
    format!("n{number}")
}

/// Where a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In no namespace: deleted, or not yet made.
    Nowhere,
    /// Where mcrd runs.
    Relay,
    /// In another namespace.
    Away,
}

/// The relay's end of a pair; the far end is always up.
#[derive(Clone, Copy, Debug)]
pub struct Device {
    pub place: Place,
    /// Number of its name.
    pub name: usize,
    pub is_up: bool,
    pub has_address: bool,
    pub queues: u32,
}

/// What a rule matches besides its interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    pub group: Ipv4Addr,
    pub length: u8,
    /// First and last; `None` is any.
    pub ports: Option<(u16, u16)>,
    pub source: Option<Ipv4Addr>,
}

/// An output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Number of the interface's name.
    pub interface: usize,
    /// Whether it is sent from the interface's address; else the packet's own source is kept.
    pub own_source: bool,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Number of the ingress interface's name.
    pub ingress: usize,
    pub matcher: Match,
    pub outputs: Vec<Output>,
}

/// All of it.
#[derive(Clone, Debug)]
pub struct Model {
    pub devices: [Device; DEVICES],
    /// By name.
    pub rules: BTreeMap<String, Rule>,
}

/// What a rule is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Active,
    /// With the word that follows `waiting: `.
    Waits(String),
    /// Nothing lacks but an address: a rule that has lost it goes on, one that never had it waits.
    Either,
}

impl Rule {
    /// As the control socket takes it.
    pub fn json(&self, rule: &str) -> Value {
        let Match { group, length, ports, source } = &self.matcher;
        let mut matcher = json!({ "interface": name(self.ingress), "group": format!("{group}/{length}") });
        match ports {
            Some((first, last)) if first == last => matcher["port"] = json!(first),
            Some((first, last)) => matcher["port"] = json!(format!("{first}-{last}")),
            None => {}
        }
        if let Some(source) = source {
            matcher["source"] = json!(source);
        }
        // Outside of all that rules match.
        let to = Ipv4Addr::from_bits(group.to_bits() | 1 << 23);
        let output = |output: &Output| {
            let mut value = json!({ "interface": name(output.interface), "group": to });
            if !output.own_source {
                value["source"] = json!("keep");
            }
            value
        };
        json!({ "name": rule, "match": matcher, "output": self.outputs.iter().map(output).collect::<Vec<_>>() })
    }
}

impl Model {
    /// All devices are there under the first names, up, with an address and all queues; there is no rule but the keeper.
    pub fn complete() -> Self {
        let device = |name| Device { place: Place::Relay, name, is_up: true, has_address: true, queues: MOST_QUEUES };
        Self { devices: std::array::from_fn(device), rules: [(KEEPER.to_owned(), keeper())].into() }
    }

    /// The same, with rules by which every device is an ingress and an egress.
    pub fn all_in_use() -> Self {
        let mut model = Self::complete();
        for device in 0..DEVICES {
            let matcher = Match {
                group: Ipv4Addr::new(239, 4, 0, device as u8),
                length: 32,
                ports: Some((4000, 4000)),
                source: None,
            };
            let outputs = vec![Output { interface: (device + 1) % DEVICES, own_source: true }];
            model.rules.insert(format!("all{device}"), Rule { ingress: device, matcher, outputs });
        }
        model
    }

    /// The device that has a name in the relay.
    pub fn by_name(&self, name: usize) -> Option<&Device> {
        self.devices.iter().find(|device| device.place == Place::Relay && device.name == name)
    }

    /// Names that no device has in the relay.
    pub fn free_names(&self) -> Vec<usize> {
        (0..NAMES).filter(|name| self.by_name(*name).is_none()).collect()
    }

    /// Why an output cannot be sent to, if it cannot.
    pub fn lack(&self, output: &Output) -> Option<String> {
        let name = name(output.interface);
        match self.by_name(output.interface) {
            None => Some(format!("no interface {name}")),
            Some(device) if output.own_source && !device.has_address => Some(format!(
                "{name} has no IPv4 address to send from (`ip addr add ADDRESS/LEN dev {name}`, or source=keep or source=ADDRESS)"
            )),
            Some(_) => None,
        }
    }

    /// Whether a packet goes out.
    pub fn sends(&self, output: &Output) -> bool {
        self.lack(output).is_none() && self.by_name(output.interface).is_some_and(|device| device.is_up)
    }

    /// What a rule is doing once all is noticed.
    pub fn state(&self, rule: &Rule) -> State {
        let mut missing = Vec::new();
        for interface in std::iter::once(rule.ingress).chain(rule.outputs.iter().map(|output| output.interface)) {
            if self.by_name(interface).is_none() && !missing.contains(&name(interface)) {
                missing.push(name(interface));
            }
        }
        let all_missing = format!("no interface {}", missing.join(", "));
        if self.by_name(rule.ingress).is_none() {
            return State::Waits(all_missing);
        }
        let lacks: Vec<String> = rule.outputs.iter().filter_map(|output| self.lack(output)).collect();
        if lacks.len() < rule.outputs.len() {
            return State::Active;
        }
        match rule.outputs.iter().all(|output| self.by_name(output.interface).is_none()) {
            true => State::Waits(all_missing),
            false => State::Either,
        }
    }

    /// Whether `rule add` takes it without `--wait`.
    pub fn lacks_nothing(&self, rule: &Rule) -> bool {
        self.by_name(rule.ingress).is_some() && rule.outputs.iter().all(|output| self.lack(output).is_none())
    }
}

/// It waits for a name that devices have by being renamed alone.
fn keeper() -> Rule {
    let matcher = Match { group: Ipv4Addr::new(239, 9, 0, 1), length: 32, ports: Some((9000, 9000)), source: None };
    let outputs = (0..NAMES).map(|interface| Output { interface, own_source: false }).collect();
    Rule { ingress: NAMES - 1, matcher, outputs }
}
