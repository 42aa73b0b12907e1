//! What happens next, drawn from what there is. Always the same for the same seed.

use std::{collections::BTreeMap, net::Ipv4Addr};

use crate::model::{DEVICES, KEEPER, MOST_QUEUES, Match, Model, NAMES, Output, Place, Rule};

/// Names of rules.
const RULES: usize = 40;

/// A step.
#[derive(Clone, Debug)]
pub enum Op {
    /// Adds a rule, or tries to.
    Add { name: String, rule: Rule, wait: bool, replace: bool },
    /// Deletes a rule, or tries to.
    Delete(String),
    /// The file has these rules, and is read again.
    Reload(BTreeMap<String, Rule>),
    /// Something happens to a device.
    Link(usize, Event),
    /// A packet for this rule.
    Packet(String),
}

/// What happens to a device.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    Make {
        name: usize,
        queues: u32,
        is_up: bool,
        has_address: bool,
    },
    Delete,
    Rename(usize),
    /// With another device.
    Swap(usize),
    MoveAway,
    /// It is up and has an address again.
    MoveBack,
    Up(bool),
    Address(bool),
}

/// A generator (xorshift64).
pub struct Random(pub u64);

impl Random {
    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % n
    }

    fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }

    fn of<T: Clone>(&mut self, all: &[T]) -> Option<T> {
        (!all.is_empty()).then(|| all[self.below(all.len())].clone())
    }

    /// The next step.
    pub fn op(&mut self, model: &Model) -> Op {
        match self.below(100) {
            0..40 => {
                let i = self.below(RULES);
                Op::Add { name: rule_name(i), rule: self.rule(i), wait: self.percent(60), replace: self.percent(60) }
            }
            40..65 => {
                let name = rule_name(self.below(RULES));
                // One that is there, mostly.
                let others: Vec<String> = model.rules.keys().filter(|name| *name != KEEPER).cloned().collect();
                Op::Delete(if self.percent(90) { self.of(&others).unwrap_or(name) } else { name })
            }
            65..68 => Op::Reload(self.file(model)),
            68..76 => {
                Op::Packet(self.of(&model.rules.keys().cloned().collect::<Vec<_>>()).expect("the keeper is there"))
            }
            _ => {
                let device = self.below(DEVICES);
                Op::Link(device, self.event(device, model))
            }
        }
    }

    fn event(&mut self, at: usize, model: &Model) -> Event {
        let device = &model.devices[at];
        let free = model.free_names();
        let others: Vec<usize> =
            (0..DEVICES).filter(|other| *other != at && model.devices[*other].place == Place::Relay).collect();
        let name_is_away = model.devices.iter().any(|other| other.place == Place::Away && other.name == device.name);
        match (device.place, self.below(100)) {
            (Place::Nowhere, _) => Event::Make {
                name: self.of(&free).expect("there are more names than devices"),
                queues: 1 + self.below(MOST_QUEUES as usize) as u32,
                is_up: self.percent(80),
                has_address: self.percent(80),
            },
            (Place::Away, 0..70) if free.contains(&device.name) => Event::MoveBack,
            (Place::Away, _) => Event::Delete,
            (Place::Relay, 0..25) => Event::Up(!device.is_up),
            (Place::Relay, 25..50) => Event::Address(!device.has_address),
            (Place::Relay, 50..65) => Event::Rename(self.of(&free).expect("there are more names than devices")),
            (Place::Relay, 65..72) if !others.is_empty() => Event::Swap(self.of(&others).expect("there are some")),
            (Place::Relay, 72..85) if !name_is_away => Event::MoveAway,
            (Place::Relay, _) => Event::Delete,
        }
    }

    /// Rules for the file: some that are there, some that are new, some that are others now.
    fn file(&mut self, model: &Model) -> BTreeMap<String, Rule> {
        let mut rules = model.rules.clone();
        for i in 0..RULES {
            let name = rule_name(i);
            match self.below(10) {
                0 => drop(rules.remove(&name)),
                1 => drop(rules.insert(name, self.rule(i))),
                _ => {}
            }
        }
        rules
    }

    /// What rule `i` is this time. Whatever it is, it shares no packet with another one.
    fn rule(&mut self, i: usize) -> Rule {
        let shared = Ipv4Addr::new(239, 2, 0, self.below(6) as u8);
        let port = 5_000 + i as u16;
        let first = 20_000 + i as u16 * 500;
        let ports = match self.below(3) {
            0 => Some((first + self.below(200) as u16, first + 200 + self.below(300) as u16)),
            _ => Some((port, port)),
        };
        let matcher = match self.below(8) {
            0 => Match { group: Ipv4Addr::new(239, 2, 0, 0), length: 24, ports, source: None },
            1 => Match { group: Ipv4Addr::new(239, 3, 0, i as u8), length: 32, ports: None, source: None },
            2..4 => {
                let source = Ipv4Addr::new(10, 9, 9, 1 + self.below(3) as u8);
                Match { group: shared, length: 32, ports, source: Some(source) }
            }
            _ => Match { group: shared, length: 32, ports, source: None },
        };
        let mut interfaces: Vec<usize> = (0..NAMES).collect();
        let outputs = (0..1 + self.below(3))
            .map(|_| Output {
                interface: interfaces.swap_remove(self.below(interfaces.len())),
                own_source: self.percent(50),
            })
            .collect();
        Rule { ingress: self.below(NAMES), matcher, outputs }
    }
}

fn rule_name(i: usize) -> String {
    format!("r{i}")
}
