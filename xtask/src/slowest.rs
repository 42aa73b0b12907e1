//! Which test programs take longest: what `cargo test` says of each, shown as it comes, and remembered.

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
    thread,
};

use anyhow::{Context, Result, bail};

use crate::step;

/// So many are listed.
const LISTED: usize = 12;

/// Test programs and the seconds that each took.
#[derive(Debug, Default)]
pub struct Times(Vec<(f64, String)>);

impl Times {
    /// Runs `cargo test` with its output going where ours goes, and adds what it tells.
    ///
    /// # Errors
    ///
    /// The command cannot be started, or does not succeed.
    pub fn shown(&mut self, name: &str, command: &mut Command) -> Result<()> {
        step::timed_lines(name, || {
            let mut child = command
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .with_context(|| format!("{} did not start", step::line(command)))?;
            let (out, err) = (child.stdout.take().context("no stdout")?, child.stderr.take().context("no stderr")?);
            let (seconds, names) = thread::scope(|scope| {
                let names = scope.spawn(|| passed_on(err, std::io::stderr(), program));
                (passed_on(out, std::io::stdout(), seconds), names.join().unwrap_or_default())
            });
            let status = child.wait()?;
            // A program that was killed has no result: then nobody knows which is whose.
            if seconds.len() == names.len() {
                self.0.extend(seconds.into_iter().zip(names));
            }
            if !status.success() {
                bail!("{status} from: {}", step::line(command));
            }
            Ok(())
        })
    }

    /// Runs several `cargo test` at once, `lanes` of them, and adds what they tell. The output of each is shown in one piece when it has
    /// ended. All are run, though some fail.
    ///
    /// # Errors
    ///
    /// Those of the commands: each that cannot be started, or does not succeed.
    pub fn shown_in_lanes(&mut self, name: &str, commands: Vec<Command>, lanes: usize) -> Result<()> {
        step::timed_lines(name, || {
            let queue = Mutex::new(commands.into_iter());
            // Unlocked again before the command runs.
            let next = || locked(&queue).next();
            let lane = || {
                let mut ended = Vec::new();
                while let Some(mut command) = next() {
                    ended.push(held_back(&mut command).with_context(|| step::line(&command)));
                }
                ended
            };
            let ended: Vec<Result<_>> = thread::scope(|scope| {
                let lanes: Vec<_> = (0..lanes).map(|_| scope.spawn(lane)).collect();
                lanes.into_iter().flat_map(|lane| lane.join().expect("a lane does not panic")).collect()
            });
            let mut failed = Vec::new();
            for outcome in ended {
                match outcome {
                    Ok(times) => self.0.extend(times),
                    Err(error) => failed.push(format!("{error:#}")),
                }
            }
            if !failed.is_empty() {
                bail!("{}", failed.join("\nerror: "));
            }
            Ok(())
        })
    }

    /// Lists the slowest.
    pub fn list(mut self) {
        self.0.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        if !self.0.is_empty() {
            eprintln!("what took longest (test programs, seconds):");
        }
        for (seconds, name) in self.0.iter().take(LISTED) {
            eprintln!("  {name:<42} {seconds:6.1} s");
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `cargo test` for one test program, shows all that it printed when it has ended, and returns its seconds and name.
fn held_back(command: &mut Command) -> Result<Vec<(f64, String)>> {
    let (mut from, to) = std::io::pipe()?;
    let mut child = command.stdout(to.try_clone()?).stderr(to).spawn().context("it did not start")?;
    // The command still holds the pipe's other end, which must close with the child's.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut text = Vec::new();
    from.read_to_end(&mut text)?;
    let status = child.wait()?;
    std::io::stderr().lock().write_all(&text)?;
    if !status.success() {
        bail!("{status}");
    }
    let text = String::from_utf8_lossy(&text);
    Ok(text.lines().filter_map(seconds).zip(text.lines().filter_map(program)).collect())
}

/// Writes each line on, and keeps what is found in it.
fn passed_on<T>(from: impl Read, mut to: impl Write, find: impl Fn(&str) -> Option<T>) -> Vec<T> {
    let mut found = Vec::new();
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
        // Where nobody reads it any more, the tests go on all the same.
        let _ = to.write_all(&line).and_then(|()| to.flush());
        found.extend(find(&String::from_utf8_lossy(&line)));
        line.clear();
    }
    found
}

/// `     Running tests/links.rs (target/debug/deps/links-0123)`: the test program.
fn program(line: &str) -> Option<String> {
    let (name, _) = line.trim().strip_prefix("Running ")?.rsplit_once(" (")?;
    Some(name.trim_start_matches("unittests ").to_owned())
}

/// `test result: ok. 6 passed; ...; finished in 12.27s`: its seconds.
fn seconds(line: &str) -> Option<f64> {
    let (_, time) = line.strip_prefix("test result: ")?.rsplit_once("finished in ")?;
    time.trim().strip_suffix('s')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_cargo_test() {
        let running = "     Running tests/links.rs (target/debug/deps/links-0123456789abcdef)\n";
        assert_eq!(program(running).as_deref(), Some("tests/links.rs"));
        let units = "     Running unittests src/lib.rs (target/debug/deps/mcr_common-01)\n";
        assert_eq!(program(units).as_deref(), Some("src/lib.rs"));
        assert_eq!(program("    Finished `test` profile [optimized + debuginfo] target(s) in 3.79s\n"), None);
        let result =
            "test result: FAILED. 5 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 12.27s\n";
        assert_eq!(seconds(result), Some(12.27));
        assert_eq!(seconds("test links ... ok\n"), None);
    }

    #[test]
    fn lines_are_passed_on_as_they_are() {
        let (text, mut to) = ("test result: ok. 1 passed; finished in 0.50s\n\nno newline", Vec::new());
        assert_eq!(passed_on(text.as_bytes(), &mut to, seconds), [0.5]);
        assert_eq!(to, text.as_bytes());
    }
}
