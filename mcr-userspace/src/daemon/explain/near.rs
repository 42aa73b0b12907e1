//! How far a packet is from a rule. Pure.

use std::{cmp::Ordering, fmt, net::Ipv4Addr};

use crate::rules::{
    order::natural,
    rule::{Match, Ports, Prefix},
};

/// A rule that a packet may be near to.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Its name.
    pub name: String,
    /// What it matches.
    pub matcher: Match,
    /// Whether it matches now.
    pub readiness: Readiness,
}

/// Whether a rule is in the kernel's table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It is.
    Ready,
    /// It is switched off.
    Disabled,
    /// It waits, for this.
    Waiting(String),
}

/// A packet, as rules see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrived<'a> {
    /// The interface that it comes in on.
    pub interface: &'a str,
    /// VLAN ID of its tag; `None` is untagged.
    pub vlan: Option<u16>,
    /// Source address.
    pub source: Ipv4Addr,
    /// Group.
    pub group: Ipv4Addr,
    /// UDP destination port; `None` of a fragment.
    pub port: Option<u16>,
}

/// A field in which a packet is not as a rule wants it; the first matter most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lack {
    /// The group.
    Group,
    /// The interface.
    Interface,
    /// The UDP destination port.
    Port,
    /// The source address.
    Source,
    /// The VLAN.
    Vlan,
}

impl Lack {
    /// The word in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Group => "group",
            Self::Interface => "interface",
            Self::Port => "port",
            Self::Source => "source",
            Self::Vlan => "vlan",
        }
    }

    /// What the match wants here: `VLAN 100`.
    pub fn wanted(self, matcher: &Match) -> String {
        match self {
            Self::Group => format!("group {}", matcher.group),
            Self::Interface => format!("interface {}", matcher.interface),
            Self::Port => match matcher.ports {
                Ports::Exact(port) => format!("port {port}"),
                ports => format!("ports {ports}"),
            },
            Self::Source => format!("source {}", matcher.source),
            Self::Vlan => matcher.vlan.map_or_else(|| "no VLAN tag".to_owned(), |vlan| format!("VLAN {vlan}")),
        }
    }
}

/// Everything in which `packet` is not as `matcher` wants it. A fragment has no port that could be wrong.
pub fn lacks(matcher: &Match, packet: &Arrived<'_>) -> Vec<Lack> {
    let (first, last) = matcher.ports.bounds();
    let fits = [
        (Lack::Group, matcher.group.contains(packet.group)),
        (Lack::Interface, matcher.interface == packet.interface),
        (Lack::Port, packet.port.is_none_or(|port| (first..=last).contains(&port))),
        (Lack::Source, matcher.source.contains(packet.source)),
        (Lack::Vlan, matcher.vlan == packet.vlan),
    ];
    fits.into_iter().filter(|(_, fits)| !fits).map(|(lack, _)| lack).collect()
}

/// Whether so little is wrong that a person may have meant the packet: one field, or two of a packet of the rule's own group.
pub fn is_close(lacks: &[Lack]) -> bool {
    lacks.len() <= 1 || lacks.len() == 2 && !lacks.contains(&Lack::Group)
}

/// A rule that comes close to a packet, and what it wants that the packet has not.
pub type Close<'a> = (Vec<Lack>, &'a Candidate);

/// The rules that come close to `packet`.
pub fn close<'a>(
    candidates: impl IntoIterator<Item = &'a Candidate>,
    packet: &Arrived<'_>,
) -> impl Iterator<Item = Close<'a>> {
    let close = candidates.into_iter().map(|candidate| (lacks(&candidate.matcher, packet), candidate));
    close.filter(|(lacks, _)| is_close(lacks))
}

/// The nearer rule first: that whose group contains the packet's; of these the longest group prefix, what lacks least, the most specific, and
/// then by name.
pub fn nearer((a_lacks, a): &Close<'_>, (b_lacks, b): &Close<'_>) -> Ordering {
    let key = |lacks: &[Lack], matcher: &Match| {
        (lacks.contains(&Lack::Group), 32 - matcher.group.length, lacks.len(), rank(matcher))
    };
    key(a_lacks, &a.matcher).cmp(&key(b_lacks, &b.matcher)).then_with(|| natural(&a.name, &b.name))
}

/// How specific a match is, as the lookup ranks them: less is more specific.
pub fn rank(matcher: &Match) -> (u8, u8, u32) {
    let (first, last) = matcher.ports.bounds();
    (32 - matcher.source.length, 32 - matcher.group.length, u32::from(last) - u32::from(first))
}

/// What the rule wants and the packet has not: `s1 wants VLAN 100 and port 5001`.
pub fn wants(name: &str, matcher: &Match, lacks: &[Lack]) -> String {
    let wanted: Vec<String> = lacks.iter().map(|lack| lack.wanted(matcher)).collect();
    format!("{name} wants {}", wanted.join(" and "))
}

/// Whether some packet fits both matches.
pub fn overlap(a: &Match, b: &Match) -> bool {
    let meet = |a: Prefix, b: Prefix| if a.length < b.length { a.contains(b.address) } else { b.contains(a.address) };
    let ((a_first, a_last), (b_first, b_last)) = (a.ports.bounds(), b.ports.bounds());
    (&a.interface, a.vlan) == (&b.interface, b.vlan)
        && meet(a.group, b.group)
        && meet(a.source, b.source)
        && a_first <= b_last
        && b_first <= a_last
}

impl fmt::Display for Arrived<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.group)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        write!(f, " from {} on {}", self.source, self.interface)?;
        match self.vlan {
            Some(vlan) => write!(f, " in VLAN {vlan}"),
            None => f.write_str(" untagged"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matcher() -> Match {
        Match {
            interface: "eth0".into(),
            group: Prefix::host([239, 1, 1, 1].into()),
            ports: Ports::Exact(5001),
            source: Prefix::ANY,
            vlan: Some(100),
        }
    }

    const PACKET: Arrived<'static> = Arrived {
        interface: "eth0",
        vlan: Some(100),
        source: Ipv4Addr::new(10, 0, 0, 5),
        group: Ipv4Addr::new(239, 1, 1, 1),
        port: Some(5001),
    };

    #[test]
    fn each_field_is_named() {
        let m = matcher();
        let of = |packet: Arrived<'_>| wants("s1", &m, &lacks(&m, &packet));
        assert!(lacks(&m, &PACKET).is_empty());
        assert_eq!(of(Arrived { vlan: None, ..PACKET }), "s1 wants VLAN 100");
        assert_eq!(of(Arrived { port: Some(5002), ..PACKET }), "s1 wants port 5001");
        assert_eq!(of(Arrived { interface: "eth1", ..PACKET }), "s1 wants interface eth0");
        assert_eq!(of(Arrived { group: [239, 1, 1, 2].into(), ..PACKET }), "s1 wants group 239.1.1.1");
        assert!(lacks(&m, &Arrived { port: None, ..PACKET }).is_empty(), "a fragment");
        let m = Match { vlan: None, source: Prefix::host([10, 0, 0, 6].into()), ..m };
        assert_eq!(wants("s1", &m, &lacks(&m, &PACKET)), "s1 wants source 10.0.0.6 and no VLAN tag");
    }

    #[test]
    fn closeness() {
        assert!(is_close(&[]) && is_close(&[Lack::Group]) && is_close(&[Lack::Port, Lack::Vlan]));
        assert!(!is_close(&[Lack::Group, Lack::Port]) && !is_close(&[Lack::Interface, Lack::Port, Lack::Vlan]));
    }

    #[test]
    fn the_nearest_comes_first() {
        let group = |length: u8| Prefix {
            address: Ipv4Addr::from_bits(PACKET.group.to_bits() & (u32::MAX << (32 - length))),
            length,
        };
        let rule = |name: &str, group, ports, vlan| Candidate {
            name: name.into(),
            matcher: Match { group, ports: Ports::Exact(ports), vlan, ..matcher() },
            readiness: Readiness::Ready,
        };
        let source = |name: &str| {
            let mut candidate = rule(name, group(16), 5001, None);
            candidate.matcher.source = Prefix::host([10, 0, 0, 6].into());
            candidate
        };
        // In the order that is wanted.
        let wanted = [
            rule("z-two-lacks", group(32), 5002, None),
            rule("y-one-lack", group(24), 5001, None),
            rule("y-two-lacks", group(24), 5002, None),
            rule("x-9", group(16), 5002, Some(100)),
            rule("x-10", group(16), 5002, Some(100)),
            source("w-two-lacks"),
            rule("a-other-group", Prefix::host([239, 1, 1, 2].into()), 5001, Some(100)),
        ];
        let backwards: Vec<&Candidate> = wanted.iter().rev().collect();
        let mut near: Vec<Close<'_>> = close(backwards, &PACKET).collect();
        near.sort_by(nearer);
        let names: Vec<&str> = near.iter().map(|(_, candidate)| candidate.name.as_str()).collect();
        assert_eq!(names, wanted.iter().map(|candidate| candidate.name.as_str()).collect::<Vec<_>>());
        assert_eq!(
            near.iter().min_by(|a, b| nearer(a, b)).map(|(_, candidate)| &candidate.name),
            Some(&wanted[0].name)
        );
    }

    #[test]
    fn overlaps() {
        let (a, m) = (matcher(), matcher);
        assert!(overlap(&a, &Match { ports: Ports::Range(5000, 5001), ..m() }));
        assert!(!overlap(&a, &Match { ports: Ports::Range(5002, 5003), ..m() }));
        let wide = Prefix { address: [239, 0, 0, 0].into(), length: 8 };
        assert!(overlap(&a, &Match { group: wide, ..m() }) && overlap(&Match { group: wide, ..m() }, &a));
        assert!(!overlap(&a, &Match { vlan: None, ..m() }));
        assert!(rank(&a) < rank(&Match { group: wide, ..m() }));
    }
}
