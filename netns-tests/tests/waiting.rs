//! What waits says for what, wakes when the cause is gone, and costs nothing meanwhile.

use std::{fs, time::Duration};

use anyhow::{Context, Result, ensure};
use netns_tests::{
    crossing::Crossing,
    daemon::Daemon,
    deadline::{SOON, until},
    ledger::{self, Deleted},
    needs_root,
    probe::Load,
    process,
    rules::{self, Rule},
    topology::Topology,
};

const LOAD: Load = Load { first: rules::SENT, streams: 1, rate: 1_000, size: 256, seconds: 1 };

fn state(daemon: &Daemon, rule: &str) -> Result<String> {
    Ok(daemon.stats()?.rule(rule).outcome())
}

fn becomes_active(daemon: &Daemon, rule: &str) -> Result<()> {
    let mut last = String::new();
    let active = until("a rule to be active", SOON, || {
        last = state(daemon, rule)?;
        Ok((last == "forwards").then_some(()))
    });
    active.with_context(|| format!("{rule} is {last:?}"))
}

/// Another program holds the ingress, and then the egress: the rule waits for its end, and for no command of anybody.
#[test]
fn the_end_of_another_owner_wakes_a_rule() -> Result<()> {
    needs_root!();
    for held in [["--iface-in", "v1"], ["--iface-out", "v2"]] {
        let network = Topology::chain(1).build()?;
        let other = Daemon::start(network.relay(), "", &held)?;
        let daemon = Daemon::start(network.relay(), &rules::file(&rules::streams(1, "v1", "v2")), &[])?;
        let waits = state(&daemon, "stream-0")?;
        ensure!(waits.starts_with("waiting: ") && waits.contains("another XDP program is attached"), "{waits}");
        other.stop()?;
        becomes_active(&daemon, "stream-0")?;
        Crossing::of_chain(&network, &LOAD)?.exactly_once(&LOAD)?;
        ledger::check(&daemon.stats_at_rest()?, Deleted::None)?;
    }
    Ok(())
}

/// A rule that is added by hand is refused, or told to wait for the other's end.
#[test]
fn a_rule_by_hand_may_wait_for_the_end_of_another_owner() -> Result<()> {
    needs_root!();
    let network = Topology::chain(1).build()?;
    let other = Daemon::start(network.relay(), "", &["--iface-in", "v1"])?;
    let daemon = Daemon::start(network.relay(), "", &[])?;
    let mut words = rules::streams(1, "v1", "v2")[0].add();
    let refused = daemon.ctl(&words)?.exited(1)?;
    ensure!(refused.stderr.contains("another XDP program is attached"), "{}", refused.told());
    words.push("--wait".into());
    daemon.done(&words)?;
    ensure!(state(&daemon, "stream-0")?.contains("another XDP program is attached"));
    other.stop()?;
    becomes_active(&daemon, "stream-0")?;
    Crossing::of_chain(&network, &LOAD)?.exactly_once(&LOAD)
}

/// An interface that one of a rule's two outputs needs is held: the rule forwards to the other, and to both in the end.
#[test]
fn the_end_of_another_owner_wakes_an_output() -> Result<()> {
    needs_root!();
    let network = Topology::fan(1, 2).build()?;
    let other = Daemon::start(network.relay(), "", &["--iface-out", "v4"])?;
    let mut rule = rules::streams(1, "v1", "v2").remove(0);
    rule.outputs.push(rules::Output { interface: "v4".into(), ..rule.outputs[0].clone() });
    let daemon = Daemon::start(network.relay(), &rules::file(&[rule]), &[])?;
    let waits = || Ok::<_, anyhow::Error>(daemon.stats()?.rule("stream-0").outputs[1].waiting.clone());
    ensure!(state(&daemon, "stream-0")? == "forwards");
    ensure!(waits()?.is_some_and(|why| why.contains("another XDP program is attached")), "{:?}", waits()?);
    other.stop()?;
    until("the second output", SOON, || Ok(waits()?.is_none().then_some(())))
}

fn prlimit(pid: &str, files: &str) -> Result<()> {
    process::run(std::process::Command::new("prlimit").args(["--pid", pid, &format!("--nofile={files}")])).map(drop)
}

/// The hard limit of a process's open files.
fn most_files(pid: &str) -> Result<String> {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits"))?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).context("no limit")?;
    Ok(line.split_whitespace().nth(1).context("no hard limit")?.to_owned())
}

/// Descriptors are used up while an interface comes: it is attached once there are some.
#[test]
fn descriptors_that_are_free_again_wake_a_rule() -> Result<()> {
    needs_root!();
    let network = Topology::fan(1, 2).build()?;
    let mut of = rules::streams(2, "v1", "v2");
    of[1].outputs[0].interface = "v7".into();
    let daemon = Daemon::start(network.relay(), &rules::file(&of), &[])?;
    let pid = daemon.pid().to_string();
    let open = fs::read_dir(format!("/proc/{pid}/fd"))?.count();
    let limit = |limit: &str| prlimit(&pid, limit);
    limit(&format!("{open}:"))?;
    network.relay().run("ip link add v7 type veth peer name v8")?;
    network.relay().run("ip addr add 10.9.0.1/24 dev v7")?;
    network.relay().run("ip link set v7 up")?;
    std::thread::sleep(Duration::from_secs(2));
    limit(&format!("{}:", most_files(&pid)?))?;
    becomes_active(&daemon, "stream-1")?;
    ensure!(state(&daemon, "stream-0")? == "forwards", "it lost nothing");
    Crossing::of_chain(&network, &LOAD)?.exactly_once(&LOAD)
}

/// At the start, as by reload: an interface that cannot be used lets its own rules wait, and no others.
#[test]
fn one_refused_interface_does_not_stop_the_start() -> Result<()> {
    needs_root!();
    let network = Topology::fan(2, 3).build()?;
    let mut of = rules::streams(3, "v1", "v2");
    of[1].outputs[0].interface = "v4".into();
    of[2].outputs[0].interface = "v9".into();
    network.relay().run("ip link set v4 mtu 9000")?;
    network.relay().run("ip link add v9 type veth peer name w9")?;
    network.relay().run("ip addr add 10.9.0.1/24 dev v9")?;
    network.relay().run("ip link set v9 up")?;
    let daemon = Daemon::start(network.relay(), &rules::file(&of), &["--workers", "2"])?;
    let waits = [state(&daemon, "stream-1")?, state(&daemon, "stream-2")?];
    ensure!(waits[0].starts_with("waiting: v4") && waits[0].contains("MTU of 9000"), "{waits:?}");
    ensure!(waits[1].starts_with("waiting: v9") && waits[1].contains("fewer than the 2 workers"), "{waits:?}");
    Crossing::of_chain(&network, &LOAD)?.exactly_once(&LOAD)?;
    network.relay().run("ip link set v4 mtu 1500")?;
    becomes_active(&daemon, "stream-1")?;
    daemon.stop()?;
    // What flags name is a demand.
    network.relay().run("ip link set v4 mtu 9000")?;
    let refused = Daemon::start(network.relay(), "", &["--iface-out", "v4"]);
    ensure!(refused.is_err_and(|error| format!("{error:#}").contains("MTU of 9000")));
    Ok(())
}

/// CPU time of a process so far.
fn cpu_time(daemon: &Daemon) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", daemon.pid()))?;
    let fields: Vec<&str> = stat.rsplit(')').next().context("a stat")?.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok(Duration::from_millis(ticks * 10))
}

/// A rule waits for all interfaces that it names, and says so wherever it is spoken of; what has come is named no more.
#[test]
fn all_that_is_missing_is_named() -> Result<()> {
    needs_root!();
    let network = Topology::chain(1).build()?;
    let outputs =
        "{ interface = \"v8\" }, { interface = \"v2\" }, { interface = \"v8\", vlan = 7 }, { interface = \"v9\" }";
    let file = |ingress: &str, outputs: &str| {
        let matcher = format!("{{ interface = \"{ingress}\", group = \"239.1.1.1\", port = 5001 }}");
        format!("[[rule]]\nname = \"feed\"\nmatch = {matcher}\noutput = [{outputs}]\n")
    };
    let daemon = Daemon::start(network.relay(), &file("v7", outputs), &[])?;
    let says = "no interface v7, v8, v9";
    ensure!(state(&daemon, "feed")? == format!("waiting: {says}"), "{}", state(&daemon, "feed")?);
    ensure!(daemon.log().contains(&format!("rule feed waits: {says}")), "{}", daemon.log());
    let listed: serde_json::Value = serde_json::from_str(&daemon.done(&["--json", "rule", "show", "feed"])?)?;
    ensure!(listed["state_reason"] == says, "{listed}");
    ensure!(daemon.done(&["status"])?.contains(&format!("waiting: {says}")));
    let explained = daemon.ctl(&["explain", "feed"])?.exited(1)?;
    let first = format!("feed is waiting: the rule waits: {says}\n");
    ensure!(explained.stdout.starts_with(&first), "{}", explained.told());
    network.relay().run("ip link add v8 type veth peer name w8")?;
    until("v8 to be named no more", SOON, || {
        Ok((state(&daemon, "feed")? == "waiting: no interface v7, v9").then_some(()))
    })?;
    network.relay().run("ip link add v7 type veth peer name w7")?;
    until("the rule to forward", SOON, || Ok((!state(&daemon, "feed")?.starts_with("waiting")).then_some(())))?;
    // None of its outputs is there any more, and then its ingress neither.
    network.relay().run("ip link del v8")?;
    network.relay().run("ip link del v2")?;
    until("the outputs to be named", SOON, || {
        Ok((state(&daemon, "feed")? == "waiting: no interface v8, v2, v9").then_some(()))
    })?;
    network.relay().run("ip link del v7")?;
    until("all to be named", SOON, || {
        Ok((state(&daemon, "feed")? == "waiting: no interface v7, v8, v2, v9").then_some(()))
    })?;
    let added = "rule add --name more --in v6 --group 239.1.1.2 --port 5001 --out v5 --out v1";
    let refused = daemon.ctl(&added.split(' ').collect::<Vec<_>>())?.exited(1)?;
    ensure!(refused.stderr.contains("no interface v6, v5") && refused.stderr.contains("--wait"), "{}", refused.told());
    Ok(())
}

/// Tens of thousands of rules wait for one interface: they cost next to no CPU time, and all forward when it comes.
#[test]
fn thousands_wait_for_one_interface_at_no_cost() -> Result<()> {
    needs_root!();
    const RULES: u32 = 20_000;
    let network = Topology::chain(1).build()?;
    let base = rules::streams(1, "v7", "v2").remove(0);
    let of: Vec<Rule> = (0..RULES)
        .map(|number| Rule {
            name: format!("r{number}"),
            group: std::net::Ipv4Addr::from_bits(0xef02_0000 + number),
            ..base.clone()
        })
        .collect();
    let daemon = Daemon::start(network.relay(), &rules::file(&of), &[])?;
    ensure!(state(&daemon, "r0")? == "waiting: no interface v7");
    let before = cpu_time(&daemon)?;
    std::thread::sleep(Duration::from_secs(5));
    let used = cpu_time(&daemon)? - before;
    // A third of a core before; the looks at the one name that is missing take a few milliseconds.
    ensure!(used < Duration::from_millis(500), "{used:?} of CPU time in five seconds");
    network.relay().run("ip link add v7 type veth peer name v8")?;
    network.relay().run("ip link set v7 up")?;
    becomes_active(&daemon, "r19999")?;
    becomes_active(&daemon, "r0")
}

/// A reload that changes more rules than there are free slots: every rule is what the file says, and none lost a packet.
#[test]
fn a_reload_larger_than_the_free_slots() -> Result<()> {
    needs_root!();
    const RULES: u32 = 10_000;
    let network = Topology::chain(1).build()?;
    let base = rules::streams(1, "v1", "v2").remove(0);
    let of = |port: u16| {
        let others = (0..RULES - 1).map(move |number| (format!("r{number}"), 0xef02_0000 + number, 7_000 + port));
        let mut text = format!("[limits]\nrules = {RULES}\n\n");
        let mut of: Vec<Rule> = others
            .map(|(name, group, to)| {
                let mut rule = Rule { name, group: std::net::Ipv4Addr::from_bits(group), ..base.clone() };
                rule.outputs[0].port = to;
                rule
            })
            .collect();
        // The stream's own rule changes as well, but for where it goes.
        let mut own = base.clone();
        own.name = "stream-0".into();
        own.outputs.extend((port > 0).then(|| rules::Output { port: 9_999, ..base.outputs[0].clone() }));
        of.push(own);
        text.push_str(&rules::file(&of));
        text
    };
    let daemon = Daemon::start(network.relay(), &of(0), &[])?;
    let load = Load { rate: 2_000, seconds: 4, ..LOAD };
    let crossing = std::thread::scope(|scope| -> Result<_> {
        let crossing = scope.spawn(|| Crossing::of_chain(&network, &load));
        until("the stream", SOON, || Ok((daemon.stats()?.totals.sent_packets > 0).then_some(())))?;
        fs::write(daemon.files().config(), of(1))?;
        let said = daemon.done(&["reload"])?;
        ensure!(
            said.lines().filter(|line| line.starts_with('~')).count() == RULES as usize,
            "{} lines",
            said.lines().count()
        );
        crossing.join().expect("no panic")
    })?;
    let waiting: Vec<String> = {
        let rules = daemon.stats()?.rules.into_iter();
        rules
            .filter(|rule| rule.outcome() != "forwards")
            .map(|rule| format!("{}: {}", rule.name, rule.outcome()))
            .take(3)
            .collect()
    };
    ensure!(waiting.is_empty(), "{waiting:?}");
    let stats = daemon.stats_at_rest()?;
    ensure!(crossing.received.packets == load.packets() && crossing.received.lost == 0, "{crossing:?}");
    ledger::check(&stats, Deleted::Replaced)
}
