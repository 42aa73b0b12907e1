//! From a command to its exit code.

use std::{
    io::{self, ErrorKind, Write},
    path::Path,
    process::ExitCode,
};

use super::{
    cli::{AddArgs, Cli, Command, RuleCommand},
    events, show, watch,
};
use crate::{
    config,
    control::{
        client::{Client, socket_path},
        protocol::{ErrorCode, Request, Response},
    },
    doctor::examine,
    rules::check::check_rule,
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
    match execute(&cli, &mut io::stdout().lock()) {
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
        Command::Stats { name, watch: true } => {
            let mut client = connect(cli)?;
            return watch::watch(|| ask(&mut client, &Request::Stats { rule: name.clone() }), cli.json, out);
        }
        Command::Events { follow, since } => {
            let mut client = connect(cli)?;
            return events::show(|request| ask(&mut client, request), *since, *follow, cli.json, out);
        }
        Command::Rule(RuleCommand::Add(args)) => add_request(args)?,
        Command::Rule(RuleCommand::Del { name }) => Request::RuleDel { name: name.clone() },
        Command::Rule(RuleCommand::List) => Request::RuleList {},
        Command::Rule(RuleCommand::Show { name }) => Request::RuleShow { name: name.clone() },
        Command::Reload { dry_run } => Request::Reload { dry_run: *dry_run },
        Command::Stats { name, .. } => Request::Stats { rule: name.clone() },
        Command::Status => Request::Status {},
    };
    let response = ask(&mut connect(cli)?, &request)?;
    if cli.json {
        return Ok(show::json(&response, out)?);
    }
    for warning in show::warnings(&response) {
        say(&format!("warning: {warning}"));
    }
    Ok(show::text(&response, out)?)
}

fn connect(cli: &Cli) -> Result<Client, Failure> {
    Client::connect(&socket_path(cli.socket.clone())).map_err(|error| prefixed(error.code, &error.to_string()))
}

/// The answer, or the daemon's refusal.
fn ask(client: &mut Client, request: &Request) -> Result<Response, Failure> {
    match client.call(request) {
        Ok(Response::Error { code, message, .. }) => Err(prefixed(code, &message)),
        Ok(response) => Ok(response),
        Err(error) => Err(prefixed(ErrorCode::Unavailable, &error.to_string())),
    }
}

fn prefixed(code: ErrorCode, message: &str) -> Failure {
    Failure::Refused(code, message.lines().map(|line| format!("mcrctl: {line}")).collect())
}

/// The request for a rule that is right by itself; what is wrong is told by the flags that were typed.
fn add_request(args: &AddArgs) -> Result<Request, Failure> {
    let (rule, mut problems) = args.spec();
    if let Err(wrong) = check_rule(&rule) {
        problems.extend(wrong);
    }
    if problems.is_empty() {
        return Ok(Request::RuleAdd {
            rule: Box::new(rule),
            wait: args.wait,
            replace: args.replace,
            persist: args.persist,
        });
    }
    let lines = problems.iter().map(|problem| format!("mcrctl: {}: {}", args.flag(&problem.key), problem.message));
    Err(Failure::Refused(ErrorCode::Invalid, lines.collect()))
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
        true => Ok(writeln!(out, "{}: in order, {rules} rule{}", file.display(), if rules == 1 { "" } else { "s" })?),
        false if json => Err(Failure::Ended(ErrorCode::Invalid.exit_code())),
        false => Err(Failure::Refused(ErrorCode::Invalid, problems.iter().map(ToString::to_string).collect())),
    }
}
