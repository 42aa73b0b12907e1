//! Rules changed by command: in part, several at once, in batches, and in the file; what runs, exported.

use std::{
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use netns_tests::{
    crossing::tx_dropped,
    daemon::{Daemon, Files, words},
    needs_root,
    probe::{Load, Share},
    rules,
    topology::{GEN, SINK},
};
use serde_json::Value;

/// While two streams run, one rule's outputs and TTL change many times, and a third rule comes and goes: nothing is lost.
#[test]
fn rules_are_changed_under_traffic_without_loss() -> Result<()> {
    needs_root!();
    let (network, daemon) = Daemon::in_chain(&rules::file(&rules::streams(3, "v1", "v2")))?;
    let load = Load { first: rules::SENT, streams: 2, rate: 2000, size: 200, seconds: 4 };
    let (from, to) = (network.namespace(GEN), network.namespace(SINK));
    let before = tx_dropped(from, "v0")?;
    let receiver = load.receive(to, "v3", rules::RECEIVED, Share::Many)?;
    let sender = load.send(from, "v0", Share::Many)?;
    let mut ttl = 0;
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(3) {
        ttl = ttl % 60 + 10;
        let out = format!("v2,group=239.10.1.1,port=6001,ttl={ttl}");
        daemon.done(&["rule", "set", "stream-0", "--out", &out, "--stall-after", "5s"])?;
        daemon.done(&["rule", "disable", "stream-2"])?;
        daemon.done(&["rule", "enable", "stream-*"])?;
    }
    let sent = load.sent(sender)?;
    let received = load.received(receiver)?;
    ensure!(tx_dropped(from, "v0")? == before, "the sender's own interface dropped packets");
    ensure!(
        received.packets == sent.packets && received.lost == 0 && received.duplicated == 0,
        "{sent:?} {received:?}"
    );
    let stats = daemon.stats_at_rest()?;
    let rule = stats.rule("stream-0");
    ensure!(rule.matched_packets == sent.packets / 2, "counters go on: {rule:?}");
    ensure!(rule.outputs[0].sent_packets <= rule.matched_packets, "{rule:?}");
    let shown: Value = serde_json::from_str(&daemon.done(&["--json", "rule", "show", "stream-0"])?)?;
    ensure!(shown["output"][0]["ttl"] == ttl && shown["stall_after"] == "5s" && shown["origin"] == "file", "{shown}");
    Ok(())
}

#[test]
fn a_disabled_rule_sends_nothing_and_several_change_in_one_step() -> Result<()> {
    needs_root!();
    let (network, daemon) = Daemon::in_chain(&rules::file(&rules::streams(2, "v1", "v2")))?;
    daemon.done(&["rule", "disable", "stream-0"])?;
    let load = Load { first: rules::SENT, streams: 2, rate: 200, size: 100, seconds: 1 };
    let sent = load.sent(load.send(network.namespace(GEN), "v0", Share::Alone)?)?;
    let stats = daemon.stats_at_rest()?;
    ensure!(stats.rule("stream-0").state == "disabled" && stats.rule("stream-0").matched_packets == 0);
    ensure!(stats.rule("stream-1").matched_packets == sent.packets / 2, "{:?}", stats.rule("stream-1"));
    for (line, code) in [
        ("rule del stream-0 nobody", 1),
        ("rule disable stream-1 x*", 1),
        ("rule del", 2),
        ("rule set stream-0", 2),
        ("rule set stream-0 --in nowhere0", 1),
        ("rule set stream-0 --port 0", 2),
        ("rule set nobody --port 5", 1),
    ] {
        let finished = daemon.ctl(&words(line))?.exited(code)?;
        ensure!(finished.stdout.is_empty() && !finished.stderr.is_empty(), "{}", finished.told());
    }
    ensure!(daemon.rule_names()? == ["stream-0", "stream-1"]);
    ensure!(daemon.stats()?.rule("stream-1").state != "disabled");
    daemon.done(&["rule", "rm", "stream-*"])?;
    ensure!(daemon.rule_names()?.is_empty());
    let log = daemon.log();
    for said in ["rule stream-0 disabled by uid ", "rule stream-0 deleted by uid ", "rule stream-1 deleted by uid "] {
        ensure!(log.contains(said), "no {said:?} in\n{log}");
    }
    Ok(())
}

#[test]
fn an_add_of_what_is_there_is_success_and_a_replacement_says_what_it_loses() -> Result<()> {
    needs_root!();
    let (_network, daemon) = Daemon::in_chain("")?;
    let add = words("--json rule add --name a --in v1 --group 239.1.1.1 --port 5001 --stall-after 5s --out v2,ttl=9");
    let answer = |words: &[&str]| -> Result<Value> { Ok(serde_json::from_str(&daemon.done(words)?)?) };
    ensure!(answer(&add)?["changed"] == true);
    ensure!(answer(&add)?["changed"] == false);
    let other = words("--json rule add --name a --in v1 --group 239.1.1.1 --port 5001 --out v2");
    let refused = daemon.ctl(&other)?.exited(1)?;
    let error: Value = serde_json::from_str(&refused.stderr)?;
    ensure!(error["error"]["code"] == "exists" && refused.stderr.contains("--replace"), "{}", refused.told());
    let replaced = answer(&[&other[..], &["--replace"]].concat())?;
    let warnings = replaced["warnings"].to_string();
    ensure!(
        replaced["replaced"] == true && warnings.contains("stall_after = 5s") && warnings.contains("ttl = 9"),
        "{replaced}"
    );
    // An answer can be sent back.
    let rule: Value = serde_json::from_str(&daemon.done(&["--json", "rule", "show", "a"])?)?;
    let request = serde_json::json!({"command": "rule_add", "rule": rule});
    ensure!(ask(&daemon, &[request])?[0]["rule_added"]["changed"] == false);
    Ok(())
}

/// Sends lines on one connection, and returns their answers.
fn ask(daemon: &Daemon, requests: &[Value]) -> Result<Vec<Value>> {
    let mut stream = UnixStream::connect(daemon.files().socket())?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let answer = |request| -> Result<Value> {
        writeln!(stream, "{request}")?;
        let mut line = String::new();
        reader.read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    };
    requests.iter().map(answer).collect()
}

fn lines(n: u32) -> String {
    let mut text = String::from("# made by a test\n");
    for i in 1..n {
        let (a, b, c) = (200 + i / 65_536, i / 256 % 256, i % 256);
        writeln!(text, "rule add --name r-{i} --in v1 --group 239.{a}.{b}.{c} --port 5000 --out v2,port=6000")
            .expect("memory");
    }
    text
}

#[test]
fn a_batch_is_applied_as_a_whole_or_not_at_all() -> Result<()> {
    needs_root!();
    let (_network, daemon) = Daemon::in_chain(&rules::file(&rules::streams(1, "v1", "v2")))?;
    let thousand = lines(1001);
    for (what, wrong, code) in [
        ("a value", "rule add --name r-x --in v1 --group 10.0.0.1 --port 5 --out v2", 2),
        ("a flag", "rule add --name r-x --inn v1 --group 239.3.1.1 --port 5 --out v2", 2),
        ("a name that is taken", "rule add --name r-1 --in v1 --group 239.3.1.1 --port 5 --out v2", 1),
        ("packets of another", "rule add --name r-x --in v1 --group 239.1.1.1 --port 5001 --out v2", 1),
        ("no interface", "rule add --name r-x --in nowhere0 --group 239.3.1.1 --port 5 --out v2", 1),
        ("no rule", "rule del nobody", 1),
        ("no change", "status", 2),
    ] {
        let mut with: Vec<&str> = thousand.lines().collect();
        with[998] = wrong;
        let finished = daemon.batch(&with.join("\n"), &[])?.exited(code).with_context(|| what)?;
        ensure!(finished.stderr.contains("batch:999: ") && finished.stdout.is_empty(), "{what}: {}", finished.told());
        ensure!(daemon.rule_names()? == ["stream-0"], "{what}");
    }
    // Two at once, of which one only the daemon can know.
    let both = "rule add --in v1 --group 10.0.0.1 --out v2\nrule set stream-0 --port 5\nrule add --name stream-0 --in v1 --group 239.9.9.9 --out v2\n";
    let finished = daemon.batch(both, &[])?.exited(2)?;
    ensure!(finished.stderr.contains("batch:1: ") && finished.stderr.contains("batch:3: "), "{}", finished.told());
    let planned = daemon.batch(&thousand, &["--dry-run"])?.success()?;
    ensure!(planned.stdout.lines().filter(|line| line.starts_with("+ ")).count() == 1000, "{}", planned.stdout);
    ensure!(daemon.rule_names()? == ["stream-0"]);
    let started = Instant::now();
    daemon.batch(&thousand, &[])?.success()?;
    eprintln!("1,000 rules: {:?}", started.elapsed());
    ensure!(daemon.rule_names()?.len() == 1001);
    let changes = "rule del 'r-*'\nrule set stream-0 --description 'a b'\nrule disable stream-0\n";
    let changed = daemon.batch(changes, &[])?.success()?;
    ensure!(changed.stdout.contains("~ stream-0: ") && daemon.rule_names()? == ["stream-0"], "{}", changed.told());
    ensure!(daemon.stats()?.rule("stream-0").state == "disabled");
    Ok(())
}

#[test]
fn a_batch_of_many_thousand_lines_travels_in_parts() -> Result<()> {
    needs_root!();
    let (_network, daemon) = Daemon::in_chain("")?;
    let started = Instant::now();
    daemon.batch(&lines(65_537), &[])?.success()?;
    eprintln!("65,536 rules: {:?}", started.elapsed());
    ensure!(daemon.rule_names()?.len() == 65_536);
    Ok(())
}

#[test]
fn a_broken_connection_applies_nothing() -> Result<()> {
    needs_root!();
    let (_network, daemon) = Daemon::in_chain("")?;
    let rule = |name: &str, group: &str| {
        serde_json::json!({"line": 1, "request": {"command": "rule_add", "rule":
            {"name": name, "match": {"interface": "v1", "group": group}, "output": [{"interface": "v2"}]}}})
    };
    let part =
        serde_json::json!({"command": "batch_part", "operations": [rule("a", "239.3.1.1"), rule("b", "239.3.1.2")]});
    let answers = ask(&daemon, std::slice::from_ref(&part))?;
    ensure!(answers[0]["batch_part"]["operations"] == 2, "{answers:?}");
    ensure!(daemon.rule_names()?.is_empty());
    // Another connection's commit is of its own parts.
    let commit = serde_json::json!({"command": "batch", "operations": [rule("c", "239.3.1.3")]});
    ensure!(ask(&daemon, std::slice::from_ref(&commit))?[0]["batched"]["changes"][0]["name"] == "c");
    ensure!(daemon.rule_names()? == ["c"]);
    // A line that is none spoils the batch that it may have been a part of.
    let wrong = serde_json::json!({"command": "batch_part", "operations": [{"line": 1}]});
    let answers = ask(&daemon, &[wrong, part.clone(), serde_json::json!({"command": "batch"})])?;
    ensure!(answers[2]["error"]["code"] == "invalid" && daemon.rule_names()? == ["c"], "{answers:?}");
    ask(&daemon, &[part, serde_json::json!({"command": "batch"})])?;
    ensure!(daemon.rule_names()? == ["a", "b", "c"]);
    Ok(())
}

/// A file with 1,000 rules of every kind.
fn of_every_kind() -> String {
    let mut text = String::from(
        "[limits]\nrules = 2000\n[datapath]\ncpu_reserve = \"7%\"\n[[interface]]\nname = \"v1\"\nmembership = \"allmulticast\"\n",
    );
    for i in 0..1000u32 {
        let (a, b) = (i / 250, i % 250);
        let (matcher, output) = match i % 5 {
            0 => (format!("group = \"239.{a}.{b}.1\", port = {}", 5000 + i), "ttl = 16, dscp = \"AF41\""),
            1 => (
                format!("group = \"239.{}.{b}.0/28\", port = \"5001-5050\"", 10 + a),
                "group = \"239.99.1.0\", port = 6001",
            ),
            2 => (
                format!("group = \"239.{}.{b}.1\", source = \"10.1.0.0/24\"", 20 + a),
                "source = \"keep\", ttl = \"keep\"",
            ),
            3 => (format!("group = \"239.{}.{b}.1\", vlan = 7", 30 + a), "vlan = \"keep\", name = \"x'\\\"\""),
            _ => (
                format!("group = \"239.{}.{b}.1\", source = \"10.1.0.9\", port = 7", 40 + a),
                "source = \"10.2.0.9\", vlan = 12",
            ),
        };
        writeln!(text, "[[rule]]\nname = \"odd\\\"'\\\\#[=]{i}\"\nmatch = {{ interface = \"v1\", {matcher} }}")
            .expect("memory");
        writeln!(text, "output = [{{ interface = \"v2\", {output} }}]").expect("memory");
        if i % 3 == 0 {
            writeln!(text, "description = \"the \\\"main\\\" feed, isn't it? \\\\ # {i}\"\nstall_after = \"1500ms\"")
                .expect("memory");
        }
        if i % 7 == 0 {
            writeln!(text, "enabled = false").expect("memory");
        }
    }
    text
}

#[test]
fn what_is_exported_changes_nothing_where_it_is_loaded() -> Result<()> {
    needs_root!();
    let (network, daemon) = Daemon::in_chain(&of_every_kind())?;
    daemon.done(&words("rule add --name at-run-time --in v1 --group 239.200.1.1 --out v2"))?;
    daemon.done(&["rule", "set", "odd\"'\\#[=]5", "--description", "changed: 'so'"])?;
    let exported = daemon.done(&["export"])?;
    fs::write(daemon.files().config(), &exported)?;
    let path = daemon.files().config();
    let checked = daemon.ctl(&["check", path.to_str().context("a plain path")?])?.success()?;
    ensure!(checked.stdout.contains("1001 rules"), "{}", checked.told());
    let reloaded: Value = serde_json::from_str(&daemon.done(&["--json", "reload"])?)?;
    ensure!(reloaded["changes"] == serde_json::json!([]) && reloaded["restart"] == serde_json::json!([]), "{reloaded}");
    ensure!(daemon.done(&["export"])? == exported);
    daemon.stop()?;
    let other = Daemon::start_with(Files::new(&exported)?, network.relay(), &[])?;
    let without_socket =
        |text: &str| text.lines().filter(|line| !line.contains("control_socket")).collect::<Vec<_>>().join("\n");
    ensure!(without_socket(&other.done(&["export"])?) == without_socket(&exported));
    Ok(())
}
