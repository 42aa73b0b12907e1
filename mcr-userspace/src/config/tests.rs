//! Files in order, files with every mistake, and files that are none.

use std::{
    fmt::Write,
    time::{Duration, Instant},
};

use proptest::prelude::*;

use super::*;

mod include;
mod reference;

use crate::rules::{
    rule::{Ports, Source, Ttl},
    value,
};

/// `LINE: key` of each problem.
fn places(text: &str) -> Vec<String> {
    let problems = parse("f", text).err().unwrap_or_default();
    problems.into_iter().map(|problem| format!("{}: {}", problem.line, problem.key)).collect()
}

#[test]
fn an_empty_file_is_all_defaults() {
    let loaded = parse("f", "").expect("in order");
    assert_eq!(loaded, Loaded { config: Config::default(), warnings: vec![], files: vec!["f".into()], homes: vec![] });
    assert_eq!(loaded.config.daemon.control_socket, Path::new("/run/mcr/mcrd.sock"));
    assert_eq!(loaded.config.limits, Limits { rules: 65_536, frames: None });
}

#[test]
fn every_key_is_read() {
    let text = r#"
        [daemon]
        control_socket = "/tmp/s"
        metrics_listen = "127.0.0.1:9469"
        [datapath]
        mode = "zerocopy"
        profile = "low-latency"
        cpu_reserve = "10%"
        workers = 2
        [limits]
        rules = 10
        frames = 4096
        [[interface]]
        name = "veth1"
        mode = "copy"
        membership = "allmulticast"
        [[interface]]
        name = "veth2"
        [[rule]]
        name = "feed-a"
        stall_after = "5s"
        match = { interface = "veth1", group = "239.1.1.0/28", port = "5001-5050", source = "10.0.0.0/8", vlan = 7 }
        output = [
          { name = "x", interface = "veth2", group = "239.10.1.0", port = 6001, source = "keep", ttl = 16, dscp = 46, vlan = "keep" },
        ]
        [[rule]]
        match.interface = "veth1"
        match.group = "239.1.1.1"
        [[rule.output]]
        interface = "veth3"
    "#;
    let Config { daemon, datapath, limits, interfaces, rules } = parse("f", text).expect("in order").config;
    assert_eq!((daemon.control_socket, daemon.metrics_listen), ("/tmp/s".into(), "127.0.0.1:9469".parse().ok()));
    assert_eq!(
        datapath,
        Datapath {
            mode: Mode::Zerocopy,
            profile: Profile::LowLatency,
            workers: NonZeroU32::new(2),
            cpu_reserve: "10%".parse().expect("in order"),
        }
    );
    assert_eq!(limits, Limits { rules: 10, frames: Some(4096) });
    let interface =
        |name: &str, mode, membership| InterfaceConfig { name: name.into(), mode, membership, rejoin: None };
    assert_eq!(
        interfaces,
        [interface("veth1", Some(Mode::Copy), Membership::Allmulticast), interface("veth2", None, Membership::Join)]
    );
    assert_eq!((rules[0].name.as_str(), rules[0].stall_after), ("feed-a", Some(Duration::from_secs(5))));
    let matcher = &rules[0].matcher;
    assert_eq!((matcher.ports, matcher.vlan), (Ports::Range(5001, 5050), Some(7)));
    assert_eq!(
        (matcher.group, matcher.source),
        (value::prefix("239.1.1.0/28").expect("one"), value::prefix("10.0.0.0/8").expect("one"))
    );
    let output = &rules[0].outputs[0];
    assert_eq!(
        (output.source, output.ttl, output.dscp, output.port),
        (Source::Keep, Ttl::Set(16), Some(46), Some(6001))
    );
    assert_eq!(rules[1].name, "veth1:239.1.1.1:any");
}

#[test]
fn every_mistake_is_told_at_its_line() {
    let text = "\
[deamon]
[daemon]
control_socket = 5
metrics_listen = \"localhost\"
[datapath]
mode = \"fast\"
profile = true
workers = 0
cpu_reserve = \"70%\"
[limits]
rules = 0
frames = \"some\"
[[interface]]
mode = \"copy\"
[[interface]]
name = \"a/b\"
[[interface]]
name = \"e0\"
[[interface]]
name = \"e0\"
[[rule]]
match = { interface = \"e0\", group = 5, prot = 1 }
output = [{ interface = \"e1\", port = 0, ttl = [] }, 7]
[[rule]]
name = \"x\"
match = { interface = \"e0\", group = \"239.1.1.1\" }
output = [{ interface = \"e1\" }]
[[rule]]
name = \"x\"
match = { interface = \"e0\", group = \"239.1.1.2\" }
output = [{ interface = \"e1\" }]
[[rule]]
name = \"y\"
match = { interface = \"e0\", group = \"239.1.1.1\" }
output = [{ interface = \"e1\" }]
";
    let wanted = "1: deamon|3: daemon.control_socket|4: daemon.metrics_listen|6: datapath.mode|7: datapath.profile|\
        8: datapath.workers|9: datapath.cpu_reserve|11: limits.rules|12: limits.frames|13: interface[0].name|\
        16: interface[1].name|20: interface[3].name|22: rule[0].match.group|22: rule[0].match.prot|\
        23: rule[0].output[1]|23: rule[0].output[0].ttl|23: rule[0].output[0].port|29: rule[2].name|34: rule[3].match";
    let mut found = places(text);
    let mut wanted: Vec<&str> = wanted.split('|').collect();
    assert!(found.is_sorted_by_key(|place| place.split(':').next().and_then(|line| line.parse::<usize>().ok())));
    found.sort();
    wanted.sort();
    assert_eq!(found, wanted);
    let first = parse("f", text).expect_err("wrong")[0].to_string();
    assert_eq!(first, "f:1: deamon: unknown key; did you mean `daemon`?");
}

#[test]
fn memberships_are_repeated_where_there_are_some() {
    let interface = |words: &str| parse("f", &format!("[[interface]]\nname = \"e0\"\n{words}\n"));
    let every = |words: &str| interface(words).map(|loaded| loaded.config.interfaces[0].rejoin);
    assert_eq!(every("rejoin = \"30s\""), Ok(Some(Duration::from_secs(30))));
    assert_eq!(every("membership = \"join\"\nrejoin = \"1m 5s\""), Ok(Some(Duration::from_secs(65))));
    for (words, part) in [
        ("rejoin = 30", "it must be a string"),
        ("rejoin = \"soon\"", "`soon` is not a duration"),
        ("rejoin = \"999ms\"", "not between"),
        ("rejoin = \"0s\"", "not between"),
        ("rejoin = \"9999999 years\"", "not between"),
        ("membership = \"none\"\nrejoin = \"30s\"", "joins nothing"),
        ("rejoin = \"30s\"\nmembership = \"allmulticast\"", "joins nothing"),
    ] {
        let problem = interface(words).expect_err(words).remove(0);
        assert!(problem.key == "interface[0].rejoin" && problem.message.contains(part), "{words}: {problem}");
    }
}

#[test]
fn what_is_no_table_is_told_once_and_hides_nothing_else() {
    assert_eq!(places("rule = [1, 2]\ninterface = [true]\n"), ["1: rule[0]", "1: rule[1]", "2: interface[0]"]);
    let outputs = "[[rule]]\nmatch = 5\noutput = [7, {}, { interface = \"e1\", ttl = 0 }]\n";
    let wanted =
        ["2: rule[0].match", "3: rule[0].output[0]", "3: rule[0].output[1].interface", "3: rule[0].output[2].ttl"];
    assert_eq!(places(outputs), wanted);
    let many = "{ interface = \"e1\" },".repeat(65) + "{ interface = \"e1\", dscp = 64 }";
    let text = format!("[[rule]]\nmatch = {{ interface = \"e0\", group = \"239.1.1.1\" }}\noutput = [{many}]\n");
    assert_eq!(places(&text), ["3: rule[0].output", "3: rule[0].output[65].dscp"]);
}

/// The first of a kind with their lines, and then a count.
#[test]
fn of_many_warnings_of_a_kind_the_first_are_told() {
    let mut text = String::new();
    for i in 0..50 {
        writeln!(
            text,
            "[[rule]]\nmatch = {{ interface = \"e0\", group = \"239.255.1.{i}\" }}\noutput = [{{ interface = \"e1\" }}]"
        )
        .expect("memory");
    }
    let warnings = parse("f", &text).expect("in order").warnings;
    assert_eq!(warnings.len(), 21);
    assert!(warnings[19].starts_with("f:60: rule[19].output[0].ttl: sources of 239.255.0.0/16"), "{}", warnings[19]);
    assert_eq!(warnings[20], "f:63: and 30 more of groups whose sources commonly send a TTL of 1");
}

#[test]
fn broken_syntax_hides_nothing_that_can_be_seen() {
    let text = "a = = 5\n[limits]\nrules = 0\n[[rule]]\nmatch = { interface = \"e0\"\noutput = []\n";
    let found = places(text);
    assert!(found[0].starts_with("1: ") && found.contains(&"3: limits.rules".to_owned()), "{found:?}");
    assert!(!found.iter().any(|place| place.contains("match.group")), "it may be in the broken part: {found:?}");
}

#[test]
fn warnings_name_their_line() {
    let text =
        "\n[[rule]]\nmatch = { interface = \"e0\", group = \"224.0.0.0/4\" }\noutput = [{ interface = \"e1\" }]\n";
    let warnings = parse("f", text).expect("in order").warnings;
    assert!(warnings.len() == 1 && warnings[0].starts_with("f:3: rule[0].match.group: "), "{warnings:?}");
}

#[test]
fn what_is_no_file_is_one_clear_line() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("f");
    let why = |path: &Path| {
        let problems = load(path).expect_err("no file");
        assert_eq!(problems.len(), 1);
        problems[0].to_string()
    };
    assert!(why(&path).contains("cannot be read: No such file"));
    assert!(why(directory.path()).contains("cannot be read: Is a directory"));
    std::fs::write(&path, b"# fine\n\xff").expect("a file");
    assert_eq!(why(&path), format!("{}:2: is not UTF-8 text; is it a configuration file?", path.display()));
    let large = std::fs::File::create(&path).expect("a file");
    large.set_len((32 << 20) + 1).expect("a hole");
    assert!(why(&path).contains("larger than 32 MiB"));
    for marks in ["a=[[],", "a.b.c.d=1\n", "a\n"] {
        std::fs::write(&path, marks.repeat(20_000_000 / marks.len())).expect("a file");
        assert!(why(&path).contains("more than 5000000 lines, keys and values"), "{marks}");
    }
}

/// 20, and how many more there are.
const MAX_SYNTAX_TOLD: usize = 21;

/// Of a long text that is no TOML the head alone is parsed; an error beyond it is found as ever.
#[test]
fn long_rubbish_is_known_by_its_head() {
    let problems = parse("f", &"a\n".repeat(1_000_000)).expect_err("no TOML");
    assert_eq!(problems.len(), MAX_SYNTAX_TOLD, "{problems:?}");
    assert!(problems.iter().any(|problem| problem.message.contains("and at least ")), "{problems:?}");
    let late = format!("{}\nwrong\n", "# fine\n".repeat(100_000));
    let problems = parse("f", &late).expect_err("one error");
    assert_eq!((problems.len(), problems[0].line), (1, 100_002), "{problems:?}");
}

/// The bounds are for a loaded machine and a debug build.
#[test]
fn large_files_and_large_rubbish_are_quick() {
    let mut text = String::new();
    for i in 0..10_000 {
        let group = std::net::Ipv4Addr::from(0xef01_0000 + i);
        writeln!(text, "[[rule]]\nname = \"r{i}\"\nmatch = {{ interface = \"e0\", group = \"{group}\", port = 5001 }}")
            .expect("memory");
        writeln!(text, "output = [{{ interface = \"e1\", group = \"239.200.1.1\" }}]").expect("memory");
    }
    let started = Instant::now();
    assert_eq!(parse("f", &text).expect("in order").config.rules.len(), 10_000);
    eprintln!("10,000 rules: {:?}", started.elapsed());
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    for rubbish in ["[", "a", "=", "\"", "{[", "\n", "a=1\n", "[[rule]]\n", "a.b.", "# \u{1f980}", "x = [", "'''"] {
        let started = Instant::now();
        let found = parse("f", &rubbish.repeat(1_000_000 / rubbish.len()));
        assert!(found.is_err() || rubbish == "\n" || rubbish.starts_with('#'), "{rubbish}");
        assert!(started.elapsed() < Duration::from_secs(5), "{rubbish:?}: {:?}", started.elapsed());
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "([a-z]{1,4}|=|\\[|\\]|\\{|\\}|\"|'|,|\\.|\n|#| |[0-9]{1,3}|\\PC|rule|match|output|daemon){0,60}") {
        let _ = parse("f", &text);
    }
}
