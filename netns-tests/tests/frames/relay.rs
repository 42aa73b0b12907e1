//! A relay with many links to one other namespace.

use std::{fmt::Write, fs, net::Ipv4Addr};

use anyhow::{Context, Result, ensure};
use netns_tests::{
    daemon::Daemon,
    deadline::{SOON, until},
    netns::Namespace,
    probe::{Load, Share},
    rules::{Output, RECEIVED, Rule, SENT},
};

/// A packet stream of 100 packets.
const LOAD: Load = Load { first: SENT, streams: 1, rate: 200, size: 256, seconds: 1 };

/// Two namespaces; links are made on demand.
pub struct Relay {
    /// Where mcrd runs: ingresses i0, i1, .. and egresses o0, o1, ..
    pub relay: Namespace,
    /// The other ends: I0, I1, .. and O0, O1, ..
    pub far: Namespace,
}

impl Relay {
    pub fn new() -> Result<Self> {
        Ok(Self { relay: Namespace::create("relay")?, far: Namespace::create("far")? })
    }

    /// Makes the links of these rules, up and with addresses.
    pub fn link(&self, numbers: impl IntoIterator<Item = usize>) -> Result<()> {
        let far = self.far.name();
        let (mut near_lines, mut far_lines) = (String::new(), String::new());
        for number in numbers {
            for (letter, net) in [("i", 10), ("o", 20)] {
                let (name, peer) = (format!("{letter}{number}"), format!("{}{number}", letter.to_uppercase()));
                writeln!(near_lines, "link add {name} type veth peer name {peer} netns {far}")?;
                writeln!(near_lines, "addr add {net}.{number}.0.1/24 dev {name}\nlink set {name} up")?;
                writeln!(far_lines, "addr add {net}.{number}.0.2/24 dev {peer}\nlink set {peer} up")?;
            }
        }
        self.relay.ip_batch(&near_lines)?;
        self.far.ip_batch(&far_lines)
    }

    /// Deletes the links of a rule.
    pub fn unlink(&self, number: usize) -> Result<()> {
        self.relay.ip_batch(&format!("link del i{number}\nlink del o{number}"))
    }

    /// Sends a stream through a rule that forwards to its own egress; each packet arrives once.
    pub fn carries(&self, rule: &Rule) -> Result<()> {
        let end = |name: &str| name.to_uppercase();
        let output = &rule.outputs[0];
        let load = Load { first: (rule.group, rule.port), ..LOAD };
        let to = (output.group, output.port);
        let receiver = load.receive(&self.far, &end(&output.interface), to, Share::Many)?;
        load.sent(load.send(&self.far, &end(&rule.interface), Share::Many)?)?;
        let received = load.received(receiver)?;
        ensure!(
            received.packets == load.packets() && received.lost + received.duplicated == 0,
            "{} of {}: {received:?}",
            rule.name,
            load.packets()
        );
        Ok(())
    }
}

/// Rule `r<number>`, from i<number> to o<egress>.
pub fn rule(number: usize, egress: usize) -> Rule {
    let of = |base: Ipv4Addr| Ipv4Addr::from_bits(base.to_bits() + number as u32);
    Rule {
        name: format!("r{number}"),
        interface: format!("i{number}"),
        group: of(SENT.0),
        port: SENT.1,
        outputs: vec![Output { interface: format!("o{egress}"), group: of(RECEIVED.0), port: RECEIVED.1 }],
    }
}

/// Waits until all of a daemon's rules are active.
pub fn all_active(daemon: &Daemon, rules: usize) -> Result<()> {
    let mut states = Vec::new();
    let all = until("all rules to be active", SOON, || {
        states = daemon.stats()?.rules.into_iter().map(|rule| (rule.name.clone(), rule.outcome())).collect();
        Ok((states.len() == rules && states.iter().all(|(_, state)| state == "forwards")).then_some(()))
    });
    all.with_context(|| {
        let others: Vec<_> = states.iter().filter(|(_, state)| state != "forwards").take(5).collect();
        format!("of {} rules these are not: {others:?}", states.len())
    })
}

/// Resident memory of a daemon in bytes.
pub fn resident(daemon: &Daemon) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse::<u64>()? * 1024)
}
