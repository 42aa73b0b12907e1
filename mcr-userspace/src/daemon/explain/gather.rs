//! Takes the facts from the daemon's state.

use std::time::{Duration, Instant};

use mcr_common::flow::Datagram;

use super::{
    super::{
        interfaces::Place, links::Link, oversize, passed::Rates, report, sockets, standing::output_name, state::State,
    },
    facts::{Facts, Flow, InterfaceFacts, OutputFacts, Stronger},
    near::{Arrived, Candidate, Close, Readiness, close, is_close, lacks, nearer, overlap, rank, wants},
    packet::{self, Egress},
};
use crate::{
    control::protocol::{NearView, PacketExplained, PacketSpec},
    forward::{plan::EgressFacts, rule::InterfaceId},
    rules::rule::{Match, Rule},
};

/// Rules that come close to a packet, in an answer.
const MOST_NEAR: usize = 10;
/// More specific rules that are looked at.
const MOST_STRONGER: usize = 64;

impl State {
    /// Everything that is judged of a rule; `None` where there is none of that name. `ports`: those of its ingress.
    pub fn facts(&self, name: &str, ports: &[String]) -> Option<Facts> {
        let rule = self.set.get(name)?.clone();
        let standing = self.standing(&rule);
        let live = self.live.get(name);
        let is_active = live.is_some_and(|live| live.active.is_some());
        let outputs = rule.outputs.iter().enumerate().map(|(at, output)| OutputFacts {
            label: output_name(at, output),
            interface: self.interface_facts(&output.interface),
            lack: is_active.then(|| self.lack(&rule, output)).flatten(),
            lost_address: self.interfaces.place(&output.interface).and_then(Place::lost_address),
            longest: live.and_then(|live| live.active.as_ref()).map_or(0, |active| active.longest(at)),
        });
        let outputs = outputs.collect();
        let how = self.options.membership(&rule.matcher.interface);
        let silence = live.filter(|live| live.heard_as.as_ref() == Some(&rule.matcher));
        let silence = silence.and_then(|live| live.hearing.silence(Instant::now()));
        Some(Facts {
            state: standing.state,
            waiting: live.filter(|_| !is_active).map(|live| live.waiting.clone()),
            silence,
            passed: silence.map(|silence| self.passed(silence)).unwrap_or_default(),
            pace: live.map_or(0, |live| live.traffic.pace()),
            ingress: self.interface_facts(&rule.matcher.interface),
            outputs,
            memberships: self.members.needed_by(&rule.matcher),
            unjoined: self.members.unjoined(&rule.matcher, how),
            deaf: self.members.deaf(&rule.matcher, how),
            reading: self.reading(&rule),
            findings: live.map(|live| live.traffic.findings().to_vec()).unwrap_or_default(),
            age: live.map_or(Duration::ZERO, |live| live.traffic.age(Instant::now())),
            own_host: Vec::new(),
            stronger: self.stronger(&rule, ports),
            rule,
        })
    }

    /// What no rule matched on each interface, before and since the last packet of a rule that is silent for so long.
    fn passed(&self, silence: Duration) -> Vec<(String, Rates)> {
        let Some(moment) = Instant::now().checked_sub(silence) else { return Vec::new() };
        let places = self.interfaces.iter().map(|(_, place)| place);
        places.filter_map(|place| Some((place.name.clone(), place.passed.around(moment)?))).collect()
    }

    /// What is known of the interface of this name.
    pub fn interface_facts(&self, name: &str) -> InterfaceFacts {
        let Some(place) = self.interfaces.place(name) else {
            let absent = Some(super::super::interfaces::absent(name));
            return InterfaceFacts { name: name.to_owned(), absent, ..InterfaceFacts::default() };
        };
        let there = place.interface.as_ref();
        InterfaceFacts {
            name: name.to_owned(),
            absent: there.is_none().then(|| place.absent.clone()),
            renamed: place.renamed(),
            link: self.link_now(place),
            linked: place.linked.map(|linked| linked.elapsed()),
            learned: place.learned.map(|learned| learned.elapsed()),
            mtu: there.map_or(0, |interface| interface.nic.mtu),
            limit: there.map_or(0, |interface| sockets::facts(&interface.nic, interface.frame_size).mtu),
            xdp: there.map(|interface| interface.attachment.to_string()).unwrap_or_default(),
            xsk: there.map_or("none", report::xsk).to_owned(),
            fault: there.and_then(|interface| Some(interface.scrutiny.finding?.why().to_owned())),
            oversize: there.map(oversize::remedy).unwrap_or_default(),
        }
    }

    /// An interface that came since links were last looked at is taken to be up.
    fn link_now(&self, place: &Place) -> Link {
        match (&place.interface, place.link) {
            (Some(_), Link::Absent) => Link::Up,
            (_, link) => link,
        }
    }

    /// Rules that take some of the packets that `rule` would take: those that are more specific, and those of its ingress's ports.
    fn stronger(&self, rule: &Rule, ports: &[String]) -> Vec<Stronger> {
        let stronger = self.set.iter().filter(|other| other.enabled).filter_map(|other| {
            let port = ports.iter().find(|port| **port == other.matcher.interface);
            let is_stronger = match port {
                Some(port) => overlap(&Match { interface: port.clone(), ..rule.matcher.clone() }, &other.matcher),
                None => rank(&other.matcher) < rank(&rule.matcher) && overlap(&rule.matcher, &other.matcher),
            };
            let active = self.live.get(&other.name).filter(|_| is_stronger)?.active.as_ref()?;
            Some(Stronger { name: other.name.clone(), port: port.cloned(), matched: self.steered(active) })
        });
        stronger.take(MOST_STRONGER).collect()
    }

    /// Takes out flows that nearly are what `rule` wants, and that another rule wants as they are: one that is switched off, or waits.
    pub fn leave_to_others(&self, rule: &Rule, flows: &mut Vec<Flow>) {
        let wants = |other: &Rule, flow: &Flow| lacks(&other.matcher, &flow.arrived()).is_empty();
        flows.retain(|flow| {
            let is_near = is_close(&lacks(&rule.matcher, &flow.arrived()));
            !is_near || wants(rule, flow) || self.set.iter().all(|other| !wants(other, flow))
        });
    }

    /// Packets that a rule has matched.
    pub fn matched(&self, name: &str) -> Option<u64> {
        self.set.get(name).map(|rule| self.reading(rule).matched_packets)
    }

    /// Index and name of each interface that the program sees packets of.
    pub fn ingress_names(&self) -> Vec<(u32, String)> {
        let there = self.interfaces.iter().filter_map(|(_, place)| place.interface.as_ref());
        there.map(|interface| (interface.nic.ifindex, interface.nic.name.clone())).collect()
    }

    /// What every rule matches, and whether it does so now.
    pub fn candidates(&self) -> Vec<Candidate> {
        self.set.iter().map(|rule| self.candidate(rule)).collect()
    }

    fn candidate(&self, rule: &Rule) -> Candidate {
        let readiness = match self.live.get(&rule.name) {
            _ if !rule.enabled => Readiness::Disabled,
            Some(live) if live.active.is_some() => Readiness::Ready,
            Some(live) => Readiness::Waiting(live.waiting.clone()),
            None => Readiness::Waiting("it starts".to_owned()),
        };
        Candidate { name: rule.name.clone(), matcher: rule.matcher.clone(), readiness }
    }

    /// Which rule takes a packet, which come close, and what leaves.
    pub fn explain_packet(&self, spec: &PacketSpec, frame: &[u8], datagram: &Datagram) -> PacketExplained {
        let ingress = self.interfaces.find(&spec.interface).map(|(_, interface)| interface);
        let value = ingress.and_then(|ingress| self.flows.find(ingress.nic.ifindex, datagram));
        let mut actives = self.live.values().filter_map(|live| live.active.as_ref());
        let active = value.and_then(|value| actives.find(|active| active.value == value));
        let arrived = Arrived {
            interface: &spec.interface,
            vlan: spec.vlan.filter(|vlan| *vlan != 0),
            source: spec.source,
            group: spec.group,
            port: Some(spec.port),
        };
        let outputs = active.zip(ingress).map(|(active, ingress)| {
            packet::outputs(frame, datagram, &active.compiled, ingress.facts.capacity as usize, |id| self.egress(id))
        });
        let rule = active.map(|active| active.rule.name.clone());
        PacketExplained {
            near: near(&self.candidates(), &arrived, rule.as_deref()),
            rule,
            outputs: outputs.unwrap_or_default(),
            why: None,
            reason: None,
        }
    }

    /// An egress interface as workers know it.
    fn egress(&self, id: InterfaceId) -> Egress {
        let place = self.interfaces.iter().find(|(known, _)| *known == id).map(|(_, place)| place);
        let Some(place) = place else {
            return Egress { name: String::new(), link: Link::Absent, facts: EgressFacts::default() };
        };
        let facts = place.interface.as_ref().map(|interface| EgressFacts {
            sources: self.told.of(id),
            ..sockets::facts(&interface.nic, interface.frame_size)
        });
        Egress { name: place.name.clone(), link: self.link_now(place), facts: facts.unwrap_or_default() }
    }
}

/// Rules other than `winner` that come close, the closest first.
fn near(candidates: &[Candidate], arrived: &Arrived<'_>, winner: Option<&str>) -> Vec<NearView> {
    let others = candidates.iter().filter(|candidate| Some(candidate.name.as_str()) != winner);
    let mut near: Vec<Close<'_>> = close(others, arrived).collect();
    near.sort_by(nearer);
    let view = |(lacks, candidate): Close<'_>| {
        let Candidate { name, matcher, readiness } = candidate;
        let mut words: Vec<&str> = lacks.iter().map(|lack| lack.name()).collect();
        let mut text = match lacks.is_empty() {
            true => format!("{name} matches too"),
            false => wants(name, matcher, &lacks),
        };
        match (readiness, winner) {
            (Readiness::Disabled, _) => {
                words.push("enabled");
                text += ", and is switched off";
            }
            (Readiness::Waiting(why), _) => {
                words.push("ready");
                text += &format!(", and waits: {why}");
            }
            (Readiness::Ready, Some(winner)) if lacks.is_empty() => {
                words.push("specificity");
                text += &format!(", and {winner} is more specific");
            }
            (Readiness::Ready, _) => {}
        }
        NearView { rule: name.clone(), lacks: words.join(","), text }
    };
    near.into_iter().take(MOST_NEAR).map(view).collect()
}
