//! A row by its words: rules, then each packet that is sent, and after it what becomes of it.

use std::{collections::BTreeMap, fmt::Write, net::Ipv4Addr};

use netns_tests::packet::{Checksum, Packet, group_mac};

/// Bytes of the largest IP packet on the link v6-v7.
pub const SMALL_MTU: usize = 600;

/// The relay's side of a link.
#[derive(Clone, Debug)]
pub struct Link {
    /// The relay's interface.
    pub relay: &'static str,
    /// Its Ethernet address.
    pub mac: [u8; 6],
    /// Its IPv4 address.
    pub address: Ipv4Addr,
}

/// The links by the name of their other end.
pub type Links = BTreeMap<&'static str, Link>;

/// All rows.
pub struct Table {
    links: Links,
    /// In order; row i has the number i + 1.
    pub rows: Vec<Row>,
}

/// A frame, and the end of a link where it is sent or comes out.
pub type Frame = (&'static str, Vec<u8>);

/// What is sent, and all that it must lead to.
///
/// A target is `GROUP:PORT`; an `N` in it, and in rules, is the row's number, so that each row has groups of its own. The
/// identification of each packet is the row's number and the packet's.
pub struct Row {
    /// What it shows.
    pub name: &'static str,
    number: u8,
    links: Links,
    /// As `[[rule]]` tables, called `row-N-0` and so on.
    pub rules: Vec<String>,
    /// In order.
    pub sent: Vec<Frame>,
    last: Packet,
    /// What comes out.
    pub out: Vec<Frame>,
    /// What the host sees, by the end that it was sent from.
    pub host: Vec<Frame>,
    /// The program's verdicts on those, with the relay's interface.
    pub passed: Vec<(&'static str, &'static str)>,
    /// Reasons of rules and of outputs, each once for a packet.
    pub dropped: BTreeMap<String, u64>,
}

impl Table {
    pub fn new(links: Links) -> Self {
        Self { links, rows: Vec::new() }
    }

    /// The Ethernet address of the relay's interface whose other end is `end`.
    pub fn relay_mac(&self, end: &str) -> [u8; 6] {
        self.links[end].mac
    }

    /// A new row.
    pub fn row(&mut self, name: &'static str) -> &mut Row {
        let number = u8::try_from(self.rows.len() + 1).expect("the number fits an octet");
        self.rows.push(Row {
            name,
            number,
            links: self.links.clone(),
            rules: Vec::new(),
            sent: Vec::new(),
            last: Packet::new(Ipv4Addr::UNSPECIFIED, 0),
            out: Vec::new(),
            host: Vec::new(),
            passed: Vec::new(),
            dropped: BTreeMap::new(),
        });
        self.rows.last_mut().expect("just pushed")
    }
}

impl Row {
    /// A rule: the ingress interface and `key=value` words of the match, then the same for each output.
    pub fn rule(&mut self, matcher: &str, outputs: &[&str]) -> &mut Self {
        let mut text = format!("[[rule]]\nname = \"{}\"\n", rule_name(self.number, self.rules.len()));
        writeln!(text, "match = {}", self.inline(matcher)).expect("a String takes everything");
        let outputs: Vec<String> = outputs.iter().map(|output| self.inline(output)).collect();
        writeln!(text, "output = [\n  {},\n]", outputs.join(",\n  ")).expect("a String takes everything");
        self.rules.push(text);
        self
    }

    /// A packet sent from v0.
    pub fn sent(&mut self, target: &str, change: impl FnOnce(&mut Packet)) -> &mut Self {
        self.sent_on("v0", target, change)
    }

    /// A packet sent from `end`.
    pub fn sent_on(&mut self, end: &'static str, target: &str, change: impl FnOnce(&mut Packet)) -> &mut Self {
        let (group, port) = self.target(target);
        let mut packet = Packet { id: self.id(), ..Packet::new(group, port) };
        change(&mut packet);
        self.sent.push((end, packet.frame()));
        self.last = packet;
        self
    }

    /// Changes the bytes of the packet that was sent last.
    pub fn bytes(&mut self, change: impl FnOnce(&mut Vec<u8>)) -> &mut Self {
        change(&mut self.sent.last_mut().expect("a packet was sent").1);
        self
    }

    /// The packet sent last comes out at `end`, with what a router changes (both MACs, source and TTL; no tag, a partial
    /// checksum completed), `target`, and `change`.
    pub fn out(&mut self, end: &'static str, target: &str, change: impl FnOnce(&mut Packet)) -> &mut Self {
        let (group, port) = self.target(target);
        let link = &self.links[end];
        let mut packet = Packet {
            from_mac: link.mac,
            to_mac: group_mac(group),
            tag: None,
            source: link.address,
            ttl: self.last.ttl.saturating_sub(1),
            group,
            port,
            ..self.last.clone()
        };
        if packet.checksum == Checksum::Partial {
            packet.checksum = Checksum::Right;
        }
        change(&mut packet);
        self.out.push((end, packet.frame()));
        self
    }

    /// Changes the bytes of the packet that came out last.
    pub fn out_bytes(&mut self, change: impl FnOnce(&mut Vec<u8>)) -> &mut Self {
        change(&mut self.out.last_mut().expect("a packet comes out").1);
        self
    }

    /// The packet sent last is the host's, untouched, by this verdict.
    pub fn passes(&mut self, verdict: &'static str) -> &mut Self {
        let (end, frame) = self.sent.last().expect("a packet was sent").clone();
        self.passed.push((self.links[end].relay, verdict));
        self.host.push((end, frame));
        self
    }

    /// The packet sent last is dropped once more, for this reason.
    pub fn drops(&mut self, reason: &str) -> &mut Self {
        *self.dropped.entry(reason.to_owned()).or_default() += 1;
        self
    }

    /// The identification of the next packet.
    pub fn id(&self) -> u16 {
        u16::from_be_bytes([self.number, u8::try_from(self.sent.len()).expect("few packets")])
    }

    fn target(&self, target: &str) -> (Ipv4Addr, u16) {
        let target = self.numbered(target);
        let (group, port) = target.split_once(':').expect("GROUP:PORT");
        (group.parse().expect("a group"), port.parse().expect("a port"))
    }

    fn numbered(&self, text: &str) -> String {
        text.replace('N', &self.number.to_string())
    }

    /// An inline table of the words, the first of which is the interface.
    fn inline(&self, words: &str) -> String {
        let words = self.numbered(words);
        let mut words = words.split(' ');
        let mut pairs = vec![format!("interface = \"{}\"", words.next().expect("an interface"))];
        for word in words {
            let (key, value) = word.split_once('=').expect("key=value");
            let is_number = value.bytes().all(|byte| byte.is_ascii_digit());
            pairs.push(if is_number { format!("{key} = {value}") } else { format!("{key} = \"{value}\"") });
        }
        format!("{{ {} }}", pairs.join(", "))
    }
}

/// Name of a row's rule.
pub fn rule_name(row: u8, rule: usize) -> String {
    format!("row-{row}-{rule}")
}

/// For packets and outputs that are as they are.
pub fn same(_: &mut Packet) {}
