//! The real thing: three namespaces, mcrd in one of them, and steps that are taken there.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result};
use netns_tests::{
    connection::Connection,
    daemon::Daemon,
    deadline::{SOON, until},
    packet::Packet,
    raw::Wire,
    stats::Stats,
    topology::{Network, RELAY, Topology},
};
use serde_json::{Value, json};

use crate::{
    draw::{Event, Op},
    model::{DEVICES, Device, Model, Place, Rule, name},
};

/// Where the far ends of the pairs are.
const FAR: &str = "far";
/// Where devices are moved to.
pub const AWAY: &str = "away";
/// Rules of the daemon at most: few, so that the kernel's table is small, and read soon.
const LIMIT: u32 = 256;

/// The namespaces, the daemon, and the connection over which it is asked.
pub struct World {
    pub network: Network,
    pub daemon: Daemon,
    connection: Connection,
}

impl World {
    /// All devices and mcrd with the rules of `model`.
    pub fn start(model: &Model) -> Result<Self> {
        let topology = Topology { namespaces: [RELAY, FAR, AWAY].map(String::from).into(), ..Topology::default() };
        let network = topology.build()?;
        make_all(&network, model)?;
        let daemon = Daemon::start(network.relay(), &file(&model.rules), &["--workers", "1"])?;
        let connection = Connection::open(&daemon)?;
        Ok(Self { network, daemon, connection })
    }

    /// Takes a step; why mcrd refuses it, where it does. The model is as before the step.
    pub fn take(&mut self, op: &Op, model: &Model) -> Result<Option<String>> {
        let request = match op {
            Op::Add { name, rule, wait, replace } => {
                json!({ "command": "rule_add", "rule": rule.json(name), "wait": wait, "replace": replace })
            }
            Op::Delete(name) => json!({ "command": "rule_del", "name": name }),
            Op::Reload(rules) => return self.reload(rules).map(|()| None),
            Op::Link(device, event) => {
                for (label, lines) in lines(*device, *event, model) {
                    self.network.ip(label, &lines)?;
                }
                return Ok(None);
            }
            Op::Packet(rule) => {
                self.send(&model.rules[rule], model)?;
                return Ok(None);
            }
        };
        let answer = self.connection.ask(&request)?;
        Ok(answer["error"]["message"].as_str().map(String::from))
    }

    /// Has mcrd read a file with these rules.
    pub fn reload(&mut self, rules: &BTreeMap<String, Rule>) -> Result<()> {
        fs::write(self.daemon.files().config(), file(rules))?;
        let answer = self.connection.ask(&json!({ "command": "reload" }))?;
        answer.get("reloaded").with_context(|| format!("{answer}"))?;
        Ok(())
    }

    /// Takes all rules away, and waits until no interface has a socket any more.
    pub fn release(&mut self) -> Result<()> {
        self.reload(&BTreeMap::new())?;
        let released = || Ok(self.stats()?.interfaces.is_empty().then_some(()));
        until("all interfaces to be released", SOON, released)
    }

    /// Deletes what there is of devices, and makes all anew.
    pub fn rebuild(&mut self, from: &Model, to: &Model) -> Result<()> {
        for device in (0..DEVICES).filter(|device| from.devices[*device].place != Place::Nowhere) {
            self.take(&Op::Link(device, Event::Delete), from)?;
        }
        make_all(&self.network, to)
    }

    /// Sends a packet for a rule whose ingress is there and up; whether it is.
    pub fn send(&self, rule: &Rule, model: &Model) -> Result<bool> {
        let is_ingress = |device: &usize| {
            let device = &model.devices[*device];
            device.place == Place::Relay && device.name == rule.ingress && device.is_up
        };
        let Some(device) = (0..DEVICES).find(is_ingress) else { return Ok(false) };
        let matcher = &rule.matcher;
        let mut packet = Packet::new(matcher.group, matcher.ports.map_or(1_234, |(_, last)| last));
        packet.source = matcher.source.unwrap_or(packet.source);
        Wire::open(self.network.namespace(FAR), &far(device))?.send(&packet.frame())?;
        Ok(true)
    }

    /// The counters now.
    pub fn stats(&mut self) -> Result<Stats> {
        let answer = self.connection.ask(&json!({ "command": "stats" }))?;
        Ok(serde_json::from_value(answer["stats"].clone())?)
    }

    /// Each rule as `rule list` has it.
    pub fn rules(&mut self) -> Result<Vec<Value>> {
        let answer = self.connection.ask(&json!({ "command": "rule_list" }))?;
        answer["rules"].as_array().cloned().with_context(|| format!("{answer}"))
    }
}

/// Name of a device's far end.
fn far(device: usize) -> String {
    format!("p{device}")
}

fn make_all(network: &Network, model: &Model) -> Result<()> {
    for (number, device) in model.devices.iter().enumerate() {
        let Device { name, queues, is_up, has_address, .. } = *device;
        for (label, lines) in lines(number, Event::Make { name, queues, is_up, has_address }, model) {
            network.ip(label, &lines)?;
        }
    }
    Ok(())
}

/// What `ip` is told, and where, to have `event` happen to a device.
fn lines(number: usize, event: Event, model: &Model) -> Vec<(&'static str, String)> {
    let device = &model.devices[number];
    let (own, far) = (name(device.name), far(number));
    let has_address = |name: &str| format!("addr add 10.{}.0.1/24 dev {name}\n", 50 + number);
    let is_up = |name: &str| format!("link set {name} up\n");
    match event {
        Event::Make { name: new, queues, is_up: up, has_address: address } => {
            let new = name(new);
            let queues = format!("numrxqueues {queues} numtxqueues {queues}");
            let mut relay = format!("link add {new} {queues} type veth peer name {far} {queues} netns @{FAR}\n");
            if address {
                relay += &has_address(&new);
            }
            if up {
                relay += &is_up(&new);
            }
            vec![(RELAY, relay), (FAR, is_up(&far))]
        }
        Event::Delete => {
            let label = if device.place == Place::Away { AWAY } else { RELAY };
            vec![(label, format!("link del {own}\n"))]
        }
        Event::Rename(new) => vec![(RELAY, format!("link set {own} name {}\n", name(new)))],
        Event::Swap(other) => {
            let other = name(model.devices[other].name);
            // One of those that are never forgotten, and what was counted under them neither.
            let between = name(model.free_names()[0]);
            let swap = format!(
                "link set {own} name {between}\nlink set {other} name {own}\nlink set {between} name {other}\n"
            );
            vec![(RELAY, swap)]
        }
        Event::MoveAway => vec![(RELAY, format!("link set {own} netns @{AWAY}\n"))],
        Event::MoveBack => {
            vec![(AWAY, format!("link set {own} netns @{RELAY}\n")), (RELAY, has_address(&own) + &is_up(&own))]
        }
        Event::Up(true) => vec![(RELAY, is_up(&own))],
        Event::Up(false) => vec![(RELAY, format!("link set {own} down\n"))],
        Event::Address(true) => vec![(RELAY, has_address(&own))],
        Event::Address(false) => vec![(RELAY, format!("addr flush dev {own}\n"))],
    }
}

fn file(rules: &BTreeMap<String, Rule>) -> String {
    let tables: String = rules.iter().map(|(name, rule)| table(&rule.json(name))).collect();
    format!("[limits]\nrules = {LIMIT}\n\n{tables}")
}

/// A `[[rule]]` table.
fn table(rule: &Value) -> String {
    let keys = rule.as_object().expect("a rule is an object");
    let lines: String = keys.iter().map(|(key, value)| format!("{key} = {}\n", toml(value))).collect();
    format!("[[rule]]\n{lines}\n")
}

/// Numbers and strings are in TOML what they are in JSON.
fn toml(value: &Value) -> String {
    match value {
        Value::Object(object) => {
            let pairs: Vec<String> = object.iter().map(|(key, value)| format!("{key} = {}", toml(value))).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        Value::Array(array) => format!("[{}]", array.iter().map(toml).collect::<Vec<_>>().join(", ")),
        _ => value.to_string(),
    }
}
