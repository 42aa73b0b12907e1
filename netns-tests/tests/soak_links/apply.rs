//! What a step does to the model.

use crate::{
    draw::{Event, Op},
    model::{Model, Place},
};

impl Model {
    /// Takes a step; whether mcrd is to accept it.
    pub fn apply(&mut self, op: &Op) -> bool {
        match op {
            Op::Add { name, rule, wait, replace } => {
                let accepted = (*replace || !self.rules.contains_key(name)) && (*wait || self.lacks_nothing(rule));
                if accepted {
                    self.rules.insert(name.clone(), rule.clone());
                }
                accepted
            }
            Op::Delete(name) => self.rules.remove(name).is_some(),
            Op::Reload(rules) => {
                self.rules.clone_from(rules);
                true
            }
            Op::Link(device, event) => {
                self.link(*device, *event);
                true
            }
            Op::Packet(_) => true,
        }
    }

    fn link(&mut self, at: usize, event: Event) {
        if let Event::Swap(other) = event {
            let name = self.devices[at].name;
            self.devices[at].name = std::mem::replace(&mut self.devices[other].name, name);
            return;
        }
        let device = &mut self.devices[at];
        match event {
            Event::Make { name, queues, is_up, has_address } => {
                (device.name, device.queues, device.is_up, device.has_address) = (name, queues, is_up, has_address);
                device.place = Place::Relay;
            }
            Event::Delete => device.place = Place::Nowhere,
            Event::Rename(name) => device.name = name,
            Event::MoveAway => device.place = Place::Away,
            Event::MoveBack => (device.place, device.is_up, device.has_address) = (Place::Relay, true, true),
            Event::Up(is_up) => device.is_up = is_up,
            Event::Address(has_address) => device.has_address = has_address,
            Event::Swap(_) => {}
        }
    }
}
