//! A step of an action: one line that says what is done and how long it took.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};

/// Runs `command` and shows its output only when it fails.
///
/// # Errors
///
/// The command cannot be started, or does not succeed.
pub fn quiet(name: &str, command: &mut Command) -> Result<()> {
    eprint!("{name:<44} ");
    std::io::stderr().flush()?;
    let start = Instant::now();
    let output = command.stdin(Stdio::null()).output();
    let seconds = start.elapsed().as_secs_f64();
    let output = output.inspect_err(|_| eprintln!("failed")).with_context(|| starting(name, command))?;
    if output.status.success() {
        eprintln!("{seconds:6.1} s");
        return Ok(());
    }
    eprintln!("failed after {seconds:.1} s");
    for text in [&output.stdout, &output.stderr] {
        std::io::stderr().write_all(text)?;
    }
    bail!("{name}: {} from: {}", output.status, line(command))
}

/// Runs `command` with its output going where ours goes.
///
/// # Errors
///
/// The command cannot be started, or does not succeed.
pub fn shown(name: &str, command: &mut Command) -> Result<()> {
    eprintln!("{name}");
    let start = Instant::now();
    let status = command.status().with_context(|| starting(name, command))?;
    eprintln!("{name:<44} {:6.1} s", start.elapsed().as_secs_f64());
    if !status.success() {
        bail!("{name}: {status} from: {}", line(command));
    }
    Ok(())
}

/// Does `work`, which shows lines of its own.
///
/// # Errors
///
/// Those of `work`.
pub fn timed_lines(name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    eprintln!("{name}");
    let start = Instant::now();
    let outcome = work();
    eprintln!("{name:<44} {:6.1} s", start.elapsed().as_secs_f64());
    outcome.map_err(|error| anyhow!("{name}: {error:#}"))
}

/// Does `work`, which starts no command of ours.
///
/// # Errors
///
/// Those of `work`.
pub fn timed(name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    eprint!("{name:<44} ");
    std::io::stderr().flush()?;
    let start = Instant::now();
    let outcome = work();
    let word = if outcome.is_ok() { "" } else { "failed after " };
    eprintln!("{word}{:6.1} s", start.elapsed().as_secs_f64());
    outcome.map_err(|error| anyhow!("{name}: {error:#}"))
}

/// The command as one would type it, without what is set in its environment.
pub fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn starting(name: &str, command: &Command) -> String {
    format!("{name}: {} did not start", command.get_program().to_string_lossy())
}
