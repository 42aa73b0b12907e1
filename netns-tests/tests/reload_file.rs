//! The daemon's file, read again: what is told of the difference, what is kept, taken back or needs a restart, and files that it includes.

use std::{fs, thread};

use anyhow::{Context, Result, ensure};
use netns_tests::{
    crossing::Crossing,
    daemon::{Daemon, Files},
    deadline::{SOON, until},
    ledger::{self, Deleted},
    needs_root,
    probe::Load,
    rules::{self, Rule},
    topology::{Network, Topology},
};
use nix::sys::signal::Signal;
use serde_json::Value;

/// Each rule gets some packets before anything changes.
const BEFORE: Load = Load { first: rules::SENT, streams: 3, rate: 3_000, size: 256, seconds: 1 };
/// The stream whose rule is not touched.
const UNTOUCHED: Load = Load { first: rules::SENT, streams: 1, rate: 20_000, size: 256, seconds: 6 };

fn start(config: &str, flags: &[&str]) -> Result<(Network, Daemon)> {
    let network = Topology::chain(1).build()?;
    let daemon = Daemon::start(network.relay(), config, flags)?;
    Ok((network, daemon))
}

fn write(daemon: &Daemon, config: &str) -> Result<()> {
    Ok(fs::write(daemon.files().config(), config)?)
}

fn json(text: &str) -> Result<Value> {
    serde_json::from_str(text).with_context(|| text.to_owned())
}

/// `NAME GROUP:PORT` of each rule.
fn held(daemon: &Daemon) -> Result<Vec<String>> {
    let rules = json(&daemon.done(&["--json", "rule", "list"])?)?;
    let line = |rule: &Value| format!("{} {}:{}", rule["name"], rule["match"]["group"], rule["match"]["port"]);
    Ok(rules.as_array().context("a list")?.iter().map(line).collect())
}

/// What the events of reloads say, the oldest first.
fn reloads(daemon: &Daemon) -> Result<Vec<String>> {
    let events = daemon.done(&["--json", "events"])?;
    let events: Vec<Value> = events.lines().map(json).collect::<Result<_>>()?;
    let reloads = events.iter().filter(|event| event["kind"] == "reload");
    Ok(reloads.map(|event| event["new"].as_str().unwrap_or_default().to_owned()).collect())
}

/// Three streams, and what becomes of them: the first stays, the second moves, the third goes, and one comes.
fn before_and_after() -> (Vec<Rule>, Vec<Rule>) {
    let before = rules::streams(3, "v1", "v2");
    let moved = Rule { port: 7001, ..before[1].clone() };
    let new = Rule { name: "new".into(), port: 7002, ..before[2].clone() };
    let after = vec![before[0].clone(), moved, new];
    (before, after)
}

#[test]
fn an_unconfirmed_reload_is_taken_back_without_a_loss() -> Result<()> {
    needs_root!();
    let (before, after) = before_and_after();
    let (network, daemon) = start(&rules::file(&before), &[])?;
    Crossing::of_chain(&network, &BEFORE)?.exactly_once(&BEFORE)?;
    let (former, counted) = (held(&daemon)?, daemon.stats_at_rest()?);
    let crossing = thread::scope(|scope| -> Result<_> {
        let crossing = scope.spawn(|| Crossing::of_chain(&network, &UNTOUCHED));
        let sent = || -> Result<u64> { Ok(daemon.stats()?.rule("stream-0").matched_packets) };
        until("the stream", SOON, || Ok((sent()? > counted.rule("stream-0").matched_packets).then_some(())))?;
        write(&daemon, &rules::file(&after))?;
        let told = daemon.done(&["--json", "reload", "--confirm", "2s"])?;
        assert_eq!(json(&told)?["confirm_seconds"], 2, "{told}");
        assert_ne!(held(&daemon)?, former);
        // Another one has to wait, whoever asks.
        let second = daemon.ctl(&["--json", "reload"])?.exited(1)?;
        ensure!(json(&second.stderr)?["error"]["code"] == "unavailable", "{}", second.stderr);
        ensure!(second.stderr.contains("s are left, then it is taken back"), "{}", second.stderr);
        daemon.signal(Signal::SIGHUP)?;
        until("the refusal", SOON, || Ok(daemon.log().contains("reload by SIGHUP refused").then_some(())))?;
        until("the former rules", SOON, || Ok((held(&daemon)? == former).then_some(())))?;
        ensure!(sent()? < counted.rule("stream-0").matched_packets + UNTOUCHED.packets(), "the load ended too early");
        crossing.join().expect("no panic")
    })?;
    crossing.exactly_once(&UNTOUCHED)?;
    let stats = daemon.stats_at_rest()?;
    for name in ["stream-1", "stream-2"] {
        assert_eq!(stats.rule(name).matched_packets, counted.rule(name).matched_packets, "{name} goes on counting");
    }
    assert_eq!(reloads(&daemon)?, ["applied", "unconfirmed", "refused", "refused", "taken_back"]);
    ensure!(daemon.log().contains("reload taken back: not confirmed within 2 s"), "{}", daemon.log());
    daemon.ctl(&["confirm"])?.exited(1)?;
    assert_eq!(fs::read_to_string(daemon.files().config())?, rules::file(&after), "the file is the user's");
    // All of them forward again.
    Crossing::of_chain(&network, &BEFORE)?.exactly_once(&BEFORE)?;
    ledger::check(&daemon.stats_at_rest()?, Deleted::Some)
}

#[test]
fn a_confirmed_reload_stays_and_others_changes_outlive_one_that_is_not() -> Result<()> {
    needs_root!();
    let (before, after) = before_and_after();
    let (_network, daemon) = start(&rules::file(&before), &[])?;
    let former = held(&daemon)?;
    write(&daemon, &rules::file(&after))?;
    daemon.done(&["reload", "--confirm", "1s"])?;
    let other = Rule { name: "other".into(), port: 7003, ..before[0].clone() };
    daemon.done(&other.add())?;
    until("the former rules and one more", SOON, || {
        let held = held(&daemon)?;
        Ok((held.len() == former.len() + 1 && former.iter().all(|rule| held.contains(rule))).then_some(()))
    })?;
    ensure!(daemon.done(&["reload", "--dry-run"])?.contains("- other (added at run time): v1 239.1.1.1:7003 -> v2,"));

    daemon.done(&["reload", "--confirm", "60s"])?;
    let status = json(&daemon.done(&["--json", "status"])?)?;
    ensure!(status["warnings"].to_string().contains("a reload waits for `mcrctl confirm`"), "{status}");
    assert_eq!(daemon.done(&["confirm"])?, "confirmed: 4 changes\n");
    daemon.ctl(&["confirm"])?.exited(1)?;
    assert_eq!(daemon.done(&["reload"])?, "");
    assert_eq!(
        reloads(&daemon)?,
        ["applied", "unconfirmed", "taken_back", "applied", "unconfirmed", "confirmed", "applied"]
    );

    // Killed while it waits: the file is what it was, and the next daemon runs it.
    let text = rules::file(&before);
    write(&daemon, &text)?;
    daemon.done(&["reload", "--confirm", "60s"])?;
    let files = daemon.kill()?;
    assert_eq!(fs::read_to_string(files.config())?, text);
    let daemon = Daemon::start_with(files, _network.relay(), &[])?;
    assert_eq!(held(&daemon)?, former);
    Ok(())
}

#[test]
fn differences_are_told_kept_or_need_a_restart() -> Result<()> {
    needs_root!();
    let before = rules::streams(2, "v1", "v2");
    let (_network, daemon) = start(&rules::file(&before), &["--profile", "efficient"])?;
    let other = Rule { name: "other".into(), port: 7003, ..before[0].clone() };
    daemon.done(&other.add())?;
    let changed = rules::file(&before[..1])
        .replace("port = 5001", "port = 5002")
        .replace("port = 6001", "port = 6001, ttl = \"keep\"");
    let sections = "[datapath]\nprofile = \"low-latency\"\nworkers = 1\n[limits]\nrules = 10\n[[interface]]\nname = \"v1\"\nmembership = \"none\"\n";
    write(&daemon, &(sections.to_owned() + &changed))?;
    let told = daemon.done(&["reload", "--dry-run", "--keep"])?;
    let wanted = [
        "- stream-1: v1 239.1.1.2:5002 -> v2,group=239.10.1.2,port=6002",
        "~ stream-0: match.port: 5001 -> 5002; output[0].ttl: decrement -> keep",
        "= other (added at run time, kept)",
        // The flag wins over the file's profile, which is then no difference.
        "! datapath.workers: auto -> 1 (needs a restart)",
        "! limits.rules: 65536 -> 10 (needs a restart)",
        "! interface[v1].membership: join -> none (needs a restart)",
    ];
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines.len(), wanted.len(), "{told}");
    ensure!(lines.iter().zip(wanted).all(|(line, wanted)| line.starts_with(wanted)), "{told}");
    let kept = json(&daemon.done(&["--json", "reload", "--keep"])?)?;
    assert_eq!(kept["kept"], serde_json::json!(["other"]));
    assert_eq!(
        kept["changes"][1]["fields"][0],
        serde_json::json!({"field": "match.port", "old": "5001", "new": "5002"})
    );
    assert_eq!(held(&daemon)?.len(), 2);
    // Nothing else has changed, and what needs a restart still does.
    assert_eq!(daemon.done(&["reload", "--keep"])?.lines().filter(|line| line.starts_with('!')).count(), 3);
    ensure!(daemon.log().contains("limits.rules: 65536 -> 10 needs a restart"), "{}", daemon.log());
    assert_eq!(
        daemon.done(&["reload"])?.lines().next(),
        Some("- other (added at run time): v1 239.1.1.1:7003 -> v2,group=239.10.1.1,port=6001")
    );

    // Refused: wrong, and unreadable.
    write(&daemon, "[datapath]\nprofile = 1\nworker = 2\n")?;
    let refused = daemon.ctl(&["reload"])?.exited(2)?;
    ensure!(
        refused.stderr.contains(":2: datapath.profile") && refused.stderr.contains(":3: datapath.worker"),
        "{refused:?}"
    );
    fs::remove_file(daemon.files().config())?;
    let refused = daemon.ctl(&["--json", "reload"])?.exited(1)?;
    ensure!(json(&refused.stderr)?["error"]["code"] == "unavailable", "{refused:?}");
    assert_eq!(daemon.log().matches("refused: nothing was changed").count(), 2);
    assert_eq!(held(&daemon)?.len(), 1);
    Ok(())
}

#[test]
fn rules_of_included_files_are_read_and_edited_where_they_stand() -> Result<()> {
    needs_root!();
    let network = Topology::chain(1).build()?;
    let streams = rules::streams(3, "v1", "v2");
    let files = Files::new(&format!("include = [\"conf.d/*.toml\"]\n# the first\n{}", rules::file(&streams[..1])))?;
    let folder = files.config().with_file_name("conf.d");
    fs::create_dir(&folder)?;
    let (a, b) = (folder.join("a.toml"), folder.join("b.toml"));
    let dos = format!("# the second\r\n{}# its end\r\n", rules::file(&streams[1..2]).replace('\n', "\r\n"));
    fs::write(&a, &dos)?;
    fs::write(&b, rules::file(&streams[2..]))?;
    let daemon = Daemon::start_with(files, network.relay(), &[])?;
    assert_eq!(held(&daemon)?.len(), 3);
    let mut words = Rule { port: 7001, ..streams[1].clone() }.add();
    words.extend(["--replace".to_owned(), "--persist".to_owned()]);
    daemon.done(&words)?;
    let edited = dos.replacen("port = 5002", "port = 7001", 1);
    assert_eq!(fs::read_to_string(&a)?, edited);
    assert_eq!(daemon.done(&["reload"])?, "", "what is written is what runs");

    // An error in one of them refuses all.
    fs::write(&b, format!("{}[limits]\nrules = 7\n", rules::file(&streams[1..])))?;
    let refused = daemon.ctl(&["reload"])?.exited(2)?;
    for part in [
        "conf.d/b.toml:15: limits: this file is included by",
        "conf.d/b.toml:2: rule[0].name: `stream-1` is already the name of the rule at",
    ] {
        ensure!(refused.stderr.contains(part), "{part}: {}", refused.stderr);
    }
    assert_eq!(held(&daemon)?.len(), 3);
    fs::write(&b, rules::file(&streams[2..]))?;
    daemon.signal(Signal::SIGHUP)?;
    until("the reload", SOON, || Ok(daemon.log().contains("reloaded by SIGHUP: 0 changes").then_some(())))?;
    let check = daemon.ctl(&["check", daemon.files().config().to_str().context("a plain path")?])?.success()?;
    ensure!(check.stdout.ends_with("mcrd.toml: OK, 3 rules\n"), "{}", check.stdout);
    Ok(())
}
