//! Rules by where they match, so that neither a conflict nor a follower is looked for among all of them.

use std::collections::{BTreeMap, HashMap};

use super::{
    ports::PortRanges,
    reach::last_address,
    rule::{Match, Ports, Prefix, Rule},
};

/// Matches of a set of rules.
#[derive(Clone, Debug, Default)]
pub struct Index {
    links: HashMap<Link, BTreeMap<Place, PortRanges>>,
    /// Rules of each shape.
    shapes: HashMap<Shape, usize>,
}

/// Where packets come in: interface and VLAN.
type Link = (String, Option<u16>);
/// Group, then source. Two places of equal rank that share packets are the same place.
type Place = (Prefix, Prefix);
/// Source length, group length, kind of port: one more lookup a packet for each.
type Shape = (u8, u8, Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Exact,
    Range,
    Any,
}

impl Index {
    /// The rule that has an equal claim to some packets of `matcher`.
    pub fn conflict(&self, matcher: &Match) -> Option<&str> {
        self.links.get(&link(matcher))?.get(&place(matcher))?.conflict(matcher.ports)
    }

    /// Distinct shapes in use.
    pub fn shapes(&self) -> usize {
        self.shapes.len()
    }

    /// Whether some rule has the shape of `matcher`.
    pub fn has_shape(&self, matcher: &Match) -> bool {
        self.shapes.contains_key(&shape(matcher))
    }

    /// Adds a rule without a conflict.
    pub fn insert(&mut self, rule: &Rule) {
        let matcher = &rule.matcher;
        let ports = self.links.entry(link(matcher)).or_default().entry(place(matcher)).or_default();
        ports.insert(matcher.ports, rule.name.clone());
        *self.shapes.entry(shape(matcher)).or_default() += 1;
    }

    /// Takes out a rule that is in.
    pub fn remove(&mut self, rule: &Rule) {
        let (link, place, shape) = (link(&rule.matcher), place(&rule.matcher), shape(&rule.matcher));
        if let Some(places) = self.links.get_mut(&link) {
            if let Some(ports) = places.get_mut(&place) {
                ports.remove(rule.matcher.ports);
                if ports.is_empty() {
                    places.remove(&place);
                }
            }
            if places.is_empty() {
                self.links.remove(&link);
            }
        }
        if let Some(count) = self.shapes.get_mut(&shape) {
            *count -= 1;
            if *count == 0 {
                self.shapes.remove(&shape);
            }
        }
    }

    /// Names of the rules on `interface` and `vlan` whose groups overlap `groups`.
    pub fn on(&self, interface: &str, vlan: Option<u16>, groups: Prefix) -> impl Iterator<Item = &str> {
        let places = self.links.get(&(interface.to_owned(), vlan));
        // A prefix that overlaps is one of the shorter ones that contain this, or lies within this.
        let wider = (0..groups.length).map(move |length| {
            let wide = Prefix { address: groups.address, length };
            let wide = Prefix { address: (u32::from(wide.address) & wide.mask()).into(), length };
            (wide, Prefix::ANY)..=(wide, LAST)
        });
        let within = (Prefix { address: groups.address, length: groups.length }, Prefix::ANY)
            ..=(Prefix { address: last_address(groups), length: 32 }, LAST);
        places
            .into_iter()
            .flat_map(move |places| wider.clone().chain([within.clone()]).flat_map(|range| places.range(range)))
            .flat_map(|(_, ports)| ports.names())
    }
}

/// The greatest prefix in order.
const LAST: Prefix = Prefix { address: std::net::Ipv4Addr::BROADCAST, length: 32 };

fn link(matcher: &Match) -> Link {
    (matcher.interface.clone(), matcher.vlan)
}

fn place(matcher: &Match) -> Place {
    (matcher.group, matcher.source)
}

fn shape(matcher: &Match) -> Shape {
    let kind = match matcher.ports {
        Ports::Exact(_) => Kind::Exact,
        Ports::Range(..) => Kind::Range,
        Ports::Any => Kind::Any,
    };
    (matcher.source.length, matcher.group.length, kind)
}
