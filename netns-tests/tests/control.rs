//! `mcrctl` and the daemon's file: what is refused is refused in one clear line and changes nothing.

use std::{fs, os::unix::net::UnixListener, process::Command};

use anyhow::{Result, ensure};
use netns_tests::{
    crossing::Crossing,
    daemon::{self, Daemon, Files, words},
    ledger::{self, Deleted},
    needs_root,
    probe::Load,
    process::{Finished, finish},
    programs,
    rules::{self, Rule},
    topology::{Network, Topology},
};

/// A chain and a daemon with `n` rules.
fn chain(n: u16) -> Result<(Network, Daemon)> {
    Daemon::in_chain(&rules::file(&rules::streams(n, "v1", "v2")))
}

/// Checks that a program refused with `code`, saying one line on stderr with all of `parts` and nothing on stdout.
fn refused(finished: &Finished, code: i32, parts: &[&str]) {
    let told = finished.told();
    assert_eq!(finished.status.code(), Some(code), "{told}");
    assert_eq!(finished.stderr.lines().count(), 1, "one line: {told}");
    assert_eq!(finished.stdout, "", "nothing on stdout: {told}");
    for part in parts {
        assert!(finished.stderr.contains(part), "no {part:?} in {told}");
    }
}

#[test]
fn no_daemon_and_wrong_sockets_are_said_in_one_line() -> Result<()> {
    needs_root!();
    let directory = tempfile::tempdir()?;
    let path = |name: &str| directory.path().join(name);
    let asked = ["status"];

    let absent = path("absent.sock");
    refused(&daemon::ctl(&absent, &asked)?, 1, &[absent.to_str().unwrap()]);

    let file = path("file");
    fs::write(&file, "no socket")?;
    refused(&daemon::ctl(&file, &asked)?, 1, &[file.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(&file)?, "no socket");

    // A socket that nobody serves any more.
    let stale = path("stale.sock");
    drop(UnixListener::bind(&stale)?);
    refused(&daemon::ctl(&stale, &asked)?, 1, &[stale.to_str().unwrap()]);

    // Somebody else's: it hangs up, or says what is no answer.
    for said in ["", "SSH-2.0-OpenSSH\n"] {
        let other = path(&format!("other{}.sock", said.len()));
        let listener = UnixListener::bind(&other)?;
        let server = std::thread::spawn(move || -> Result<()> {
            use std::io::{BufRead, Write};
            let (mut stream, _) = listener.accept()?;
            std::io::BufReader::new(stream.try_clone()?).read_line(&mut String::new())?;
            Ok(stream.write_all(said.as_bytes())?)
        });
        refused(&daemon::ctl(&other, &asked)?, 1, &[other.to_str().unwrap()]);
        server.join().expect("no panic")?;
    }
    Ok(())
}

/// Each row: the words, the exit code, and what the line must name.
#[test]
fn what_is_refused_changes_nothing() -> Result<()> {
    needs_root!();
    let (network, daemon) = chain(2)?;
    let load = Load { first: rules::SENT, streams: 2, rate: 200, size: 128, seconds: 1 };
    Crossing::of_chain(&network, &load)?.exactly_once(&load)?;
    let state = || -> Result<_> {
        let mut stats = daemon.stats_at_rest()?;
        stats.uptime_seconds = 0.0;
        let mut listed: serde_json::Value = serde_json::from_str(&daemon.done(&["--json", "rule", "list"])?)?;
        // Time makes a rule idle, and no request.
        stats.rules.iter_mut().for_each(|rule| (rule.state, rule.state_reason) = Default::default());
        for rule in listed.as_array_mut().into_iter().flatten().filter_map(|rule| rule.as_object_mut()) {
            rule.retain(|key, _| !key.starts_with("state"));
        }
        Ok((listed, stats))
    };
    let before = state()?;

    for (line, code, parts) in [
        ("rule add --in nowhere0 --group 239.3.0.1 --port 1 --out v2", 1, &["nowhere0"] as &[&str]),
        ("rule add --in v1 --group 239.3.0.1 --port 1 --out nowhere0", 1, &["nowhere0"]),
        ("rule add --in v1 --group 10.0.0.1 --port 1 --out v2", 2, &["10.0.0.1"]),
        ("rule add --in v1 --group 239.3.0.1 --port 1 --out v2,group=10.0.0.1", 2, &["10.0.0.1"]),
        ("rule add --in v1 --group 224.0.0.5 --port 1 --out v2", 2, &["224.0.0.5"]),
        ("rule add --in v1 --group 239.3.0.1 --port 0 --out v2", 2, &["port", "0"]),
        ("rule add --in v1 --group 239.3.0.1 --port 1 --out v2,port=0", 2, &["port", "0"]),
        ("rule add --in v1 --group 239.3.0.1 --port 1 --out v1", 2, &["`v1:239.3.0.1:1` -> v1 239.3.0.1:1 -> "]),
        ("rule add --in v1 --group 239.3.0.1 --port 1-9 --out v1,port=5", 2, &["-> v1 239.3.0.1:5-9 ->"]),
        // A duplicate name; the same packets under another name.
        ("rule add --name stream-0 --in v1 --group 239.3.0.1 --port 1 --out v2", 1, &["stream-0"]),
        ("rule add --name again --in v1 --group 239.1.1.1 --port 5001 --out v2", 1, &["again", "stream-0"]),
        ("rule del nobody", 1, &["nobody"]),
        ("rule show nobody", 1, &["nobody"]),
        ("stats nobody", 1, &["nobody"]),
    ] {
        let finished = daemon.ctl(&words(line))?;
        refused(&finished, code, parts);
        assert_eq!(state()?, before, "{line} changed something");
    }
    // Usage: clap's own words, whatever their number.
    for line in ["", "frobnicate", "rule add --in v1", "rule add --group 239.3.0.1 --out v2", "rule del", "check"] {
        let finished = daemon.ctl(&words(line))?.exited(2)?;
        ensure!(finished.stdout.is_empty() && !finished.stderr.is_empty(), "{}", finished.told());
    }
    assert_eq!(state()?, before);
    Ok(())
}

#[test]
fn rules_are_added_shown_replaced_and_deleted() -> Result<()> {
    needs_root!();
    let (network, daemon) = chain(0)?;
    let rule = &rules::streams(1, "v1", "v2")[0];
    assert_eq!(daemon.done(&rule.add())?.trim(), "stream-0");
    let unnamed = "rule add --in v1 --group 239.4.0.1 --port 7 --source 10.1.0.1 --out v2";
    assert_eq!(daemon.done(&words(unnamed))?.trim(), "v1:239.4.0.1:7:10.1.0.1");
    let list = daemon.done(&["rule", "list"])?;
    assert!(list.contains("stream-0") && list.contains("v1:239.4.0.1:7:10.1.0.1"), "{list}");
    assert!(daemon.done(&["rule", "show", "stream-0"])?.contains("239.10.1.1"));

    let load = Load { first: rules::SENT, streams: 1, rate: 200, size: 128, seconds: 1 };
    Crossing::of_chain(&network, &load)?.exactly_once(&load)?;
    // Replaced: the same packets, another group.
    let mut other = rule.clone();
    other.outputs[0].group = "239.10.9.9".parse()?;
    let mut replace = other.add();
    replace.push("--replace".into());
    daemon.done(&replace)?;
    let crossing = Crossing::of_chain_to(&network, &load, ("239.10.9.9".parse()?, 6001))?;
    crossing.exactly_once(&load)?;

    daemon.done(&["rule", "del", "stream-0"])?;
    let stats = daemon.stats_at_rest()?;
    assert_eq!(stats.rules.len(), 1);
    // Deleted rules stay in the totals.
    assert_eq!(stats.totals.sent_packets, 400);
    ledger::check(&stats, Deleted::Some)
}

/// The difference alone is applied: what did not change keeps its counters.
#[test]
fn reload_applies_the_difference_and_prints_it() -> Result<()> {
    needs_root!();
    let (network, daemon) = chain(3)?;
    let load = Load { first: rules::SENT, streams: 3, rate: 300, size: 128, seconds: 1 };
    Crossing::of_chain(&network, &load)?.exactly_once(&load)?;

    // stream-0 stays, stream-1 changes, stream-2 goes, stream-3 comes.
    let mut rules: Vec<Rule> = rules::streams(4, "v1", "v2");
    rules.remove(2);
    rules[1].outputs[0].group = "239.10.9.9".parse()?;
    fs::write(daemon.files().config(), rules::file(&rules))?;
    for (line, applied) in [("reload --dry-run", false), ("reload", true), ("reload", true)] {
        let before: Vec<String> = daemon.stats()?.rules.into_iter().map(|rule| rule.name).collect();
        let said = daemon.done(&words(line))?;
        let mut marks: Vec<(&str, &str)> = said
            .lines()
            .filter(|said| said.starts_with(['+', '-', '~']))
            .map(|said| (&said[..1], ["stream-1", "stream-2", "stream-3"].into_iter().find(|name| said.contains(name))))
            .map(|(mark, name)| (mark, name.unwrap_or("another")))
            .collect();
        marks.sort_unstable();
        let difference = [("+", "stream-3"), ("-", "stream-2"), ("~", "stream-1")];
        let nothing_left = before == ["stream-0", "stream-1", "stream-3"];
        assert_eq!(marks, if nothing_left { &difference[..0] } else { &difference[..] }, "{line}: {said}");
        let after: Vec<String> = daemon.stats()?.rules.into_iter().map(|rule| rule.name).collect();
        let expected: &[&str] =
            if applied { &["stream-0", "stream-1", "stream-3"] } else { &["stream-0", "stream-1", "stream-2"] };
        assert_eq!(after, expected, "{line}");
    }
    let mut stats = daemon.stats_at_rest()?;
    assert_eq!(stats.rule("stream-0").matched_packets, 100, "an unchanged rule lost its counters");
    assert_eq!(stats.rule("stream-1").outputs[0].group, "239.10.9.9");
    assert_eq!(stats.totals.sent_packets, 300, "totals went back");
    // Its counters go on, those of its new output start at 0.
    assert_eq!((stats.rule("stream-1").matched_packets, stats.rule("stream-1").outputs[0].offered_packets), (100, 0));
    stats.rules.retain(|rule| rule.name != "stream-1");
    ledger::check(&stats, Deleted::Some)
}

/// A file with a mistake in each of several places.
const BAD: &str = r#"
[datapath]
mode = "fast"

[[rule]]
name = "a"
match = { interface = "v1", group = "10.0.0.1", port = 1 }
output = [{ interface = "v2" }]

[[rule]]
name = "b"
match = { interface = "v1", group = "239.1.1.1", port = 0 }
output = [{ interface = "v2", colour = "red" }]
"#;

#[test]
fn a_bad_file_changes_nothing() -> Result<()> {
    needs_root!();
    let (network, daemon) = chain(2)?;
    fs::write(daemon.files().config(), BAD)?;
    for line in ["reload --dry-run", "reload"] {
        let finished = daemon.ctl(&words(line))?.exited(2)?;
        assert!(finished.stderr.contains("10.0.0.1"), "{}", finished.told());
    }
    daemon.signal(nix::sys::signal::Signal::SIGHUP)?;
    netns_tests::deadline::until("the refusal in the log", netns_tests::deadline::SOON, || {
        Ok(daemon.log().contains("10.0.0.1").then_some(()))
    })?;
    let load = Load { first: rules::SENT, streams: 2, rate: 200, size: 128, seconds: 1 };
    Crossing::of_chain(&network, &load)?.exactly_once(&load)?;
    assert_eq!(daemon.stop()?.sent, 200);

    // The same file at the start: exit 2, nothing attached.
    let files = Files::new(BAD)?;
    let finished = finish(&mut files.command(network.relay(), &[])?)?.exited(2)?;
    assert!(finished.stderr.contains("10.0.0.1"), "{}", finished.told());
    ensure!(!netns_tests::kernel::links(network.relay())?.contains("prog/xdp"));
    Ok(())
}

#[test]
fn check_tells_every_error_with_line_and_key() -> Result<()> {
    needs_root!();
    let check = |text: &str| -> Result<Finished> {
        let files = Files::new(text)?;
        finish(Command::new(programs::path("mcrctl")?).arg("check").arg(files.config()))
    };
    let finished = check(BAD)?.exited(2)?;
    for (line, key) in [(3, "mode"), (7, "group"), (12, "port"), (13, "colour")] {
        let found = finished.stderr.lines().any(|said| said.contains(&format!(":{line}: ")) && said.contains(key));
        assert!(found, "no line {line} with {key} in {}", finished.told());
    }
    check("[[rule]\n")?.exited(2)?;
    check(&rules::file(&rules::streams(3, "v1", "v2")))?.success()?;
    Ok(())
}

#[test]
fn warnings_are_told_at_the_start_by_rule_add_and_by_reload() -> Result<()> {
    needs_root!();
    let network = Topology::chain(1).build()?;
    let file = "[[rule]]\nname = \"a\"\nmatch = { interface = \"v1\", group = \"239.255.0.1\", port = 5001 }\noutput = [{ interface = \"v2\" }]\n";
    let daemon = Daemon::start(network.relay(), file, &[])?;
    let small_ttl = ":4: rule[0].output[0].ttl: sources of 239.255.0.0/16";
    ensure!(daemon.log().contains(small_ttl), "{}", daemon.log());
    let add = "rule add --name b --in v1 --group 238.127.0.1 --port 5001 --out v2,ttl=keep,source=keep";
    let finished = daemon.ctl(&words(add))?.success()?;
    for told in ["warning: output[0]: changes nothing", "warning: match.group: 238.127.0.1 and 239.255.0.1 share"] {
        ensure!(finished.stderr.contains(told), "{}", finished.told());
    }
    let finished = daemon.ctl(&["reload"])?.success()?;
    ensure!(finished.stderr.contains(small_ttl), "{}", finished.told());
    Ok(())
}

#[test]
fn the_control_socket_is_for_its_owner_alone() -> Result<()> {
    needs_root!();
    let (_network, daemon) = chain(0)?;
    let mode = netns_tests::process::run(Command::new("stat").args(["-c", "%a %F"]).arg(daemon.files().socket()))?;
    assert_eq!(mode.trim(), "600 socket");
    Ok(())
}

#[test]
fn a_second_daemon_refuses_and_the_first_goes_on() -> Result<()> {
    needs_root!();
    let (network, daemon) = chain(1)?;
    // On the same control socket, elsewhere.
    let elsewhere = Topology::chain(1).build()?;
    let flags = ["--iface-in", "v1", "--iface-out", "v2"];
    let mut same_socket = elsewhere.relay().command(programs::path("mcrd")?);
    same_socket.arg("--control-socket").arg(daemon.files().socket()).args(flags);
    let finished = finish(&mut same_socket)?.exited(1)?;
    let socket = daemon.files().socket();
    assert!(finished.stderr.contains(socket.to_str().unwrap()), "{}", finished.told());
    // On the same interfaces, with a socket of its own.
    let finished = finish(&mut Files::new("")?.command(network.relay(), &flags)?)?.exited(1)?;
    let first = format!("v1: another XDP program is attached, by mcrd (process {})", daemon.pid());
    assert!(finished.stderr.contains(&first), "{}", finished.told());

    let load = Load { first: rules::SENT, streams: 1, rate: 200, size: 128, seconds: 1 };
    Crossing::of_chain(&network, &load)?.exactly_once(&load)?;
    assert_eq!(daemon.stop()?.sent, 200);
    Ok(())
}
