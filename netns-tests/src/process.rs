//! Child processes that never outlive the test: killed by pid at drop, their output kept and shown on failure.

use std::{
    fs::File,
    os::unix::{fs::FileExt, process::CommandExt},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::deadline;

/// Whether a process's output is written to stderr at its drop; see [`show_output`].
static SHOW: AtomicBool = AtomicBool::new(false);

/// From now on the output of every [`Process`] that was [spawned](Process::spawn) is written to stderr at its drop.
///
/// For tests: libtest keeps it, and shows it when the test fails, by a panic or by an error.
pub fn show_output() {
    SHOW.store(true, Ordering::Relaxed);
}

/// A running child.
pub struct Process {
    pid: Pid,
    child: Mutex<Child>,
    /// The command line, for messages.
    name: String,
    stdout: File,
    stderr: File,
    /// Whether its output is of interest when a test fails.
    shown: bool,
}

/// What a process left when it ended.
#[derive(Debug)]
pub struct Finished {
    /// The command line.
    pub name: String,
    /// How it ended.
    pub status: ExitStatus,
    /// All of its standard output.
    pub stdout: String,
    /// All of its standard error.
    pub stderr: String,
}

impl Process {
    /// Starts `command` with its output captured in files that have no name.
    ///
    /// The child is in a process group of its own: Ctrl-C reaches the harness alone, which then stops it in order.
    pub fn spawn(command: &mut Command) -> Result<Self> {
        let name = line_of(command);
        let (stdout, stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
        let child = command
            .stdin(Stdio::null())
            .stdout(stdout.try_clone()?)
            .stderr(stderr.try_clone()?)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start `{name}`"))?;
        let pid = Pid::from_raw(child.id().cast_signed());
        Ok(Self { pid, child: Mutex::new(child), name, stdout, stderr, shown: true })
    }

    /// Its process id; `ip netns exec` and `taskset` execute in place, so it is the program's own.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// What it has written to standard output so far.
    pub fn stdout(&self) -> String {
        read_all(&self.stdout)
    }

    /// What it has written to standard error so far.
    pub fn stderr(&self) -> String {
        read_all(&self.stderr)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(self.pid(), signal).with_context(|| format!("cannot send {signal} to `{}`", self.name))
    }

    /// Whether it is still running.
    pub fn running(&self) -> Result<bool> {
        Ok(self.ended()?.is_none())
    }

    /// How it ended, if it has.
    pub fn ended(&self) -> Result<Option<ExitStatus>> {
        Ok(self.child().try_wait()?)
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it is still running after `limit`.
    pub fn wait(self, limit: Duration) -> Result<Finished> {
        let name = self.name.clone();
        let status =
            deadline::until(&format!("the end of `{name}`"), limit, || self.ended()).with_context(|| self.output())?;
        Ok(Finished { name, status, stdout: self.stdout(), stderr: self.stderr() })
    }

    fn output(&self) -> String {
        format!("`{}`\n--- stdout\n{}--- stderr\n{}---", self.name, self.stdout(), self.stderr())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(None) = self.ended() {
            // Both fail only when it has ended meanwhile.
            let _ = self.child().kill();
            let _ = self.child().wait();
        }
        if self.shown && SHOW.load(Ordering::Relaxed) {
            eprintln!("{}", self.output());
        }
    }
}

impl Finished {
    /// Itself when the process exited with 0; else an error with everything it said.
    pub fn success(self) -> Result<Self> {
        ensure!(self.status.success(), "{}", self.told());
        Ok(self)
    }

    /// Itself when the process exited with `code`; else an error with everything it said.
    pub fn exited(self, code: i32) -> Result<Self> {
        ensure!(self.status.code() == Some(code), "expected exit code {code} of {}", self.told());
        Ok(self)
    }

    /// How it ended and everything it said.
    pub fn told(&self) -> String {
        format!("`{}`: {}\n--- stdout\n{}--- stderr\n{}---", self.name, self.status, self.stdout, self.stderr)
    }
}

/// Runs `command` to its end, whatever its exit code.
pub fn finish(command: &mut Command) -> Result<Finished> {
    finish_within(command, deadline::SOON)
}

/// [`finish`] for a command that may take as long as `limit`.
pub fn finish_within(command: &mut Command, limit: Duration) -> Result<Finished> {
    let mut process = Process::spawn(command)?;
    // The caller has it all, and judges it.
    process.shown = false;
    process.wait(limit)
}

/// Runs `command` and returns its standard output; its failure is an error with everything it said.
pub fn run(command: &mut Command) -> Result<String> {
    Ok(finish(command)?.success()?.stdout)
}

/// Runs `command` with `input` as its standard input; its failure is an error with everything it said.
pub fn feed(command: &mut Command, input: &str) -> Result<()> {
    let name = line_of(command);
    let file = tempfile::tempfile()?;
    file.write_all_at(input.as_bytes(), 0)?;
    let output = command.stdin(file).process_group(0).output().with_context(|| format!("cannot start `{name}`"))?;
    if !output.status.success() {
        bail!("`{name}`: {}\n{}\nIts input:\n{input}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

fn line_of(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Reads by position: the child shares the file's offset and must keep it.
fn read_all(file: &File) -> String {
    let mut bytes = vec![0; file.metadata().map_or(0, |meta| meta.len() as usize)];
    let length = file.read_at(&mut bytes, 0).unwrap_or(0);
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}
