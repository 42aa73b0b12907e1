//! From a command to its exit code.

use std::{
    io::{self, ErrorKind, Write},
    path::Path,
    process::ExitCode,
};

use super::{
    batch, capture, check_status,
    cli::{Cli, Command, RuleCommand},
    completions, events, explain,
    explain::ExplainArgs,
    link::Link,
    rules, show, stats, top,
};
use crate::{
    config,
    control::{
        client::{Client, socket_path},
        protocol::{ErrorCode, Reload, Request, Response},
    },
    doctor::examine,
};

/// Refused or unreachable.
const REFUSED: u8 = 1;

/// Why a command ended early.
#[derive(Debug)]
pub(super) enum Failure {
    /// Refused: why, a line for each problem, each as stderr shows it.
    Refused(ErrorCode, Vec<String>),
    /// All is said already; the exit code.
    Ended(u8),
    /// Standard output failed; closed by its reader, that is no failure.
    Output(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// Does what the arguments ask; 0 done, 1 refused or unreachable, 2 usage.
pub fn run(cli: Cli) -> ExitCode {
    match execute(&cli, &mut io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Output(error)) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(Failure::Output(error)) => {
            say(&format!("mcrctl: cannot write the answer: {error}"));
            ExitCode::from(REFUSED)
        }
        Err(Failure::Ended(code)) => ExitCode::from(code),
        Err(Failure::Refused(code, lines)) => {
            match cli.json {
                true => say(&error_json(code, &lines)),
                false => lines.iter().for_each(|line| say(line)),
            }
            ExitCode::from(code.exit_code())
        }
    }
}

/// A refusal as one line of JSON; lines lose the program's name, which is for people.
fn error_json(code: ErrorCode, lines: &[String]) -> String {
    let lines: Vec<&str> = lines.iter().map(|line| line.strip_prefix("mcrctl: ").unwrap_or(line)).collect();
    serde_json::json!({"error": {"code": code, "message": lines.join("\n")}}).to_string()
}

/// A line on stderr; where that is closed there is nobody to tell.
fn say(line: &str) {
    writeln!(io::stderr(), "{line}").ok();
}

fn execute(cli: &Cli, out: &mut dyn Write) -> Result<(), Failure> {
    let request = match &cli.command {
        Command::Check { file } => return check(file, cli.json, out),
        Command::Doctor { interfaces } => return doctor(interfaces, cli, out),
        Command::Stats(args) => return stats::run(args, &mut link(cli), cli.json, out),
        Command::Top => return top::run(link(cli), cli.json),
        Command::Completions { shell } => return Ok(completions::write(*shell, out)?),
        Command::Status { check: true } => {
            return match check_status::check(socket_path(cli.socket.clone()), cli.json, out)? {
                0 => Ok(()),
                code => Err(Failure::Ended(code)),
            };
        }
        Command::Events { follow: true, since } => return events::follow(link(cli), *since, cli.json, out),
        Command::Explain(args) => return explain(args, cli, out),
        Command::Unmatched { interfaces, seconds } => {
            Request::Unmatched { interfaces: interfaces.clone(), seconds: *seconds }
        }
        Command::Capture(args) => return capture::capture(args, connect(cli)?, cli.json, out),
        Command::Batch { file, dry_run } => {
            return batch::apply(file, *dry_run, || connect(cli), |response| answer(cli.json, response, out));
        }
        Command::Rule(RuleCommand::List { names }) | Command::Ls { names } => {
            let response = rules::listed(ask(&mut connect(cli)?, &Request::RuleList {})?, names)?;
            return answer(cli.json, &response, out);
        }
        Command::Rule(command) => rules::request(command)?,
        Command::Rm(chosen) => rules::deletion(chosen),
        Command::Show { name } => Request::RuleShow { name: name.clone() },
        Command::Export => Request::Export {},
        Command::Reload { dry_run, keep, confirm } => {
            Request::Reload(Reload { dry_run: *dry_run, keep: *keep, confirm: confirm.clone() })
        }
        Command::Confirm => Request::Confirm {},
        Command::Events { follow: false, since } => {
            let answer = ask(&mut connect(cli)?, &Request::Events { after: None, wait: false })?;
            return events::show(&answer, *since, cli.json, out);
        }
        Command::Status { check: false } => Request::Status {},
        Command::LogLevel { level } => Request::LogLevel { level: *level },
    };
    let response = ask(&mut connect(cli)?, &request)?;
    answer(cli.json, &response, out)
}

fn answer(json: bool, response: &Response, out: &mut dyn Write) -> Result<(), Failure> {
    if json {
        return Ok(show::json(response, out)?);
    }
    for warning in show::warnings(response) {
        say(&format!("warning: {warning}"));
    }
    Ok(show::text(response, out)?)
}

fn link(cli: &Cli) -> Link {
    Link::new(socket_path(cli.socket.clone()))
}

fn connect(cli: &Cli) -> Result<Client, Failure> {
    Client::connect(&socket_path(cli.socket.clone())).map_err(|error| prefixed(error.code, &error.to_string()))
}

/// The answer, or the daemon's refusal.
pub(super) fn ask(client: &mut Client, request: &Request) -> Result<Response, Failure> {
    match client.call(request) {
        Ok(Response::Error { code, message, .. }) => Err(prefixed(code, &message)),
        Ok(response) => Ok(response),
        Err(error) => Err(prefixed(ErrorCode::Unavailable, &error.to_string())),
    }
}

/// A refusal, its lines after the program's name.
pub(super) fn prefixed(code: ErrorCode, message: &str) -> Failure {
    Failure::Refused(code, message.lines().map(|line| format!("mcrctl: {line}")).collect())
}

/// Both forms; something wrong, or no rule that matches, is exit code 1.
fn explain(args: &ExplainArgs, cli: &Cli, out: &mut dyn Write) -> Result<(), Failure> {
    let request = args.request()?;
    let mut client = connect(cli)?;
    let response = explain::answer(&request, &socket_path(cli.socket.clone()), |request| ask(&mut client, request))?;
    match cli.json {
        true => show::json(&response, out)?,
        false => show::text(&response, out)?,
    }
    let is_well = match (&response, &request) {
        (Response::RuleExplained(explained), _) => !explained.has_problem(),
        (Response::PacketExplained(explained), _) => explained.rule.is_some(),
        _ => true,
    };
    if is_well { Ok(()) } else { Err(Failure::Ended(REFUSED)) }
}

fn doctor(interfaces: &[String], cli: &Cli, out: &mut dyn Write) -> Result<(), Failure> {
    let report = examine(interfaces, &socket_path(cli.socket.clone()));
    match cli.json {
        true => report.json(out)?,
        false => report.text(out)?,
    }
    if report.has_problem() { Err(Failure::Ended(REFUSED)) } else { Ok(()) }
}

fn check(file: &Path, json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    let (problems, warnings, rules) = match config::load(file) {
        Ok(loaded) => (Vec::new(), loaded.warnings, loaded.config.rules.len()),
        Err(problems) => (problems, Vec::new(), 0),
    };
    if json {
        show::check_json(&problems, &warnings, out)?;
    }
    for warning in warnings.iter().filter(|_| !json) {
        say(&format!("warning: {warning}"));
    }
    match problems.is_empty() {
        true if json => Ok(()),
        true => Ok(writeln!(out, "{}: OK, {rules} rule{}", file.display(), if rules == 1 { "" } else { "s" })?),
        false if json => Err(Failure::Ended(ErrorCode::Invalid.exit_code())),
        false => Err(Failure::Refused(ErrorCode::Invalid, problems.iter().map(ToString::to_string).collect())),
    }
}
