//! Files changed, and files left alone.

use std::{fs, os::unix::fs::PermissionsExt};

use super::*;

const FILE: &str = "# mine\n[limits]   # few\nrules = 3\n\n# the first\n[[rule]]\nname=\"a\"\nmatch  = { interface = \"e0\", group = \"239.1.1.1\" } # why\noutput = [{ interface = \"e1\" }]\n\n# the second\n[[rule]]\nmatch = { interface = \"e0\", group = \"239.1.1.2\", port = 5 }\noutput = [{ interface = \"e1\" }]\n";

fn spec(name: Option<&str>, group: &str) -> RuleSpec {
    let json = format!(
        r#"{{"match":{{"interface":"e0","group":"{group}","port":"5"}},"output":[{{"interface":"e2","port":"6","ttl":"keep"}},{{"interface":"e3"}}]}}"#
    );
    RuleSpec { name: name.map(str::to_owned), ..serde_json::from_str(&json).expect("a rule") }
}

fn file(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("mcrd.toml");
    fs::write(&path, text).expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("a mode");
    (directory, path)
}

#[test]
fn a_rule_is_appended_and_the_rest_kept() {
    let (directory, path) = file(FILE);
    let link = directory.path().join("link.toml");
    std::os::unix::fs::symlink(&path, &link).expect("a link");
    append_rule(&link, &spec(Some("b"), "239.1.1.3")).expect("appended");
    let text = fs::read_to_string(&path).expect("the file");
    assert!(text.starts_with(FILE), "{text}");
    assert!(text[FILE.len()..].starts_with("\n[[rule]]\nname = \"b\"\n"), "{text}");
    assert!(text.contains("port = 5") && !text.contains("port = \"5\""), "a number stays one: {text}");
    assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o640);
    assert!(fs::symlink_metadata(&link).expect("there").is_symlink());
    let rules = config::load(&path).expect("right").config.rules;
    assert_eq!(rules[2], check_rule(&spec(Some("b"), "239.1.1.3")).expect("right").rule);
    // The limit of the file is 3.
    let error = append_rule(&path, &spec(Some("c"), "239.1.1.4")).expect_err("full").to_string();
    assert!(error.contains("limit of 3"), "{error}");
    assert_eq!(fs::read_to_string(&path).expect("the file"), text);
    assert_eq!(fs::read_dir(directory.path()).expect("entries").count(), 2, "nothing is left behind");
}

#[test]
fn a_rule_is_replaced_where_it_stands() {
    let (_directory, path) = file(FILE);
    // The second has no name of its own.
    replace_rule(&path, &spec(None, "239.1.1.2")).expect("replaced");
    let text = fs::read_to_string(&path).expect("the file");
    let second = FILE.find("# the second").expect("there");
    assert!(text.starts_with(&FILE[..second]), "{text}");
    assert!(text[second..].starts_with("# the second\n[[rule]]\nmatch = { interface = \"e0\""), "{text}");
    let rules = config::load(&path).expect("right").config.rules;
    assert_eq!((rules.len(), rules[1].outputs.len()), (2, 2));
    let error = replace_rule(&path, &spec(Some("zz"), "239.1.1.9")).expect_err("none").to_string();
    assert!(error.contains("no rule `zz`"), "{error}");
}

#[test]
fn other_ways_to_write_rules() {
    for text in [
        "",
        "rule = []\n",
        "[daemon]\n",
        "rule = [{ name = \"a\", match = { interface = \"e0\", group = \"239.1.1.1\" }, output = [{ interface = \"e1\" }] }]\n",
    ] {
        let (_directory, path) = file(text);
        append_rule(&path, &spec(Some("b"), "239.1.1.3")).expect("appended");
        replace_rule(&path, &spec(Some("b"), "239.1.1.4")).expect("replaced");
        let rules = config::load(&path).expect("right").config.rules;
        assert_eq!(rules.last(), Some(&check_rule(&spec(Some("b"), "239.1.1.4")).expect("right").rule), "{text}");
    }
}

#[test]
fn a_bad_file_and_a_bad_rule_change_nothing() {
    let (_directory, path) = file("rules = 1\n");
    assert!(append_rule(&path, &spec(Some("b"), "239.1.1.3")).is_err());
    assert_eq!(fs::read_to_string(&path).expect("the file"), "rules = 1\n");
    let (_directory, path) = file(FILE);
    assert!(append_rule(&path, &spec(Some("a"), "239.1.1.3")).is_err(), "the name is taken");
    assert!(append_rule(&path, &spec(Some("b"), "10.1.1.3")).is_err());
    assert_eq!(fs::read_to_string(&path).expect("the file"), FILE);
}

#[test]
fn a_pipe_is_not_waited_for() {
    let (_directory, path) = file(FILE);
    let pipe = path.with_file_name("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs").success());
    let error = append_rule(&pipe, &spec(Some("b"), "239.1.1.3")).expect_err("no file").to_string();
    assert!(error.contains("nobody writes"), "{error}");
}

#[test]
fn line_ends_stay() {
    let dos = FILE.replace('\n', "\r\n");
    let (_directory, path) = file(&dos);
    append_rule(&path, &spec(Some("b"), "239.1.1.3")).expect("appended");
    let text = fs::read_to_string(&path).expect("the file");
    assert!(text.starts_with(&dos), "{text:?}");
    assert_eq!(text.matches('\n').count(), text.matches("\r\n").count(), "{text:?}");
    replace_rule(&path, &spec(Some("a"), "239.1.1.7")).expect("replaced");
    let text = fs::read_to_string(&path).expect("the file");
    assert_eq!(text.matches('\n').count(), text.matches("\r\n").count(), "{text:?}");
    // A file of both: what is not changed stays as it is.
    let both = FILE.replacen('\n', "\r\n", 3);
    let (_directory, path) = file(&both);
    append_rule(&path, &spec(Some("b"), "239.1.1.3")).expect("appended");
    assert!(fs::read_to_string(&path).expect("the file").starts_with(&both));
}

#[test]
fn comments_inside_a_rule_stay() {
    let text = "[[rule]]\nname = \"a\" # its name\n# from there\nmatch = { interface = \"e0\", group = \"239.1.1.1\" } # why\noutput = [\n  # there\n  { interface = \"e2\" }, # far\n  { interface = \"e9\" }, # gone\n]\n# the end\n";
    let (_directory, path) = file(text);
    replace_rule(&path, &spec(Some("a"), "239.1.1.2")).expect("replaced");
    let now = fs::read_to_string(&path).expect("the file");
    for comment in ["# its name", "# from there", "# why", "  # there\n", "# far", "# the end"] {
        assert!(now.contains(comment), "{comment}: {now}");
    }
    assert!(!now.contains("# gone"), "{now}");
    let rules = config::load(&path).expect("right").config.rules;
    assert_eq!(rules, [check_rule(&spec(Some("a"), "239.1.1.2")).expect("right").rule]);
}
