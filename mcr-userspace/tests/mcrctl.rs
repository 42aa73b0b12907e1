//! `mcrctl` as a user meets it: what it prints, where, and its exit code.

mod common;

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixListener,
    path::Path,
    process::{Command, Stdio},
    thread,
};

use common::{Daemon, mcrctl, read_line};
use serde_json::Value;

#[test]
fn rules_are_added_listed_shown_and_deleted() {
    let daemon = Daemon::start();
    let add = "rule add --in veth1 --group 239.1.1.1 --port 5001 --out veth2,group=239.10.1.1,port=6001,ttl=16";
    let add: Vec<&str> = add.split(' ').collect();
    assert_eq!(daemon.mcrctl(&add), (0, "veth1:239.1.1.1:5001\n".into(), String::new()));
    let mut other = add.clone();
    other.extend(["--name", "veth1:239.1.1.1:5001", "--stall-after", "5s"]);
    let (code, _, error) = daemon.mcrctl(&other);
    assert_eq!((code, error.lines().count()), (1, 1), "{error}");
    assert_eq!(daemon.mcrctl(&[&add[..], &["--replace"]].concat()).0, 0);
    let (code, list, _) = daemon.mcrctl(&["rule", "list"]);
    assert!(code == 0 && list.contains("veth2,group=239.10.1.1,port=6001,ttl=16"), "{list}");
    assert!(!list.contains('\x1b'), "no colour but on a terminal");
    let (_, shown, _) = daemon.mcrctl(&["--json", "rule", "show", "veth1:239.1.1.1:5001"]);
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!((&shown["match"]["port"], &shown["state"]), (&Value::from(5001), &Value::from("active")));
    let (_, stats, _) = daemon.mcrctl(&["--json", "stats"]);
    assert_eq!(serde_json::from_str::<Value>(&stats).expect("JSON")["version"], 1);
    for (arguments, code) in [
        (&["rule", "del", "veth1:239.1.1.1:5001"][..], 0),
        (&["rule", "del", "veth1:239.1.1.1:5001"], 1),
        (&["rule", "show", "nobody"], 1),
        (&["reload", "--dry-run"], 1),
        (&["status"], 0),
        (&["stats", "--watch", "--nonsense"], 2),
        (&["top"], 2),
        (&[], 2),
    ] {
        let (found, _, error) = daemon.mcrctl(arguments);
        assert_eq!(found, code, "{arguments:?}: {error}");
        assert!(code != 1 || error.lines().count() == 1, "{arguments:?}: {error}");
    }
}

#[test]
fn every_mistake_of_a_rule_is_told_by_its_flag() {
    let typed = "rule add --in a/b --group 10.0.0.1 --port 0 --out veth2,ttl=300,gruop=1 --out veth3,dscp=64";
    let (code, out, error) = mcrctl(&typed.split(' ').collect::<Vec<_>>());
    assert_eq!((code, out.as_str()), (2, ""));
    for flag in ["--in:", "--group:", "--port:", "veth2,ttl=300,gruop=1: ttl:", "`gruop=1`", "veth3,dscp=64: dscp:"] {
        assert!(error.contains(flag), "{flag} in {error}");
    }
    assert_eq!(error.lines().count(), 6, "{error}");
}

#[test]
fn why_there_is_no_daemon() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name: &str| directory.path().join(name).into_os_string().into_string().expect("a plain path");
    fs::write(at("file"), "").expect("a file");
    drop(UnixListener::bind(at("stale")).expect("left behind"));
    for (name, why) in [("absent", "is mcrd running?"), ("file", "is not a socket"), ("stale", "nobody serves")] {
        let (code, out, error) = mcrctl(&["--socket", &at(name), "status"]);
        assert_eq!((code, out.as_str(), error.lines().count()), (1, "", 1), "{error}");
        assert!(error.contains(why), "{error}");
    }
    // Some other program's socket.
    let other = UnixListener::bind(at("other")).expect("a socket");
    let answering = thread::spawn(move || {
        let (stream, _) = other.accept().expect("a client");
        read_line(&mut BufReader::new(stream.try_clone().expect("a copy")));
        (&stream).write_all(b"220 smtp.example.org ESMTP\r\n").expect("sent");
    });
    let (code, _, error) = mcrctl(&["status", "--socket", &at("other")]);
    answering.join().expect("no panic");
    assert!(code == 1 && error.contains("not an mcrd"), "{error}");
}

#[test]
fn the_socket_of_the_environment() {
    let daemon = Daemon::start();
    let mut command = Command::new(env!("CARGO_BIN_EXE_mcrctl"));
    let status = command.arg("status").env("MCR_SOCKET", daemon.socket()).output().expect("mcrctl runs");
    assert!(status.status.success());
    // A flag wins over it.
    let elsewhere = command.args(["--socket", "/nonexistent/mcrd.sock"]).output().expect("mcrctl runs");
    assert_eq!(elsewhere.status.code(), Some(1));
}

#[test]
fn a_closed_pipe_is_success() {
    let daemon = Daemon::start();
    let mut watching = Command::new(env!("CARGO_BIN_EXE_mcrctl"))
        .arg("--socket")
        .arg(daemon.socket())
        .args(["stats", "--watch"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("mcrctl runs");
    let mut reader = BufReader::new(watching.stdout.take().expect("piped"));
    reader.read_line(&mut String::new()).expect("a line");
    drop(reader);
    let ended = watching.wait_with_output().expect("it ends");
    assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(0), &b""[..]));
}

#[test]
fn files_are_checked_with_no_daemon() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    for example in fs::read_dir(&examples).expect("examples") {
        let path = example.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let (code, _, error) = mcrctl(&["check", path.to_str().expect("a plain path")]);
        assert_eq!((code, error.as_str()), (0, ""), "{}", path.display());
    }
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("bad.toml");
    let text = "[limits]\nrules = 0\n\n[[rule]]\nmatch = { interface = \"e0\", group = \"1.1.1.1\" }\noutput = []\n";
    fs::write(&path, text).expect("a file");
    let shown = path.to_str().expect("a plain path");
    let (code, out, error) = mcrctl(&["check", shown]);
    assert_eq!((code, out.as_str()), (2, ""));
    let starts = [":2: limits.rules: ", ":5: rule[0].match.group: ", ":6: rule[0].output: "];
    assert_eq!(error.lines().count(), starts.len(), "{error}");
    for (line, start) in error.lines().zip(starts) {
        assert!(line.starts_with(&format!("{shown}{start}")), "{line}");
    }
    let (code, out, _) = mcrctl(&["--json", "check", shown]);
    let found: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, found["errors"][0]["line"].as_u64()), (2, Some(2)));
}

#[test]
fn the_help_of_set_lists_no_defaults() {
    let (code, add, _) = mcrctl(&["rule", "add", "--help"]);
    assert!(code == 0 && add.contains("[default: any]") && add.contains("[default: untagged]"), "{add}");
    for flag in ["-h", "--help"] {
        let (code, set, _) = mcrctl(&["rule", "set", flag]);
        assert!(code == 0 && set.contains("unchanged unless given"), "{set}");
        // The control socket has a default with every command.
        assert_eq!(set.matches("[default: ").count(), 1, "{set}");
        assert!(set.contains("UDP port or range of ports\n"), "{set}");
    }
}

#[test]
fn a_negative_duration_is_told_as_such() {
    let add = ["rule", "add", "--in", "eth0", "--group", "239.1.1.1", "--out", "eth1"];
    for (more, flag) in [(&["--stall-after", "-5s"][..], "--stall-after"), (&["--stall-after=-5s"], "--stall-after")] {
        let (code, _, error) = mcrctl(&[&add, more].concat());
        assert_eq!((code, error), (2, format!("mcrctl: {flag}: a duration cannot be negative; write 5s\n")));
    }
    let (code, _, error) = mcrctl(&["events", "--since", "-5m"]);
    assert!(code == 2 && error.contains("a duration cannot be negative; write 5m"), "{error}");
}
