//! From a path to a checked configuration.

use std::path::Path;

use toml::de::DeTable;

use super::{
    Config, FileProblem, Loaded,
    problem::Report,
    rule::{read_rules, set_problems},
    sections::{read_daemon, read_datapath, read_interfaces, read_limits},
    source::read,
    table::Table,
};

/// Syntax errors reported; with more than these it is no TOML, and no sense is looked for.
const MAX_SYNTAX: usize = 20;
/// Bytes of a long text that are looked at first: where these are no TOML, the rest is not parsed, since the parser keeps each of
/// millions of errors.
const HEAD: usize = 64 << 10;

/// Reads and checks a file, all of it before any of it counts.
///
/// # Errors
///
/// Every problem of the file, in the order of its lines; of very many the first, and how many more there are.
pub fn load(path: &Path) -> Result<Loaded, Vec<FileProblem>> {
    parse(&path.display().to_string(), &text(path)?)
}

/// The text of a file.
///
/// # Errors
///
/// The one problem of a file that cannot be read, or is no text.
pub fn text(path: &Path) -> Result<String, Vec<FileProblem>> {
    let file = path.display().to_string();
    read(path).map_err(|(line, message)| vec![FileProblem { file, line, key: String::new(), message }])
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

/// The first whole lines of a long text.
fn head(text: &str) -> Option<&str> {
    let head = text.get(..text.floor_char_boundary(HEAD)).filter(|head| head.len() < text.len())?;
    Some(head.rfind('\n').map_or(head, |end| &head[..=end]))
}

/// Checks `text` as the file called `file`.
///
/// # Errors
///
/// As [`load`].
pub fn parse(file: &str, text: &str) -> Result<Loaded, Vec<FileProblem>> {
    let mut report = Report::new(file, text);
    let head = head(text).filter(|head| DeTable::parse_recoverable(head).1.len() > MAX_SYNTAX);
    let (root, errors) = DeTable::parse_recoverable(head.unwrap_or(text));
    for error in errors.iter().take(MAX_SYNTAX) {
        let span = error.span().unwrap_or_default();
        report.syntax(span.start, &syntax_message(error.message(), text.get(span).unwrap_or_default()));
    }
    if errors.len() > MAX_SYNTAX {
        let least = if head.is_some() { "at least " } else { "" };
        let more = errors.len() - MAX_SYNTAX;
        report.syntax(text.len(), &format!("and {least}{more} more syntax errors: is this TOML?"));
        return Err(report.into_problems());
    }
    let mut root = Table::root(root.get_ref());
    let daemon = read_daemon(root.table("daemon", &mut report), &mut report);
    let datapath = read_datapath(root.table("datapath", &mut report), &mut report);
    let limits = read_limits(root.table("limits", &mut report), &mut report);
    let interfaces = read_interfaces(root.tables("interface", usize::MAX, &mut report), &mut report);
    let rules = read_rules(root.tables("rule", usize::MAX, &mut report), &mut report);
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
