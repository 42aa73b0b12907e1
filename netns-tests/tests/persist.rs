//! Rules changed in the file too: its comments and line ends, several changes at once, files that cannot be written.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, bail, ensure};
use netns_tests::{
    daemon::{Daemon, words},
    needs_root,
    process::run,
};
use serde_json::Value;

/// How many files a directory has.
fn left(directory: &Path) -> Result<usize> {
    Ok(fs::read_dir(directory)?.count())
}

const FILE: &str = "# mine\n[limits] # few\nrules = 10\n\n# court 1\n[[rule]]\nname = \"a\" # its name\nmatch = { interface = \"v1\", group = \"239.1.1.1\", port = 5001 } # why\noutput = [\n  # there\n  { interface = \"v2\", ttl = 5 }, # far\n]\nstall_after = \"5s\" # soon\n\n# court 2\n[[rule]]\nname = \"b\"\nmatch = { interface = \"v1\", group = \"239.1.1.2\", port = 5001 }\noutput = [{ interface = \"v2\" }]\n# the end\n";

#[test]
fn what_is_persisted_keeps_every_comment_and_line_end() -> Result<()> {
    needs_root!();
    for end in ["\n", "\r\n"] {
        let (_network, daemon) = Daemon::in_chain(&FILE.replace('\n', end))?;
        daemon.done(&words("rule set a --out v2,ttl=6 --persist"))?;
        daemon.done(&words("rule disable b --persist"))?;
        let changed = FILE
            .replace("ttl = 5", "ttl = 6")
            .replace("[{ interface = \"v2\" }]\n", "[{ interface = \"v2\" }]\nenabled = false\n");
        ensure!(daemon.config()? == changed.replace('\n', end), "{}", daemon.config()?);
        daemon.done(&words("rule add --name c --in v1 --group 239.1.1.3 --out v2 --persist"))?;
        let with_c = daemon.config()?;
        ensure!(with_c.starts_with(&changed.replace('\n', end)) && with_c.contains("name = \"c\""), "{with_c}");
        ensure!(with_c.matches('\n').count() == with_c.matches(end).count(), "{with_c:?}");
        // One that the file lacks.
        daemon.done(&words("rule add --name d --in v1 --group 239.1.1.4 --out v2"))?;
        let gone = daemon.ctl(&words("rule del c d --persist"))?.success()?;
        ensure!(gone.stderr.contains("rule d: ") && gone.stderr.contains("does not have it"), "{}", gone.told());
        ensure!(daemon.config()?.trim_end() == changed.replace('\n', end).trim_end(), "{}", daemon.config()?);
        let reloaded: Value = serde_json::from_str(&daemon.done(&["--json", "reload", "--dry-run"])?)?;
        ensure!(reloaded["changes"] == serde_json::json!([]), "{reloaded}");
        // What would not be valid is not applied either.
        let before = daemon.config()?;
        fs::write(daemon.files().config(), format!("{before}nonsense\n"))?;
        for line in ["rule enable b --persist", "rule del a --persist", "rule set a --port 7 --persist"] {
            daemon.ctl(&words(line))?.exited(2)?;
        }
        ensure!(daemon.rule_names()? == ["a", "b"] && daemon.stats()?.rule("b").state == "disabled");
        fs::write(daemon.files().config(), before)?;
        let reloaded: Value = serde_json::from_str(&daemon.done(&["--json", "reload", "--dry-run"])?)?;
        ensure!(reloaded["changes"] == serde_json::json!([]), "{reloaded}");
    }
    Ok(())
}

/// Mounts in mcrd's own mount namespace, so they end with it.
#[test]
fn a_file_that_cannot_be_replaced_in_one_step_is_left_alone() -> Result<()> {
    needs_root!();
    for (mounts, said) in [
        (&[&["--bind", "FILE", "FILE"][..]][..], "mount the directory that it is in"),
        (&[&["--bind", "DIR", "DIR"], &["-o", "remount,bind,ro", "DIR"]], "change the file where it comes from"),
    ] {
        let (_network, daemon) = Daemon::in_chain(FILE)?;
        let (pid, file) = (daemon.pid().to_string(), daemon.files().config());
        let directory = file.parent().context("a file in a directory")?;
        for mount in mounts {
            let mut command = Command::new("nsenter");
            command.args(["--target", &pid, "--mount", "mount"]);
            for word in *mount {
                match *word {
                    "FILE" => command.arg(&file),
                    "DIR" => command.arg(directory),
                    word => command.arg(word),
                };
            }
            run(&mut command)?;
        }
        let before = left(directory)?;
        let refused = daemon.ctl(&words("rule set a --out v2,ttl=6 --persist"))?.exited(1)?;
        ensure!(refused.stderr.contains("cannot be") && refused.stderr.contains(said), "{}", refused.told());
        ensure!(daemon.config()? == FILE && left(directory)? == before, "{}", daemon.config()?);
        let listed = daemon.done(&["--json", "rule", "list", "a"])?;
        ensure!(listed.contains("\"ttl\":5"), "{listed}");
        daemon.stop()?;
    }
    Ok(())
}

#[test]
fn a_batch_that_persists_writes_all_at_once() -> Result<()> {
    needs_root!();
    let (_network, daemon) = Daemon::in_chain(FILE)?;
    let lines = "rule del b --persist\nrule set a --description 'x' --persist\nrule add --name n --in v1 --group 239.1.1.9 --out v2 --persist\n";
    daemon.batch(lines, &["--dry-run"])?.success()?;
    ensure!(daemon.config()? == FILE);
    daemon.batch(lines, &[])?.success()?;
    let text = daemon.config()?;
    for part in ["# court 1", "# its name", "# court 2", "# the end", "description = \"x\"", "name = \"n\""] {
        ensure!(text.contains(part), "{part}: {text}");
    }
    ensure!(!text.contains("name = \"b\""), "{text}");
    let reloaded: Value = serde_json::from_str(&daemon.done(&["--json", "reload", "--dry-run"])?)?;
    ensure!(reloaded["changes"] == serde_json::json!([]), "{reloaded}");
    match daemon.rule_names()?.as_slice() {
        [a, n] if a == "a" && n == "n" => Ok(()),
        other => bail!("{other:?}"),
    }
}
