//! A fault, what `mcrctl explain` says of it, and what repairs it.

use anyhow::{Context, Result, ensure};
use netns_tests::{
    daemon::Daemon,
    deadline::{SOON, until},
    process::{Finished, finish},
    programs,
    raw::Wire,
    topology::{BRIDGES, End, GEN, Link, Network, RELAY, SINK, Topology},
};
use serde_json::Value;

use crate::stream::{Stream, packet, read};

/// What `explain NAME` said.
#[derive(Debug)]
pub struct Told {
    /// The first line.
    pub first: String,
    /// The rule's state.
    pub state: String,
    /// The first finding's command.
    pub fix: Option<String>,
    /// Findings that are problems.
    pub problems: usize,
}

/// Runs `mcrctl` beside mcrd: it looks at the firewall of its own namespace.
fn ctl(network: &Network, daemon: &Daemon, words: &[&str]) -> Result<Finished> {
    let mut mcrctl = network.relay().command(programs::path("mcrctl")?);
    finish(mcrctl.arg("--socket").arg(daemon.files().socket()).args(words))
}

/// Asks twice, as text and as JSON, which must agree on the first finding.
pub fn explain(network: &Network, daemon: &Daemon, rule: &str) -> Result<Told> {
    let text = ctl(network, daemon, &["explain", rule, "--seconds", "1"])?.exited(1)?;
    let json = ctl(network, daemon, &["--json", "explain", rule, "--seconds", "1"])?.exited(1)?;
    let value: Value = serde_json::from_str(&json.stdout).with_context(|| json.told())?;
    ensure!(value["rule"] == rule, "{value}");
    let findings = value["findings"].as_array().context("findings")?;
    let cause = findings.first().context("a finding")?;
    ensure!(cause["result"] == "problem" && cause["check"].is_string() && cause["where"].is_string(), "{value}");
    let first = text.stdout.lines().next().unwrap_or_default().to_owned();
    let fix = cause["fix"].as_str().map(str::to_owned);
    if let Some(fix) = &fix {
        ensure!(first.ends_with(&format!("; fix: {fix}")), "{first:?}, {fix:?}");
    }
    let problems = findings.iter().filter(|finding| finding["result"] == "problem").count();
    Ok(Told { first, state: value["state"].as_str().unwrap_or_default().to_owned(), fix, problems })
}

/// Waits until the first line has all of these parts and the rule is not `active`.
pub fn explained(network: &Network, daemon: &Daemon, says: &[&str]) -> Result<Told> {
    let mut last = String::new();
    let told = until("explain to name the cause", SOON, || {
        let Ok(told) = explain(network, daemon, "feed").inspect_err(|error| last = format!("{error:#}")) else {
            return Ok(None);
        };
        last = format!("{told:?}");
        Ok((says.iter().all(|part| told.first.contains(part)) && told.state != "active").then_some(told))
    })
    .with_context(|| format!("{says:?}; last: {last}"))?;
    eprintln!("{}", told.first);
    Ok(told)
}

/// Runs a line of shell in a namespace, where `mcrctl` asks this daemon, and `@gen` is a namespace's name.
pub fn shell(network: &Network, daemon: &Daemon, namespace: &str, line: &str) -> Result<()> {
    let line = [GEN, SINK].iter().fold(line.to_owned(), |line, label| match line.contains(&format!("@{label}")) {
        true => line.replace(&format!("@{label}"), network.namespace(label).name()),
        false => line,
    });
    let (program, socket) = (programs::path("mcrctl")?, daemon.files().socket());
    let mcrctl = format!("mcrctl() {{ {} --socket {} \"$@\"; }}", program.display(), socket.display());
    let mut command = network.namespace(namespace).command("sh");
    finish(command.args(["-ec", &format!("{mcrctl}\n{line}")]))?.success().with_context(|| line).map(drop)
}

/// The stream arrives at v3 and `explain` finds nothing wrong with the rule, which is active.
pub fn arrives(network: &Network, daemon: &Daemon) -> Result<()> {
    let far = Wire::open(network.namespace(SINK), "v3")?;
    until("the stream to arrive", SOON, || {
        let frames = far.received()?;
        Ok(frames.iter().any(|frame| read("v2", frame).is_some()).then_some(()))
    })?;
    let mut last = String::new();
    until("nothing to be wrong", SOON, || {
        let said = ctl(network, daemon, &["explain", "feed", "--seconds", "1"])?;
        last = said.told();
        Ok((said.status.success() && said.stdout.starts_with("feed is active: nothing is wrong\n")).then_some(()))
    })
    .context(last)
}

/// A file by which the host joins nothing on v1: not every kernel that tests run on has VLANs, by which it would join groups there
/// (`vm_vlans`).
pub const UNASKED: &str = "[[interface]]\nname = \"v1\"\nmembership = \"none\"\n";

/// What takes a fault away.
pub enum Repair<'a> {
    /// The command that `explain` prints.
    Printed(&'a str),
    /// The sender sends this instead: no command here can repair it.
    Sender(Vec<u8>),
    /// A line of shell in a namespace, where the fault lies: no command on the relay can repair it.
    There(&'a str, &'a str),
}

/// Something that is wrong with one rule, `feed` from v1 to v2.
pub struct Fault<'a> {
    /// For messages.
    pub name: &'a str,
    /// The namespaces; a chain unless given.
    pub topology: Topology,
    /// Flags of mcrd.
    pub mcrd: &'a [&'a str],
    /// Its file.
    pub file: &'a str,
    /// The interface of gen that sends.
    pub from: &'a str,
    /// What is sent.
    pub frame: Vec<u8>,
    /// Flags of the rule, beside or in place of those that [`packet`] matches.
    pub flags: &'a [&'a str],
    /// Whether the change is made before the rule is added.
    pub is_early: bool,
    /// A line of shell, and the namespace in which it makes the fault.
    pub change: (&'a str, &'a str),
    /// What the first line says.
    pub says: &'a [&'a str],
    /// What takes it away.
    pub repair: Repair<'a>,
}

impl Fault<'_> {
    /// None yet, of a stream of this frame.
    pub fn of(frame: Vec<u8>) -> Self {
        Self {
            name: "",
            topology: Topology::chain(1),
            mcrd: &[],
            file: "",
            from: "v0",
            frame,
            flags: &[],
            is_early: false,
            change: (RELAY, ""),
            says: &[],
            repair: Repair::Sender(packet().frame()),
        }
    }

    /// Makes it, asks, and repairs it: then the stream arrives at the other end.
    pub fn check(&self) -> Result<()> {
        self.happen().with_context(|| self.name.to_owned())
    }

    fn happen(&self) -> Result<()> {
        let network = self.topology.build()?;
        let daemon = Daemon::start(network.relay(), self.file, self.mcrd)?;
        let (namespace, change) = self.change;
        if self.is_early {
            shell(&network, &daemon, namespace, change)?;
        }
        daemon.done(&add(self.flags))?;
        if !self.is_early {
            shell(&network, &daemon, namespace, change)?;
        }
        let stream = Stream::begin(&network, self.from, self.frame.clone())?;
        let told = explained(&network, &daemon, self.says)?;
        let printed = match self.repair {
            Repair::Printed(fix) => Some(fix),
            Repair::Sender(_) | Repair::There(..) => None,
        };
        ensure!(told.fix.as_deref() == printed, "{told:?}");
        let mut frame = self.frame.clone();
        match &self.repair {
            Repair::Printed(fix) => shell(&network, &daemon, RELAY, fix)?,
            Repair::Sender(better) => frame.clone_from(better),
            Repair::There(namespace, line) => shell(&network, &daemon, namespace, line)?,
        }
        // Its interface may be another one now.
        drop(stream);
        let _stream = Stream::begin(&network, self.from, frame)?;
        arrives(&network, &daemon)
    }
}

/// A rule on v1, for a file.
pub fn rule(name: &str, matcher: &str, outputs: &str) -> String {
    format!("[[rule]]\nname = \"{name}\"\nmatch = {{ interface = \"v1\", {matcher} }}\noutput = [{outputs}]\n")
}

/// The words that add the rule; a flag that is given takes the place of its like.
pub fn add(flags: &[&str]) -> Vec<String> {
    let mut words: Vec<&str> = "rule add --name feed --in v1".split(' ').collect();
    let given = |flag: &str| flags.contains(&flag);
    for own in [["--group", "239.1.1.1"], ["--port", "5001"], ["--out", "v2"]] {
        if !given(own[0]) {
            words.extend(own);
        }
    }
    words.extend(flags);
    words.into_iter().map(String::from).collect()
}

/// The chain with a bridge that snoops IGMP, and asks, between v0 and v1; its ports are called v0 and v1 too.
pub fn switched() -> Topology {
    let mut topology = Topology::chain(1);
    topology.namespaces.push(BRIDGES.to_owned());
    topology.bridges.push((BRIDGES.to_owned(), "br0".to_owned()));
    let Link { queues, ends: [sender, relay] } = topology.links.remove(0);
    topology.links.push(Link { queues, ends: [sender, End::port("v0", "br0")] });
    topology.links.push(Link { queues, ends: [relay, End::port("v1", "br0")] });
    topology
}
