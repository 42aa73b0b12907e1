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

fn put(path: &Path, spec: &RuleSpec) -> Result<(), PersistError> {
    edit(path, &[Edit::Put(spec.clone())]).map(drop)
}

fn change(path: &Path, json: &str, whole: &RuleSpec) -> Result<(), PersistError> {
    let change = serde_json::from_str(json).expect("a change");
    edit(path, &[Edit::Change { change, whole: whole.clone() }]).map(drop)
}

#[test]
fn a_rule_is_appended_and_the_rest_kept() {
    let (directory, path) = file(FILE);
    let link = directory.path().join("link.toml");
    std::os::unix::fs::symlink(&path, &link).expect("a link");
    put(&link, &spec(Some("b"), "239.1.1.3")).expect("appended");
    let text = fs::read_to_string(&path).expect("the file");
    assert!(text.starts_with(FILE), "{text}");
    assert!(text[FILE.len()..].starts_with("\n[[rule]]\nname = \"b\"\n"), "{text}");
    assert!(text.contains("port = 5") && !text.contains("port = \"5\""), "a number stays one: {text}");
    assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o640);
    assert!(fs::symlink_metadata(&link).expect("there").is_symlink());
    let rules = config::load(&path).expect("right").config.rules;
    assert_eq!(rules[2], check_rule(&spec(Some("b"), "239.1.1.3")).expect("right").rule);
    // The limit of the file is 3.
    let error = put(&path, &spec(Some("c"), "239.1.1.4")).expect_err("full").to_string();
    assert!(error.contains("limit of 3"), "{error}");
    assert_eq!(fs::read_to_string(&path).expect("the file"), text);
    assert_eq!(fs::read_dir(directory.path()).expect("entries").count(), 2, "nothing is left behind");
}

#[test]
fn a_rule_is_replaced_where_it_stands() {
    let (_directory, path) = file(FILE);
    // The second has no name of its own.
    put(&path, &spec(Some("e0:239.1.1.2:5"), "239.1.1.2")).expect("replaced");
    let text = fs::read_to_string(&path).expect("the file");
    let second = FILE.find("# the second").expect("there");
    assert!(text.starts_with(&FILE[..second]), "{text}");
    assert!(text[second..].starts_with("# the second\n[[rule]]\nmatch = { interface = \"e0\""), "{text}");
    let rules = config::load(&path).expect("right").config.rules;
    assert_eq!((rules.len(), rules[1].outputs.len()), (2, 2));
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
        put(&path, &spec(Some("b"), "239.1.1.3")).expect("appended");
        put(&path, &spec(Some("b"), "239.1.1.4")).expect("replaced");
        let rules = config::load(&path).expect("right").config.rules;
        assert_eq!(rules.last(), Some(&check_rule(&spec(Some("b"), "239.1.1.4")).expect("right").rule), "{text}");
    }
}

#[test]
fn a_bad_file_and_a_bad_rule_change_nothing() {
    let (_directory, path) = file("rules = 1\n");
    assert!(put(&path, &spec(Some("b"), "239.1.1.3")).is_err());
    assert_eq!(fs::read_to_string(&path).expect("the file"), "rules = 1\n");
    let (_directory, path) = file(FILE);
    assert!(put(&path, &spec(Some("b"), "10.1.1.3")).is_err());
    assert_eq!(fs::read_to_string(&path).expect("the file"), FILE);
}

#[test]
fn a_pipe_is_not_waited_for() {
    let (_directory, path) = file(FILE);
    let pipe = path.with_file_name("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs").success());
    let error = put(&pipe, &spec(Some("b"), "239.1.1.3")).expect_err("no file").to_string();
    assert!(error.contains("nobody writes"), "{error}");
}

#[test]
fn line_ends_stay() {
    let dos = FILE.replace('\n', "\r\n");
    let (_directory, path) = file(&dos);
    put(&path, &spec(Some("b"), "239.1.1.3")).expect("appended");
    let text = fs::read_to_string(&path).expect("the file");
    assert!(text.starts_with(&dos), "{text:?}");
    assert_eq!(text.matches('\n').count(), text.matches("\r\n").count(), "{text:?}");
    put(&path, &spec(Some("a"), "239.1.1.7")).expect("replaced");
    let text = fs::read_to_string(&path).expect("the file");
    assert_eq!(text.matches('\n').count(), text.matches("\r\n").count(), "{text:?}");
    // A file of both: what is not changed stays as it is.
    let both = FILE.replacen('\n', "\r\n", 3);
    let (_directory, path) = file(&both);
    put(&path, &spec(Some("b"), "239.1.1.3")).expect("appended");
    assert!(fs::read_to_string(&path).expect("the file").starts_with(&both));
}

#[test]
fn comments_inside_a_rule_stay() {
    let text = "[[rule]]\nname = \"a\" # its name\n# from there\nmatch = { interface = \"e0\", group = \"239.1.1.1\" } # why\noutput = [\n  # there\n  { interface = \"e2\" }, # far\n  { interface = \"e9\" }, # gone\n]\n# the end\n";
    let (_directory, path) = file(text);
    put(&path, &spec(Some("a"), "239.1.1.2")).expect("replaced");
    let now = fs::read_to_string(&path).expect("the file");
    for comment in ["# its name", "# from there", "# why", "  # there\n", "# far", "# gone", "# the end"] {
        assert!(now.contains(comment), "{comment}: {now}");
    }
    let rules = config::load(&path).expect("right").config.rules;
    assert_eq!(rules, [check_rule(&spec(Some("a"), "239.1.1.2")).expect("right").rule]);
}

#[test]
fn a_rule_is_edited_in_the_file_that_has_it() {
    let (directory, path) = file("include = [\"conf.d/*.toml\"]\n# main\n");
    let folder = directory.path().join("conf.d");
    fs::create_dir(&folder).expect("a directory");
    let included = folder.join("a.toml");
    let of_file = FILE.replace("[limits]   # few\nrules = 3\n\n", "").replace('\n', "\r\n");
    fs::write(&included, &of_file).expect("a file");
    fs::write(
        folder.join("b.toml"),
        FILE.replace("[limits]   # few\nrules = 3\n\n", "").replace("239.1.1", "239.2.1").replace("\"a\"", "\"b\""),
    )
    .expect("a file");
    put(&path, &spec(Some("e0:239.1.1.2:5"), "239.1.1.2")).expect("replaced");
    let text = fs::read_to_string(&included).expect("the file");
    let second = of_file.find("# the second").expect("there");
    assert!(text.starts_with(&of_file[..second]) && text[second..].contains("e3"), "{text}");
    assert_eq!(text.matches('\n').count(), text.matches("\r\n").count(), "{text:?}");
    // A new one goes to the main file.
    put(&path, &spec(Some("c"), "239.3.1.1")).expect("appended");
    let main = fs::read_to_string(&path).expect("the file");
    assert!(main.contains("\n[[rule]]\nname = \"c\"") && main.contains("# main\n"), "{main}");
    assert_eq!(fs::read_to_string(&included).expect("the file"), text);
    // What another file has makes it invalid, which changes nothing.
    let error = put(&path, &spec(Some("b"), "239.1.1.2")).expect_err("taken").to_string();
    assert!(error.contains("b.toml") && error.contains("equal rank"), "{error}");
    let names: Vec<String> =
        config::load(&path).expect("right").config.rules.into_iter().map(|rule| rule.name).collect();
    assert_eq!(names, ["c", "a", "e0:239.1.1.2:5", "b", "e0:239.2.1.2:5"]);
}

#[test]
fn keys_that_are_named_change_and_no_others() {
    let whole = spec(Some("a"), "239.1.1.1");
    let (_directory, path) = file(FILE);
    change(&path, r#"{"enabled":false}"#, &whole).expect("changed");
    let text = fs::read_to_string(&path).expect("the file");
    assert_eq!(text, FILE.replacen("[{ interface = \"e1\" }]\n", "[{ interface = \"e1\" }]\nenabled = false\n", 1));
    change(&path, r#"{"match":{"port":7},"description":"x \"y\""}"#, &whole).expect("changed");
    let text = fs::read_to_string(&path).expect("the file");
    assert!(text.contains("match  = { interface = \"e0\", group = \"239.1.1.1\", port = 7 } # why\n"), "{text}");
    change(&path, r#"{"match":{"port":"any"},"description":"","enabled":true}"#, &whole).expect("changed");
    let text = fs::read_to_string(&path).expect("the file");
    assert_eq!(text, FILE.replacen("[{ interface = \"e1\" }]\n", "[{ interface = \"e1\" }]\nenabled = true\n", 1));
    // Its name was the one of its match.
    let second = spec(Some("e0:239.1.1.2:5"), "239.1.1.2");
    change(&path, r#"{"match":{"interface":"e7"}}"#, &second).expect("changed");
    let rules = config::load(&path).expect("right").config.rules;
    assert_eq!((rules[1].name.as_str(), rules[1].matcher.interface.as_str()), ("e0:239.1.1.2:5", "e7"));
    // One that the file lacks is written whole.
    let third = spec(Some("c"), "239.1.1.3");
    change(&path, r#"{"enabled":true}"#, &third).expect("changed");
    assert_eq!(config::load(&path).expect("right").config.rules[2], check_rule(&third).expect("right").rule);
}

#[test]
fn rules_go_and_all_around_them_stays() {
    for (from, to) in [("\n", "\n"), ("\n", "\r\n")] {
        let text = FILE.replace(from, to) + "# end";
        let (_directory, path) = file(&text);
        let missing = edit(&path, &[Edit::Remove("a".into()), Edit::Remove("zz".into())]).expect("changed");
        assert_eq!(missing, ["zz"]);
        let now = fs::read_to_string(&path).expect("the file");
        let gone = "[[rule]]\nname=\"a\"\nmatch  = { interface = \"e0\", group = \"239.1.1.1\" } # why\noutput = [{ interface = \"e1\" }]\n";
        assert_eq!(now, text.replace(&gone.replace(from, to), ""));
        edit(&path, &[Edit::Remove("e0:239.1.1.2:5".into())]).expect("changed");
        let now = fs::read_to_string(&path).expect("the file");
        for comment in ["# mine", "# few", "# the first", "# the second", "# end"] {
            assert!(now.contains(comment), "{comment}: {now}");
        }
        assert!(config::load(&path).expect("right").config.rules.is_empty());
    }
}

#[test]
fn rules_of_every_layout_go() {
    let one = |name: &str, group: u8| {
        format!(
            "{{ name = \"{name}\", match = {{ interface = \"e0\", group = \"239.1.1.{group}\" }}, output = [{{ interface = \"e1\" }}] }}"
        )
    };
    let list = format!("rule = [\n  # first\n  {}, # 1\n  # second\n  {}, # 2\n]\n# end\n", one("a", 1), one("b", 2));
    let tables = |name: &str, group: u8| {
        format!(
            "# of {name}\n[[rule]] # {name}\nname = \"{name}\"\n[rule.match]\ninterface = \"e0\"\ngroup = \"239.1.1.{group}\"\n[[rule.output]]\ninterface = \"e1\"\n\n[[rule.output]]\ninterface = \"e2\" # far\n"
        )
    };
    let nested = tables("a", 1) + "\n" + &tables("b", 2) + "[limits]\nrules = 5\n";
    let lines = "[[rule]]\nname = \"a\"\nmatch.interface = \"e0\"\nmatch.group = \"239.1.1.1\"\noutput = [\n  { interface = \"e1\" },\n]\n[[rule]]\nname = \"b\"\nmatch.interface = \"e0\"\nmatch.group = \"239.1.1.2\"\noutput = [{ interface = \"e1\" }]";
    for text in [list.as_str(), nested.as_str(), lines] {
        for (gone, stays) in [("a", "b"), ("b", "a")] {
            let (_directory, path) = file(text);
            edit(&path, &[Edit::Remove(gone.into())]).unwrap_or_else(|error| panic!("{error}: {text}"));
            let rules = config::load(&path).expect("right").config.rules;
            assert_eq!(rules.iter().map(|rule| rule.name.as_str()).collect::<Vec<_>>(), [stays]);
            let now = fs::read_to_string(&path).expect("the file");
            assert!(!text.contains("[limits]") || now.ends_with("[limits]\nrules = 5\n"), "{now}");
            assert!(!text.contains("# second") || (now.contains("# first") && now.contains("# second")), "{now}");
        }
    }
}

#[test]
fn several_files_change_together_or_not_at_all() {
    let rule = |name: &str, group: u8| {
        format!(
            "[[rule]]\nname = \"{name}\"\nmatch = {{ interface = \"e0\", group = \"239.1.1.{group}\" }}\noutput = [{{ interface = \"e1\" }}]\n"
        )
    };
    let (directory, path) = file(&format!("include = [\"conf.d/*.toml\"]\n{}", rule("m", 1)));
    let folder = directory.path().join("conf.d");
    fs::create_dir(&folder).expect("a directory");
    for (file, name, group) in [("a.toml", "a", 2), ("b.toml", "b", 3)] {
        fs::write(folder.join(file), rule(name, group)).expect("a file");
    }
    let all = || {
        ["mcrd.toml", "conf.d/a.toml", "conf.d/b.toml"]
            .map(|file| fs::read_to_string(directory.path().join(file)).expect("there"))
    };
    let before = all();
    let off = |name: &str, group: &str| {
        let whole = spec(Some(name), group);
        Edit::Change { change: RuleSpec { enabled: Some(false), ..RuleSpec::default() }, whole }
    };
    let clash = Edit::Put(spec(Some("b"), "239.1.1.2"));
    // The same claim as `a` at another port is none; so with any port.
    let clash = match clash {
        Edit::Put(mut spec) => {
            spec.matcher.port = None;
            spec.output[0].port = None;
            Edit::Put(spec)
        }
        other => other,
    };
    assert!(edit(&path, &[off("a", "239.1.1.2"), clash]).is_err());
    assert_eq!(all(), before);
    edit(&path, &[off("a", "239.1.1.2"), Edit::Remove("b".into()), off("m", "239.1.1.1")]).expect("changed");
    let now = all();
    assert!(now[0].contains("enabled = false") && now[1].contains("enabled = false") && now[2].is_empty(), "{now:?}");
}

#[test]
fn many_line_ends_stay_with_many_edits() {
    let both = FILE.replacen('\n', "\r\n", 7);
    let (_directory, path) = file(&both);
    let off = |name: &str, group: &str| {
        let whole = spec(Some(name), group);
        Edit::Change { change: RuleSpec { enabled: Some(false), ..RuleSpec::default() }, whole }
    };
    edit(&path, &[off("a", "239.1.1.1"), off("e0:239.1.1.2:5", "239.1.1.2")]).expect("changed");
    let text = fs::read_to_string(&path).expect("the file");
    let without: String = text.split_inclusive('\n').filter(|line| !line.starts_with("enabled")).collect();
    assert_eq!(without, both);
}
