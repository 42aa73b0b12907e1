//! Rules as a user writes them: in a file, and as arguments of `mcrctl rule add`.

use std::{fmt::Write, net::Ipv4Addr};

/// A rule with one exact match.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its name.
    pub name: String,
    /// Ingress interface.
    pub interface: String,
    /// Group that it matches.
    pub group: Ipv4Addr,
    /// UDP destination port that it matches.
    pub port: u16,
    /// Where to, at least one.
    pub outputs: Vec<Output>,
}

/// An output that changes group and port.
#[derive(Clone, Debug)]
pub struct Output {
    /// Egress interface.
    pub interface: String,
    /// New group.
    pub group: Ipv4Addr,
    /// New UDP destination port.
    pub port: u16,
}

/// First group and port of the streams that are sent; stream i has both + i.
pub const SENT: (Ipv4Addr, u16) = (Ipv4Addr::new(239, 1, 1, 1), 5001);
/// First group and port of the streams that come out; stream i has both + i.
pub const RECEIVED: (Ipv4Addr, u16) = (Ipv4Addr::new(239, 10, 1, 1), 6001);

/// `(group + i, port + i)`.
pub fn stream((group, port): (Ipv4Addr, u16), i: u16) -> (Ipv4Addr, u16) {
    (Ipv4Addr::from_bits(group.to_bits() + u32::from(i)), port + i)
}

/// Rules `stream-0` to `stream-<n-1>`, from [`SENT`] on `interface` to [`RECEIVED`] on `output`.
pub fn streams(n: u16, interface: &str, output: &str) -> Vec<Rule> {
    let rule = |i| {
        let ((group, port), (to_group, to_port)) = (stream(SENT, i), stream(RECEIVED, i));
        Rule {
            name: format!("stream-{i}"),
            interface: interface.into(),
            group,
            port,
            outputs: vec![Output { interface: output.into(), group: to_group, port: to_port }],
        }
    };
    (0..n).map(rule).collect()
}

/// A configuration file with these rules.
pub fn file(rules: &[Rule]) -> String {
    let mut text = String::new();
    for Rule { name, interface, group, port, outputs } in rules {
        let outputs = outputs
            .iter()
            .map(|Output { interface, group, port }| {
                format!("  {{ interface = \"{interface}\", group = \"{group}\", port = {port} }},\n")
            })
            .collect::<String>();
        write!(
            text,
            "[[rule]]\nname = \"{name}\"\nmatch = {{ interface = \"{interface}\", group = \"{group}\", port = {port} \
             }}\noutput = [\n{outputs}]\n\n"
        )
        .expect("a String takes everything");
    }
    text
}

impl Rule {
    /// The words after `mcrctl` that add it.
    pub fn add(&self) -> Vec<String> {
        let Self { name, interface, group, port, outputs } = self;
        let line = format!("rule add --name {name} --in {interface} --group {group} --port {port}");
        let mut words: Vec<String> = line.split(' ').map(String::from).collect();
        for Output { interface, group, port } in outputs {
            words.extend(["--out".into(), format!("{interface},group={group},port={port}")]);
        }
        words
    }
}
