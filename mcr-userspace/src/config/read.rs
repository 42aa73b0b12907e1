//! From a path to a checked configuration.

use std::{fs::File, io::Read, path::Path};

use toml::de::DeTable;

use super::{
    Config, FileProblem, Loaded,
    problem::Report,
    rule::{read_rules, set_problems},
    sections::{read_daemon, read_datapath, read_interfaces, read_limits},
    table::Table,
};

/// Largest file that is read, in bytes: some 200,000 rules.
const MAX_SIZE: u64 = 64 << 20;
/// Syntax errors reported; with more than these it is no TOML, and no sense is looked for.
const MAX_SYNTAX: usize = 20;

/// Reads and checks a file, all of it before any of it counts.
///
/// # Errors
///
/// Every problem of the file, in the order of its lines.
pub fn load(path: &Path) -> Result<Loaded, Vec<FileProblem>> {
    let file = path.display().to_string();
    match read(path) {
        Ok(text) => parse(&file, &text),
        Err((line, message)) => Err(vec![FileProblem { file, line, key: String::new(), message }]),
    }
}

/// The parser's words on one line, and what they are about where that is short.
fn syntax_message(message: &str, about: &str) -> String {
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    match about.trim() {
        "" => message,
        about if about.len() > 40 || about.contains('\n') => message,
        about => format!("{message}: `{}`", about.escape_debug()),
    }
}

/// The text of a file, or a line of it (0: none) and what is wrong there.
fn read(path: &Path) -> Result<String, (usize, String)> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_SIZE + 1).read_to_end(&mut bytes))
        .map_err(|error| (0, format!("cannot be read: {error}")))?;
    if bytes.len() as u64 > MAX_SIZE {
        return Err((0, format!("is larger than {} MiB; is it a configuration file?", MAX_SIZE >> 20)));
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        (line, "is not UTF-8 text; is it a configuration file?".to_owned())
    })
}

/// Checks `text` as the file called `file`.
///
/// # Errors
///
/// As [`load`].
pub fn parse(file: &str, text: &str) -> Result<Loaded, Vec<FileProblem>> {
    let mut report = Report::new(file, text);
    let (root, errors) = DeTable::parse_recoverable(text);
    for error in errors.iter().take(MAX_SYNTAX) {
        let span = error.span().unwrap_or_default();
        report.syntax(span.start, &syntax_message(error.message(), text.get(span).unwrap_or_default()));
    }
    if errors.len() > MAX_SYNTAX {
        report.syntax(text.len(), &format!("and {} more syntax errors: is this TOML?", errors.len() - MAX_SYNTAX));
        return Err(report.into_problems());
    }
    let mut root = Table::root(root.get_ref());
    let daemon = read_daemon(root.table("daemon", &mut report), &mut report);
    let datapath = read_datapath(root.table("datapath", &mut report), &mut report);
    let limits = read_limits(root.table("limits", &mut report), &mut report);
    let interfaces = read_interfaces(root.tables("interface", &mut report), &mut report);
    let rules = read_rules(root.tables("rule", &mut report), &mut report);
    root.finish(&mut report);
    let rules = set_problems(rules, limits.rules, &mut report);
    match report.is_clean() {
        true => Ok(Loaded {
            config: Config { daemon, datapath, limits, interfaces, rules },
            warnings: report.into_warnings(),
        }),
        false => Err(report.into_problems()),
    }
}
