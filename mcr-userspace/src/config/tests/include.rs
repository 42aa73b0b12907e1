//! Several files as one.

use std::{fs, os::unix::fs::symlink, path::PathBuf};

use super::*;

/// A directory with a main file and others.
struct Files(tempfile::TempDir);

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let files: Vec<(PathBuf, &str)> =
            files.iter().map(|(name, text)| (directory.path().join(name), *text)).collect();
        for (path, text) in files {
            fs::create_dir_all(path.parent().expect("it has one")).expect("a directory");
            fs::write(path, text).expect("a file");
        }
        Self(directory)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Names of the rules, or each problem, with the directory left out.
    fn load(&self) -> Result<(Vec<String>, Vec<String>), Vec<String>> {
        let directory = format!("{}/", self.0.path().display());
        let short = |line: &dyn ToString| line.to_string().replace(&directory, "");
        match load(&self.path("m.toml")) {
            Ok(loaded) => Ok((
                loaded.config.rules.into_iter().map(|rule| rule.name).collect(),
                loaded.warnings.iter().map(|line| short(line)).collect(),
            )),
            Err(problems) => Err(problems.iter().map(|problem| short(problem)).collect()),
        }
    }

    fn problem(&self) -> String {
        let mut problems = self.load().expect_err("wrong");
        assert_eq!(problems.len(), 1, "{problems:?}");
        problems.remove(0)
    }
}

fn rule(name: &str, group: u8) -> String {
    format!(
        "[[rule]]\nname = \"{name}\"\nmatch = {{ interface = \"e0\", group = \"239.1.1.{group}\" }}\noutput = [{{ interface = \"e1\", ttl = 9 }}]\n"
    )
}

const MAIN: &str = "include = [\"conf.d/*.toml\"]\n";

#[test]
fn rules_of_all_files_are_one_set() {
    let main = MAIN.to_owned() + &rule("main", 1);
    let files = [
        ("m.toml", main.as_str()),
        ("conf.d/b.toml", &rule("b", 2)),
        ("conf.d/a.toml", &(rule("a1", 3) + &rule("a2", 4))),
        ("conf.d/.hidden.toml", "no TOML"),
        ("conf.d/a.toml~", "no TOML"),
        ("other.toml", &rule("other", 5)),
    ];
    let files = Files::new(&files);
    assert_eq!(files.load(), Ok((vec!["main".into(), "a1".into(), "a2".into(), "b".into()], vec![])));
    let loaded = load(&files.path("m.toml")).expect("right");
    assert_eq!((loaded.files.len(), loaded.homes), (3, vec![0, 1, 1, 2]));
    // By name, by an absolute path, twice, and by a link that leads to one that is read already.
    symlink(files.path("conf.d/a.toml"), files.path("conf.d/z.toml")).expect("a link");
    let absolute = format!(
        "include = [\"other.toml\", \"{}\", \"conf.d/[ab].toml\", \"conf.d/z.toml\"]\n",
        files.path("conf.d/a.toml").display()
    );
    fs::write(files.path("m.toml"), absolute).expect("a file");
    let (names, warnings) = files.load().expect("right");
    assert_eq!(names, ["other", "a1", "a2", "b"]);
    assert_eq!(warnings, ["m.toml:1: include[3]: `conf.d/z.toml` is the same file as conf.d/a.toml; it is read once"]);
    // A link to a file elsewhere is as good as the file.
    fs::write(files.path("m.toml"), "include = [\"link\"]\n").expect("a file");
    symlink(files.path("other.toml"), files.path("link")).expect("a link");
    assert_eq!(files.load().expect("right").0, ["other"]);
}

#[test]
fn what_is_wrong_names_the_included_file_and_its_line() {
    let first = rule("a", 1) + "[limits]\nrules = 5\n";
    let second =
        "include = [\"x\"]\nlimts = 1\n".to_owned() + &rule("a", 2).replace("ttl = 9", "ttl = 0, src = \"keep\"");
    let third = rule("c", 1) + &rule("main", 7) + "= broken\n";
    let main = MAIN.to_owned() + &rule("main", 6);
    let files =
        [("m.toml", main.as_str()), ("conf.d/1.toml", &first), ("conf.d/2.toml", &second), ("conf.d/3.toml", &third)];
    let files = Files::new(&files);
    let problems = files.load().expect_err("wrong");
    let starts = [
        "conf.d/1.toml:5: limits: this file is included by m.toml",
        "conf.d/2.toml:1: include: this file is included by m.toml, and includes none itself",
        "conf.d/2.toml:2: limts: unknown key; known here: rule",
        "conf.d/2.toml:6: rule[0].output[0].src: unknown key; did you mean `source`?",
        "conf.d/2.toml:6: rule[0].output[0].ttl: ",
        "conf.d/3.toml:3: rule[0].match: rule `c` and rule `a` take the same packets",
        "conf.d/3.toml:6: rule[1].name: `main` is already the name of the rule at m.toml:2; choose another",
        "conf.d/3.toml:9: ",
    ];
    // What is broken is told of as the parser sees it, in three lines.
    assert_eq!(problems.len(), starts.len() + 2, "{problems:#?}");
    for start in starts {
        assert!(problems.iter().any(|problem| problem.starts_with(start)), "{start}: {problems:#?}");
    }
    // A warning, too.
    let wide = rule("a", 1).replace(", ttl = 9", "").replace("239.1.1.1", "239.255.1.1");
    let files = Files::new(&[("m.toml", MAIN), ("conf.d/1.toml", &wide)]);
    let warnings = files.load().expect("right").1;
    assert!(warnings.len() == 1 && warnings[0].starts_with("conf.d/1.toml:4: rule[0].output[0].ttl: "), "{warnings:?}");
}

#[test]
fn patterns_and_files_that_are_none() {
    let of = |include: &str| Files::new(&[("m.toml", &format!("\ninclude = {include}\n")), ("d/a.txt", "")]);
    assert_eq!(
        of("[\"d/*.toml\"]").load(),
        Ok((vec![], vec!["m.toml:2: include[0]: `d/*.toml` matches no file; no rule comes from it".into()]))
    );
    for (include, start) in [
        ("[\"d/a.toml\"]", "m.toml:2: include[0]: `d/a.toml` names a file that cannot be read: d/a.toml: No such file"),
        ("[\"d\"]", "d: is a directory; write a pattern"),
        ("[\"*\"]", "m.toml:2: include[0]: `m.toml` is this file itself"),
        ("[\"./m.toml\"]", "m.toml:2: include[0]: `./m.toml` is this file itself"),
        ("[\"d/[\"]", "m.toml:2: include[0]: `d/[` is no pattern"),
        ("[\"**/a.txt\"]", "m.toml:2: include[0]: `**/a.txt` has `**`"),
        ("[\"\"]", "m.toml:2: include[0]: `` is empty"),
        ("[5]", "m.toml:2: include[0]: is a whole number; it must be a string"),
        ("\"d/*.toml\"", "m.toml:2: include: is a string; it must be an array of strings"),
        ("[\"/dev/null\"]", "/dev/null: is not a regular file"),
    ] {
        let problems = of(include).load().expect_err(include);
        assert!(problems.iter().any(|problem| problem.starts_with(start)), "{include}: {problems:?}");
    }
    let section = Files::new(&[("m.toml", "[daemon]\ninclude = []\n")]).problem();
    assert_eq!(
        section,
        "m.toml:2: daemon.include: unknown key; write it at the top of the file, before the first [section]"
    );
    let files = Files::new(&[("m.toml", "include = [\"gone\", \"x.toml\"]\n"), ("x.toml", "# fine\n")]);
    symlink("nowhere", files.path("gone")).expect("a link");
    assert!(files.problem().starts_with("gone: cannot be read: No such file"), "{}", files.problem());
    fs::remove_file(files.path("gone")).expect("gone");
    fs::write(files.path("gone"), b"# fine\n\xff").expect("a file");
    assert_eq!(files.problem(), "gone:2: is not UTF-8 text; is it a configuration file?");
}

#[test]
fn many_files_and_large_ones_are_bounded() {
    let files = Files::new(&[("m.toml", "include = [\"d/*\"]\n"), ("d/a", "# fine\n")]);
    let large = || fs::File::create(files.path("d/b")).expect("a file").set_len(20 << 20).expect("a hole");
    large();
    fs::copy(files.path("d/b"), files.path("d/c")).expect("a copy");
    let problems = files.load().expect_err("large");
    assert!(
        problems.iter().any(|line| line.starts_with("d/c: with the files read before it is larger than 32 MiB")),
        "{problems:.200?}"
    );
    for name in ["d/b", "d/c"] {
        fs::remove_file(files.path(name)).expect("gone");
    }
    (0..1000).for_each(|i| fs::write(files.path(&format!("d/{i}")), "").expect("a file"));
    assert!(files.problem().contains("brings more than 1000 files"), "{}", files.problem());
    fs::remove_file(files.path("d/0")).expect("gone");
    assert!(files.load().is_ok());
}
