//! States that can be trusted: what each fault makes of a rule, with its reason, its line in the log and its event.

use anyhow::{Context, Result, ensure};
use netns_tests::{
    daemon::Daemon,
    deadline::{SOON, until},
    needs_root,
    probe::{Load, Share},
    process::Process,
    rules,
    topology::{GEN, Network, SINK, Topology},
};
use serde_json::Value;

/// One stream from gen through the relay, for as long as this lives.
struct Stream(Option<Process>);

impl Stream {
    fn begin(network: &Network) -> Result<Self> {
        let load = Load { first: rules::SENT, streams: 1, rate: 200, size: 400, seconds: 600 };
        Ok(Self(Some(load.send(network.namespace(GEN), "v0", Share::Many)?)))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        drop(self.0.take());
    }
}

/// A chain, and a daemon with one rule of this output, and a second output that is well.
fn with_output(output: &str) -> Result<(Network, Daemon)> {
    let network = Topology::fan(1, 2).build()?;
    let config = format!(
        "[[rule]]\nname = \"feed\"\nmatch = {{ interface = \"v1\", group = \"239.1.1.1\", port = 5001 }}\noutput = [{{ interface = \"v4\" }}, {output}]\n"
    );
    let daemon = Daemon::start(network.relay(), &config, &[])?;
    Ok((network, daemon))
}

/// Waits until the rule is in `state` for a reason with all of `parts`.
fn becomes(daemon: &Daemon, state: &str, parts: &[&str]) -> Result<()> {
    let mut last = String::new();
    until(&format!("the rule to be {state} ({parts:?})"), SOON, || {
        let stats = daemon.stats()?;
        let rule = stats.rule("feed");
        let reason = rule.state_reason.clone().unwrap_or_default();
        last = format!("{}: {reason}", rule.state);
        Ok((rule.state == state && parts.iter().all(|part| reason.contains(part))).then_some(()))
    })
    .with_context(|| last.clone())
}

fn events(daemon: &Daemon) -> Result<Vec<Value>> {
    let told = daemon.done(&["--json", "events"])?;
    told.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

#[test]
fn links_make_rules_degraded_and_are_said_by_name() -> Result<()> {
    needs_root!();
    let (network, daemon) = with_output("{ interface = \"v2\", name = \"court1\" }")?;
    becomes(&daemon, "idle", &["no packet has come on v1"])?;
    let _stream = Stream::begin(&network)?;
    becomes(&daemon, "active", &[])?;
    ensure!(daemon.stats()?.rule("feed").state_reason.is_none());

    network.ip("relay", "link set v2 down")?;
    becomes(&daemon, "degraded", &["output court1 (v2)", "v2 is down", "ip link set dev v2 up"])?;
    network.ip("relay", "link set v2 up")?;
    becomes(&daemon, "active", &[])?;
    // No carrier: the peer is down.
    network.ip(SINK, "link set v3 down")?;
    becomes(&daemon, "degraded", &["court1", "v2 has no carrier"])?;
    network.ip(SINK, "link set v3 up")?;
    becomes(&daemon, "active", &[])?;
    network.ip("relay", "link set v1 down")?;
    becomes(&daemon, "degraded", &["the ingress v1 is down"])?;
    network.ip("relay", "link set v1 up")?;
    becomes(&daemon, "active", &[])?;
    network.ip("relay", "link del v2")?;
    becomes(&daemon, "degraded", &["court1", "no interface v2"])?;

    // What was said: a line and an event for each change, and no more.
    let states = || -> Result<Vec<(Value, Value)>> {
        let all = events(&daemon)?.into_iter();
        let of_rule = all.filter(|event| event["kind"] == "rule_state" && event["rule"] == "feed");
        Ok(of_rule.map(|event| (event["old"].clone(), event["new"].clone())).collect())
    };
    // The rule's state is read at any moment, and told of twice a second.
    until("the last change to be told", SOON, || {
        Ok(states()?.last().is_some_and(|(_, new)| new == "degraded").then_some(()))
    })?;
    let states = states()?;
    ensure!(states.windows(2).all(|pair| pair[0].1 == pair[1].0 && pair[1].0 != pair[1].1), "{states:?}");
    let log = daemon.log();
    let lines = log.lines().filter(|line| line.contains("rule feed: ") && line.contains(" -> ")).count();
    ensure!(lines == states.len() - 1, "{lines} lines for {states:?}\n{log}");
    for said in [
        "v2: link up -> down; rule feed sends there",
        "v2: link up -> no carrier; rule feed sends there",
        "v1: link up -> down; rule feed receives there",
    ] {
        ensure!(log.contains(said), "no {said:?} in\n{log}");
    }
    let links: Vec<Value> = events(&daemon)?.into_iter().filter(|event| event["kind"] == "link").collect();
    let was = |interface: &str, new: &str| links.iter().any(|e| e["interface"] == interface && e["new"] == new);
    ensure!(was("v2", "down") && was("v2", "no carrier") && was("v1", "down") && was("v2", "absent"), "{links:?}");
    Ok(())
}

#[test]
fn an_output_that_sends_nothing_makes_its_rule_degraded() -> Result<()> {
    needs_root!();
    for (output, change, back, parts) in [
        ("{ interface = \"v2\" }", "link set v2 mtu 100", "link set v2 mtu 1500", ["too_big", "MTU of v2, 100"]),
        (
            "{ interface = \"v2\" }",
            "addr flush dev v2",
            "addr add 10.2.0.1/24 dev v2",
            ["output 2 (v2)", "no IPv4 address"],
        ),
    ] {
        let (network, daemon) = with_output(output)?;
        let _stream = Stream::begin(&network)?;
        becomes(&daemon, "active", &[])?;
        network.ip("relay", change)?;
        becomes(&daemon, "degraded", &parts)?;
        network.ip("relay", back)?;
        becomes(&daemon, "active", &[])?;
    }
    // From the first packet on.
    let (network, daemon) = with_output("{ interface = \"v2\" }")?;
    daemon.done(&[
        "rule",
        "add",
        "--replace",
        "--name",
        "feed",
        "--in",
        "v1",
        "--group",
        "239.1.1.1",
        "--port",
        "5001",
        "--out",
        "v4",
    ])?;
    network.ip("relay", "link set v4 mtu 200")?;
    let _stream = Stream::begin(&network)?;
    becomes(&daemon, "degraded", &["output 1 (v4)", "too_big"])
}

/// The stream pauses, so no packet shows that the cause is gone.
#[test]
fn a_loss_whose_cause_is_gone_is_not_claimed_while_the_stream_pauses() -> Result<()> {
    needs_root!();
    for (change, part, not_enough, back, note) in [
        (
            "link set v2 mtu 200",
            "longer than the MTU of v2, 200",
            Some(("link set v2 mtu 300", "longer than the MTU of v2, 300")),
            "link set v2 mtu 1500",
            "(too_big) before the MTU of v2 became 1500",
        ),
        ("link set v2 down", "v2 is down", None, "link set v2 up", "(link_down) before the link of v2 came up"),
    ] {
        let (network, daemon) = with_output("{ interface = \"v2\" }")?;
        let stream = Stream::begin(&network)?;
        becomes(&daemon, "active", &[])?;
        network.ip("relay", change)?;
        becomes(&daemon, "degraded", &[part])?;
        // The finding of five seconds, and not only the link.
        until("all packets of five seconds to be dropped", SOON, || {
            let explained = daemon.ctl(&["explain", "feed", "--seconds", "1"])?;
            let dropped: u64 = daemon.stats()?.rule("feed").outputs[1].dropped.values().sum();
            Ok((explained.status.code() == Some(1) && dropped > 200 * 7).then_some(()))
        })?;
        drop(stream);
        daemon.stats_at_rest()?;
        if let Some((change, part)) = not_enough {
            network.ip("relay", change)?;
            becomes(&daemon, "degraded", &[part])?;
        }
        network.ip("relay", back)?;
        until(&format!("the loss to be over: {back}"), SOON, || {
            Ok((daemon.stats()?.rule("feed").state != "degraded").then_some(()))
        })?;
        let told = daemon.ctl(&["--json", "explain", "feed", "--seconds", "1"])?.exited(1)?;
        let told: Value = serde_json::from_str(&told.stdout)?;
        let findings = told["findings"].as_array().context("findings")?;
        let said = |finding: &&Value| finding["text"].as_str().is_some_and(|text| text.ends_with(note));
        let noted = findings.iter().find(said).with_context(|| format!("{note:?} in {told}"))?;
        ensure!(noted["result"] == "ok" && noted.get("fix").is_none_or(Value::is_null), "{noted}");
        ensure!(findings.iter().filter(|finding| finding["result"] == "problem").count() == 1, "{told}");
        ensure!(findings[0]["check"] == "arrival", "only that nothing comes: {told}");
        let _stream = Stream::begin(&network)?;
        becomes(&daemon, "active", &[])?;
    }
    Ok(())
}

#[test]
fn stalled_from_the_start_disabled_and_who_changed_what() -> Result<()> {
    needs_root!();
    let network = Topology::chain(1).build()?;
    let daemon = Daemon::start(network.relay(), "", &["--iface-in", "v1", "--iface-out", "v2"])?;
    let add = |more: &[&str]| {
        let words =
            ["rule", "add", "--name", "feed", "--in", "v1", "--group", "239.1.1.1", "--port", "5001", "--out", "v2"];
        daemon.done(&[&words, more].concat())
    };
    add(&["--stall-after", "1s", "--description", "court 1, main feed"])?;
    becomes(&daemon, "stalled", &["no packet has come on v1 since the rule started"])?;
    let shown = daemon.done(&["rule", "show", "feed"])?;
    ensure!(shown.contains("court 1, main feed") && shown.contains("stalled: no packet"), "{shown}");

    daemon.done(&["rule", "del", "feed"])?;
    add(&["--disabled"])?;
    becomes(&daemon, "disabled", &["mcrctl rule enable feed"])?;
    let _stream = Stream::begin(&network)?;
    until("packets that no rule matches", SOON, || {
        Ok((daemon.stats()?.interface("v1").verdicts["pass_no_rule"] > 50).then_some(()))
    })?;
    ensure!(daemon.stats()?.rule("feed").matched_packets == 0);
    // It keeps its match.
    let again =
        ["rule", "add", "--name", "other", "--in", "v1", "--group", "239.1.1.1", "--port", "5001", "--out", "v2"];
    let refused = daemon.ctl(&[&["--json"], &again[..]].concat())?.exited(1)?;
    let error: Value = serde_json::from_str(&refused.stderr)?;
    ensure!(error["error"]["code"] == "exists" && refused.stdout.is_empty(), "{}", refused.told());

    let changes: Vec<Value> = events(&daemon)?.into_iter().filter(|event| event["kind"] == "rule_change").collect();
    let told: Vec<&str> = changes.iter().filter_map(|event| event["new"].as_str()).collect();
    ensure!(told == ["added", "deleted", "added"], "{changes:?}");
    ensure!(changes.iter().all(|event| event["uid"] == 0 && event["pid"].as_u64() > Some(1)), "{changes:?}");
    let log = daemon.log();
    ensure!(
        log.lines().any(|line| line.contains("rule feed added by uid 0 (pid ") && line.ends_with("mcrctl)")),
        "{log}"
    );
    Ok(())
}

#[test]
fn events_are_followed() -> Result<()> {
    needs_root!();
    let network = Topology::chain(1).build()?;
    let daemon = Daemon::start(network.relay(), &rules::file(&rules::streams(1, "v1", "v2")), &[])?;
    let mut command = std::process::Command::new(netns_tests::programs::path("mcrctl")?);
    let following = Process::spawn(command.arg("--socket").arg(daemon.files().socket()).args(["events", "--follow"]))?;
    until("what has happened so far", SOON, || Ok(following.stdout().contains("stream-0").then_some(())))?;
    network.ip("relay", "link set v2 down")?;
    until("what happens", SOON, || {
        let told = following.stdout();
        Ok((told.contains(" v2: up -> down") && told.contains("stream-0: idle -> degraded")).then_some(()))
    })?;
    ensure!(daemon.done(&["events", "--since", "1h"])?.contains("up -> down"));
    ensure!(daemon.ctl(&["events", "--since", "yesterday"])?.status.code() == Some(2));
    Ok(())
}

#[test]
fn events_go_on_when_mcrd_restarts() -> Result<()> {
    needs_root!();
    let network = Topology::chain(1).build()?;
    let daemon = Daemon::start(network.relay(), &rules::file(&rules::streams(1, "v1", "v2")), &[])?;
    let mut command = std::process::Command::new(netns_tests::programs::path("mcrctl")?);
    let mcrctl = command.arg("--socket").arg(daemon.files().socket()).args(["--json", "events", "--follow"]);
    let following = Process::spawn(mcrctl)?;
    until("what has happened so far", SOON, || Ok(following.stdout().contains("stream-0").then_some(())))?;
    let files = daemon.kill()?;
    until("word of its end", SOON, || Ok(following.stderr().contains("stopped; waiting").then_some(())))?;
    let daemon = Daemon::start_with(files, network.relay(), &[])?;
    until("word of its return", SOON, || Ok(following.stderr().contains("mcrd runs again").then_some(())))?;
    network.ip("relay", "link set v2 down")?;
    until("what happens now", SOON, || Ok(following.stdout().contains("\"new\":\"degraded\"").then_some(())))?;
    // Every event of the second daemon, once each, behind those of the first.
    let all = daemon.done(&["--json", "events"])?;
    until("all of them", SOON, || Ok(following.stdout().ends_with(&all).then_some(())))?;
    let told = following.stdout();
    ensure!(all.lines().all(|line| told.matches(line).count() == 1), "{told}\n{all}");
    ensure!(following.stderr().lines().count() == 2, "{}", following.stderr());
    ensure!(following.running()?);
    Ok(())
}
