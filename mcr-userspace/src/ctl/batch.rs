//! `mcrctl batch`: many commands as one.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::Path,
};

use clap::{Command as Clap, CommandFactory, FromArgMatches};

use super::{
    cli::{Cli, Command, RuleCommand},
    rules,
    run::{Failure, ask, prefixed},
};
use crate::control::{
    client::Client,
    protocol::{ErrorCode, MAX_REQUEST, Operation, Request, Response},
};

/// Bytes of a part, at most: half a request, since an operation may be as long as a line of the file.
const PART: usize = MAX_REQUEST / 2;
/// Longest line of a file, in bytes.
const MAX_LINE: usize = MAX_REQUEST / 4;
/// Errors that are told; a person corrects no more of them at once.
const MOST_ERRORS: usize = 1000;

/// What is wrong, by line.
type Errors = Vec<(u64, ErrorCode, String)>;

/// Applies the lines of `file` (`-`: standard input), or with `dry_run` only has the daemon say what they would change.
pub(super) fn apply(
    file: &Path,
    dry_run: bool,
    connect: impl FnOnce() -> Result<Client, Failure>,
    mut show: impl FnMut(&Response) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let shown = file.display().to_string();
    let unread = |error: io::Error| prefixed(ErrorCode::Unavailable, &format!("{shown}: cannot be read: {error}"));
    let Lines { operations, mut errors, wrong_adds } = match shown.as_str() {
        "-" => read(io::stdin().lock()).map_err(unread)?,
        _ => read(BufReader::new(File::open(file).map_err(unread)?)).map_err(unread)?,
    };
    let is_clean = errors.is_empty();
    match send(operations, dry_run || !is_clean, connect) {
        Ok(response) if is_clean => return show(&response),
        // Only to find what else is wrong.
        Ok(_) => {}
        Err(Failure::Refused(code, lines)) => match told(&lines, code) {
            Some(found) => {
                // A rule that a wrong line was to add is not there, which says nothing.
                let counts = |message: &str| match missing(message) {
                    Some(name) => !wrong_adds
                        .iter()
                        .any(|line| is_pattern(name) || line.contains(name) || !line.contains("--name")),
                    None => true,
                };
                errors.extend(found.into_iter().filter(|(_, _, message)| counts(message)));
            }
            None if is_clean => return Err(Failure::Refused(code, lines)),
            None => {}
        },
        Err(other) if is_clean => return Err(other),
        Err(_) => {}
    }
    errors.sort_by_key(|(line, ..)| *line);
    let code = errors.iter().map(|(_, code, _)| *code).find(|code| *code == ErrorCode::Invalid);
    let code = code.or(errors.first().map(|(_, code, _)| *code)).unwrap_or(ErrorCode::Invalid);
    let more = errors.len().saturating_sub(MOST_ERRORS);
    let mut lines: Vec<String> = errors
        .iter()
        .take(MOST_ERRORS)
        .map(|(line, _, message)| format!("mcrctl: {shown}:{line}: {message}"))
        .collect();
    if more > 0 {
        lines.push(format!("mcrctl: {shown}: and {more} more errors"));
    }
    lines.push(format!("mcrctl: {shown}: nothing was changed"));
    Err(Failure::Refused(code, lines))
}

/// The rule that an error says is not there.
fn missing(message: &str) -> Option<&str> {
    message.strip_prefix("no rule ")?.split(';').next()
}

/// Whether it is `matches GLOB`.
fn is_pattern(missing: &str) -> bool {
    missing.starts_with("matches ")
}

/// A file, line by line.
struct Lines {
    operations: Vec<Operation>,
    /// What is wrong with the lines that are none.
    errors: Errors,
    /// Those of them that were to add a rule.
    wrong_adds: Vec<String>,
}

fn read(mut text: impl BufRead) -> io::Result<Lines> {
    // Made once: it takes longer than a line does.
    let mut clap = Cli::command().no_binary_name(true).disable_help_flag(true).disable_version_flag(true);
    clap.build();
    let (mut operations, mut errors, mut wrong_adds) = (Vec::new(), Vec::new(), Vec::new());
    let mut bytes = Vec::new();
    for line in 1.. {
        bytes.clear();
        let read = io::Read::take(&mut text, MAX_LINE as u64 + 1).read_until(b'\n', &mut bytes)?;
        if read == 0 {
            break;
        }
        if read > MAX_LINE {
            errors.push((
                line,
                ErrorCode::Invalid,
                format!("is longer than {MAX_LINE} bytes; nothing after it was read"),
            ));
            break;
        }
        // A byte order mark says nothing in UTF-8.
        let text = bytes.strip_prefix(b"\xef\xbb\xbf").filter(|_| line == 1).unwrap_or(&bytes);
        match operation(text, &mut clap) {
            Ok(None) => {}
            Ok(Some(request)) => operations.push(Operation { line, request }),
            Err(messages) => {
                if bytes.windows(4).any(|word| word == b"add ") {
                    wrong_adds.push(String::from_utf8_lossy(&bytes).into_owned());
                }
                errors.extend(messages.into_iter().map(|message| (line, ErrorCode::Invalid, message)));
            }
        }
    }
    Ok(Lines { operations, errors, wrong_adds })
}

/// What one line asks for; `None` where it is empty, or a comment.
fn operation(line: &[u8], clap: &mut Clap) -> Result<Option<Request>, Vec<String>> {
    let line = std::str::from_utf8(line).map_err(|_| vec!["is not UTF-8 text".to_owned()])?.trim();
    let words = shlex::split(line).ok_or_else(|| vec!["a quotation mark or a backslash is left open".to_owned()])?;
    match words.first().map(String::as_str) {
        None => return Ok(None),
        Some("rule") => {}
        Some("mcrctl") => return Err(vec!["begins with `mcrctl`; leave that word out".to_owned()]),
        Some("add" | "set" | "del" | "rm" | "delete" | "enable" | "disable") => {
            return Err(vec![format!("begins with `{}`; write `rule {}`", words[0], words[0])]);
        }
        Some(other) => {
            let other = crate::rules::value::shown(other);
            return Err(vec![format!(
                "begins with `{other}`; a line is a `rule` command: rule add, set, del, enable or disable"
            )]);
        }
    }
    let matches = clap.try_get_matches_from_mut(&words).map_err(|error| vec![usage(&error)])?;
    let cli = Cli::from_arg_matches(&matches).map_err(|error| vec![usage(&error)])?;
    if cli.socket.is_some() || cli.json {
        return Err(vec!["has --socket or --json; write it before `batch`".to_owned()]);
    }
    let Command::Rule(command) = cli.command else { return Err(vec!["is not a `rule` command".to_owned()]) };
    if let RuleCommand::List { .. } | RuleCommand::Show { .. } = command {
        return Err(vec!["shows rules, and a batch changes them; leave it out".to_owned()]);
    }
    match rules::request(&command) {
        Ok(request) => Ok(Some(request)),
        Err(Failure::Refused(_, lines)) => {
            Err(lines.into_iter().map(|line| line.strip_prefix("mcrctl: ").unwrap_or(&line).to_owned()).collect())
        }
        Err(_) => Err(vec!["cannot be made a request".to_owned()]),
    }
}

/// What clap says of wrong arguments, in one line.
fn usage(error: &clap::Error) -> String {
    crate::usage::message(error)
}

/// Sends the operations in parts, and has them applied.
fn send(
    operations: Vec<Operation>,
    dry_run: bool,
    connect: impl FnOnce() -> Result<Client, Failure>,
) -> Result<Response, Failure> {
    let mut client = connect()?;
    let (mut part, mut bytes) = (Vec::new(), 0);
    for operation in operations {
        let size = serde_json::to_vec(&operation).map_err(io::Error::from)?.len() + 1;
        if bytes + size > PART && !part.is_empty() {
            ask(&mut client, &Request::BatchPart { operations: std::mem::take(&mut part) })?;
            bytes = 0;
        }
        bytes += size;
        part.push(operation);
    }
    ask(&mut client, &Request::Batch { operations: part, dry_run })
}

/// The daemon's errors by line; `None` where it tells of none.
fn told(lines: &[String], code: ErrorCode) -> Option<Errors> {
    let one = |text: &String| {
        let (line, message) = text.strip_prefix("mcrctl: line ")?.split_once(": ")?;
        Some((line.parse().ok()?, code, message.to_owned()))
    };
    lines.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_read_and_every_mistake_told_by_its_line() {
        let text = "# all\n\nrule add --name a --in e0 --group 239.1.1.1 --out e1 # one\n  rule del 'a*' \"b c\"\r\nrule enable a\n\
            rule disable a --persist\nrule set a --port any\n";
        let Lines { operations, errors, wrong_adds } = read(text.as_bytes()).expect("memory");
        assert_eq!((errors, wrong_adds), (vec![], vec![]));
        assert_eq!(operations.iter().map(|operation| operation.line).collect::<Vec<_>>(), [3, 4, 5, 6, 7]);
        let names = vec!["a*".to_owned(), "b c".to_owned()];
        assert_eq!(operations[1].request, Request::RuleDel { name: None, names, persist: false });
        let wrong = "rule list\nmcrctl rule del a\nadd --in e0\nstatus\nrule ad\nrule del 'a\nrule set a\n\
            rule add --in a/b --group 10.0.0.1 --out e1\nrule --help\nrule del\nreload\n\u{1}\n";
        let Lines { operations, errors, wrong_adds } = read(wrong.as_bytes()).expect("memory");
        assert_eq!((operations.len(), wrong_adds.len()), (0, 2), "{wrong_adds:?}");
        assert_eq!(missing("no rule b c; `mcrctl rule list` shows all"), Some("b c"));
        let lines: Vec<u64> = errors.iter().map(|(line, ..)| *line).collect();
        assert_eq!(lines, [1, 2, 3, 4, 5, 6, 7, 8, 8, 9, 10, 11, 12], "{errors:?}");
        assert!(errors.iter().all(|(_, _, message)| !message.contains('\n')), "{errors:?}");
    }
}
