//! Files that are wrong in many ways at once, or no configuration at all: every error told, in bounds, by `mcrctl` and `mcrd`.

mod common;

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use common::Daemon;
use tempfile::TempDir;

/// For a loaded machine and a debug build.
const SOON: Duration = Duration::from_secs(15);
/// Address space for a file of a megabyte, in KiB.
const MEMORY: usize = 256 << 10;

fn file(bytes: impl AsRef<[u8]>) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("f.toml");
    fs::write(&path, bytes).expect("a file");
    (directory, path)
}

fn plain(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

/// Exit code and lines on stderr of `mcrctl check`, soon and within bounds of memory.
fn check(path: &Path) -> (i32, Vec<String>) {
    let started = Instant::now();
    let limited = format!("ulimit -v {MEMORY}; exec \"$0\" check \"$1\"");
    let mut command = Command::new("sh");
    let ended = command.args(["-c", &limited, env!("CARGO_BIN_EXE_mcrctl"), plain(path)]).output().expect("sh runs");
    assert!(started.elapsed() < SOON, "{}: {:?}", path.display(), started.elapsed());
    assert!(ended.status.success() || ended.stdout.is_empty(), "{ended:?}");
    let error = String::from_utf8(ended.stderr).expect("UTF-8");
    (ended.status.code().expect("an exit code"), error.lines().map(str::to_owned).collect())
}

const EVERY_FIELD: &str = "\
[[rule]]
name = \"a b\"
stall_after = \"soon\"
[rule.match]
interface = \"a/b\"
group = \"10.0.0.1\"
port = 70000
source = \"10.0.0.1/24\"
vlan = 4095
gruop = 1
[[rule.output]]
name = \"c d\"
interface = \"0123456789abcdef\"
group = \"224.0.0.5\"
port = 0
source = \"239.1.1.1\"
ttl = 256
dscp = 64
vlan = 0
colour = 1
[[rule]]
match = { interface = \"e0\", group = \"239.1.1.1\" }
output = []
";
/// Line and key of each of its errors.
const EVERY_PLACE: &str = "2: rule[0].name|3: rule[0].stall_after|5: rule[0].match.interface|6: rule[0].match.group|\
    7: rule[0].match.port|8: rule[0].match.source|9: rule[0].match.vlan|10: rule[0].match.gruop|\
    12: rule[0].output[0].name|13: rule[0].output[0].interface|14: rule[0].output[0].group|15: rule[0].output[0].port|\
    16: rule[0].output[0].source|17: rule[0].output[0].ttl|18: rule[0].output[0].dscp|19: rule[0].output[0].vlan|\
    20: rule[0].output[0].colour|23: rule[1].output";

#[test]
fn every_field_out_of_range_is_told_with_line_and_key() {
    let (_directory, path) = file(EVERY_FIELD);
    let (code, lines) = check(&path);
    let starts: Vec<String> = EVERY_PLACE.split('|').map(|place| format!("{}:{place}: ", path.display())).collect();
    assert_eq!((code, lines.len()), (2, starts.len()), "{lines:#?}");
    for (line, start) in lines.iter().zip(&starts) {
        assert!(line.starts_with(start), "{line} is not at {start}");
    }
    assert!(lines.iter().any(|line| line.contains("did you mean `group`?")), "{lines:#?}");
    // The daemon says the same, and starts nothing.
    let mcrd = Command::new(env!("CARGO_BIN_EXE_mcrd")).args(["--config", plain(&path)]).output().expect("mcrd runs");
    assert_eq!(mcrd.status.code(), Some(2));
    assert_eq!(String::from_utf8_lossy(&mcrd.stderr).lines().collect::<Vec<_>>(), lines);
}

#[test]
fn the_same_errors_over_the_socket_change_nothing() {
    let daemon = Daemon::start();
    let output = r#"{"name":"c d","interface":"0123456789abcdef","group":"224.0.0.5","port":0,"source":"239.1.1.1","ttl":256,"dscp":64,"vlan":99999999999999999999}"#;
    let request = format!(
        r#"{{"command":"rule_add","rule":{{"name":"a b","stall_after":"soon","match":{{"interface":"a/b","group":"10.0.0.1","port":1.5,"source":"10.0.0.1/24","vlan":4095}},"output":[{output}]}}}}"#
    );
    let answer = common::ask(&mut daemon.connect(), request.as_bytes());
    let answer: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
    assert_eq!(answer["error"]["usage"], true, "{answer}");
    assert_eq!(answer["error"]["message"].as_str().map(|message| message.lines().count()), Some(15), "{answer}");
    assert_eq!(daemon.mcrctl(&["--json", "rule", "list"]).1, "[]\n");
}

#[test]
fn every_wrong_flag_is_told_beside_the_missing_ones() {
    let daemon = Daemon::start();
    let typed = "rule add --name x/ --port -1 --vlan 5000 --source 1 --out veth2,ttl=300,gruop=1";
    let (code, out, error) = daemon.mcrctl(&typed.split(' ').collect::<Vec<_>>());
    assert_eq!((code, out.as_str()), (2, ""), "{error}");
    for flag in [
        "--in: is missing",
        "--group: is missing",
        "--port: `-1`",
        "--vlan: `5000`",
        "--source: `1`",
        "`gruop=1`",
        "ttl: `300`",
    ] {
        assert!(error.contains(flag), "{flag} in {error}");
    }
    assert_eq!(error.lines().count(), 7, "{error}");
    let (code, _, error) = daemon.mcrctl(&["rule", "add", "--in", "e0", "--group", "239.1.1.1"]);
    assert_eq!((code, error.as_str()), (2, "mcrctl: --out: is missing; a rule needs at least one output\n"));
}

/// By itself wrong is usage, whatever the daemon holds.
#[test]
fn a_loop_is_refused_by_name_and_changes_nothing() {
    let daemon = Daemon::start();
    for (ports, to, round) in
        [("5001", "5001", "5001"), ("5001-5050", "5041", "5041-5050"), ("5001-5050", "4960", "5001-5009")]
    {
        let typed =
            format!("rule add --name feed --in e0 --group 239.1.1.0/28 --port {ports} --out e1 --out e0,port={to}");
        let (code, out, error) = daemon.mcrctl(&typed.split(' ').collect::<Vec<_>>());
        assert_eq!((code, out.as_str(), error.lines().count()), (2, "", 1), "{error}");
        let cycle = format!(
            "--out e0,port={to}: leads back to its own rule on e0, `feed` -> e0 239.1.1.0/28:{round} -> `feed`"
        );
        assert!(error.contains(&cycle), "{error}");
    }
    assert_eq!(daemon.mcrctl(&["--json", "rule", "list"]).1, "[]\n");
}

#[test]
fn warnings_stand_on_stderr_with_their_place() {
    let text = "\
[[rule]]
match = { interface = \"e0\", group = \"239.255.1.1\", port = 5001 }
output = [
  { interface = \"e1\" },
  { interface = \"e1\", source = \"keep\", ttl = 9 },
]
[[rule]]
match = { interface = \"e0\", group = \"238.127.1.1\", port = 5001 }
output = [{ interface = \"e2\", ttl = \"keep\", source = \"keep\" }]
";
    let (_directory, path) = file(text);
    let (code, lines) = check(&path);
    let starts = [
        "4: rule[0].output[0].ttl: sources of",
        "5: rule[0].output[1]: sends the same",
        "8: rule[1].match.group: ",
        "9: rule[1].output[0]: changes nothing",
    ];
    assert_eq!((code, lines.len()), (0, starts.len()), "{lines:#?}");
    for (line, start) in lines.iter().zip(starts) {
        assert!(line.starts_with(&format!("warning: {}:{start}", path.display())), "{line} is not {start}");
    }
    let daemon = Daemon::start();
    let add = |typed: &str| daemon.mcrctl(&typed.split(' ').collect::<Vec<_>>());
    let (code, out, error) = add("rule add --name a --in e0 --group 239.1.1.1 --out e1 --out e1,ttl=5");
    assert_eq!((code, out.as_str()), (0, "a\n"));
    assert!(error.starts_with("warning: output[1]: sends the same") && error.lines().count() == 1, "{error}");
    let (_, _, error) = add("rule add --name b --in e0 --group 239.129.1.1 --out e2");
    assert!(
        error.starts_with("warning: match.group: 239.129.1.1 and 239.1.1.1 share") && error.lines().count() == 1,
        "{error}"
    );
}

#[test]
fn limits_are_told_with_a_line() {
    let rule = |i: u32, port: &str| {
        let source = format!("{}.0.0.0/{}", 128 + (i & 1), 8 + i % 25);
        format!(
            "[[rule]]\nmatch = {{ interface = \"e0\", group = \"239.{}.0.0/{}\", source = \"{source}\"{port} }}\noutput = [{{ interface = \"e1\" }}]\n",
            i / 25,
            20 + i / 25
        )
    };
    let (_directory, path) = file((0..5).fold("[limits]\nrules = 3\n".to_owned(), |text, i| text + &rule(i, "")));
    let (code, lines) = check(&path);
    let wanted =
        format!("{}:12: rule[3]: 5 rules are more than the limit of 3; raise `rules` in [limits]", path.display());
    assert_eq!((code, lines), (2, vec![wanted]));
    let (_directory, path) = file((0..66).fold(String::new(), |text, i| text + &rule(i, "")));
    let (code, lines) = check(&path);
    assert_eq!((code, lines.len()), (2, 2), "{lines:#?}");
    assert!(lines[0].contains(":194: rule[64].match: ") && lines[0].contains("65th combination"), "{lines:#?}");
    let outputs = "{ interface = \"e1\" },".repeat(65);
    let (_directory, path) =
        file(format!("[[rule]]\nmatch = {{ interface = \"e0\", group = \"239.1.1.1\" }}\noutput = [{outputs}]\n"));
    let (code, lines) = check(&path);
    assert_eq!((code, lines.len()), (2, 1));
    assert!(lines[0].contains(":3: rule[0].output: has more entries than the 64 that a rule may have"), "{lines:#?}");
}

#[test]
fn a_megabyte_of_rubbish_is_refused_soon_and_briefly() {
    let mut random: Vec<u8> = Vec::with_capacity(1 << 20);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    while random.len() < 1 << 20 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        random.extend((state >> 24).to_le_bytes());
    }
    let letters: String = random.iter().map(|byte| char::from_u32(u32::from(*byte) * 11 + 32).unwrap_or('x')).collect();
    let deep = |open: &str, close: &str| format!("a = {}{}", open.repeat(100_000), close.repeat(100_000));
    let key = "a.".repeat(100_000);
    let numbered = |n, pattern: &dyn Fn(usize) -> String| (0..n).map(pattern).collect::<String>();
    let wrong_rules =
        numbered(16_000, &|i| format!("[[rule]]\nmatch = {{ interface = \"e0\", group = \"{i}\", port = 0 }}\n"));
    let inputs: Vec<(&str, Vec<u8>)> = vec![
        ("random bytes", random),
        ("random letters", letters.into()),
        ("[[rule]]", "[[rule]]\n".repeat(120_000).into()),
        ("[[rule.output]]", format!("[[rule]]\n{}", "[[rule.output]]\n".repeat(70_000)).into()),
        ("deep arrays", deep("[", "]").into()),
        ("deep tables", deep("{ a = ", " }").into()),
        ("deep rules", deep("[{ rule = ", " }]").into()),
        ("deep output", format!("[[rule]]\noutput = {}{}", "[".repeat(100_000), "]".repeat(100_000)).into()),
        ("unclosed arrays", "a = [".repeat(200_000).into()),
        ("a deep key", format!("{key}a = 1").into()),
        ("a deep header", format!("[{key}a]\n").into()),
        ("a deep array header", format!("[[rule.{key}a]]\n").into()),
        ("outputs that are none", format!("[[rule]]\noutput = [{}]", "1, ".repeat(350_000)).into()),
        ("one line", format!("rule = [{}]", "1, ".repeat(350_000)).into()),
        ("a long string", format!("rule = \"{}\"", "x".repeat(1 << 20)).into()),
        ("a long key", format!("{} = 1", "x".repeat(1 << 20)).into()),
        ("a long name", format!("[[rule]]\nname = \"{}\"", "\u{fffd}x".repeat(1 << 18)).into()),
        ("a long value", format!("[[rule]]\nmatch = {{ group = \"{}\" }}", "x".repeat(1 << 20)).into()),
        ("NUL", vec![0; 1 << 20]),
        ("NUL in a string", format!("[datapath]\nmode = \"{}\"", "\0".repeat(1 << 19)).into()),
        ("unknown keys", numbered(80_000, &|i| format!("key{i} = 1\n")).into()),
        ("wrong rules", wrong_rules.into()),
        ("wrong interfaces", "[[interface]]\nname = 5\n".repeat(40_000).into()),
    ];
    for (what, bytes) in inputs {
        let (_directory, path) = file(bytes);
        let started = Instant::now();
        let (code, lines) = check(&path);
        eprintln!("{what}: {:?}, {} lines", started.elapsed(), lines.len());
        assert_eq!(code, 2, "{what}: {:?}", lines.first());
        assert!((1..=1001).contains(&lines.len()), "{what}: {} lines", lines.len());
        let start = format!("{}:", path.display());
        for line in &lines {
            assert!(
                line.starts_with(&start) && line.len() < 1000 && !line.contains(char::is_control),
                "{what}: {line}"
            );
        }
    }
}

/// Each error is counted, told or not.
#[test]
fn of_very_many_errors_the_first_are_told_and_the_rest_counted() {
    let mut text = String::new();
    for _ in 0..5_000 {
        writeln!(text, "[[rule]]\nmatch = {{ interface = \"e0\", group = 5, port = 0 }}\noutput = [{{ interface = \"e1\", ttl = 0 }}]").expect("memory");
    }
    let (_directory, path) = file(&text);
    let (code, lines) = check(&path);
    assert_eq!((code, lines.len()), (2, 1001));
    assert_eq!(lines[1000], format!("{}: and 14000 more errors; fix these first", path.display()));
    let places: Vec<&str> = lines[..3].iter().filter_map(|line| line.split(": ").nth(1)).collect();
    assert_eq!(places, ["rule[0].match.group", "rule[0].match.port", "rule[0].output[0].ttl"]);
}

#[test]
fn what_is_no_file_is_refused_and_not_waited_for() {
    let directory = tempfile::tempdir().expect("a directory");
    let fifo = directory.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().expect("mkfifo runs").success());
    for (path, why) in [
        (fifo.as_path(), "is a pipe that nobody writes to"),
        (directory.path(), "cannot be read: Is a directory"),
        (Path::new("/dev/zero"), "is a device"),
        (Path::new("/dev/full"), "is a device"),
        (&directory.path().join("absent"), "cannot be read: No such file"),
    ] {
        let (code, lines) = check(path);
        assert_eq!((code, lines.len()), (2, 1), "{lines:?}");
        assert!(lines[0].starts_with(&format!("{}: {why}", path.display())), "{lines:?}");
        let mcrd = Command::new(env!("CARGO_BIN_EXE_mcrd")).arg("--config").arg(path).output().expect("mcrd runs");
        assert_eq!(mcrd.status.code(), Some(2), "{}", path.display());
    }
    // What is piped in is read.
    let mut command = Command::new(env!("CARGO_BIN_EXE_mcrctl"));
    command.args(["check", "/dev/stdin"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("mcrctl runs");
    let mut pipe = child.stdin.take().expect("piped");
    let writing = thread::spawn(move || {
        use std::io::Write;
        thread::sleep(Duration::from_millis(200));
        pipe.write_all(b"[limits]\nrules = 0\n").expect("taken");
    });
    let ended = child.wait_with_output().expect("it ends");
    writing.join().expect("no panic");
    let error = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.code() == Some(2) && error.starts_with("/dev/stdin:2: limits.rules: "), "{error}");
}
