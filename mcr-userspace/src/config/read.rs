//! From a path to a checked configuration.

use std::path::{Path, PathBuf};

use toml::{Spanned, de::DeTable};

use super::{
    Config, FileProblem, Loaded,
    include::{Included, included},
    problem::Report,
    rule::{Placed, read_rules, set_problems},
    sections::{read_daemon, read_datapath, read_interfaces, read_limits},
    source::{Budget, read},
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
    read(path, &mut Budget::default())
        .map_err(|(line, message)| vec![FileProblem { file, line, key: String::new(), message, is_unread: line == 0 }])
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

/// Checks `text` as the file called `file`, with the files that it includes.
///
/// # Errors
///
/// As [`load`].
pub fn parse(file: &str, text: &str) -> Result<Loaded, Vec<FileProblem>> {
    parse_edited(file, text, &[])
}

/// [`parse`], where files that it includes say what `edited` has for them.
///
/// # Errors
///
/// As [`load`].
pub fn parse_edited(file: &str, text: &str, edited: &[(PathBuf, String)]) -> Result<Loaded, Vec<FileProblem>> {
    let mut report = Report::default();
    report.enter(file, text);
    let Some(root) = toml(text, &mut report) else { return Err(report.into_problems()) };
    let mut root = Table::root(root.get_ref());
    let path = Path::new(file);
    let (mut config, mut rules, included) = read_main(&mut root, path, text, edited, &mut report);
    let roots = included.iter().map(|included| included_root(included, &mut report)).collect::<Vec<_>>();
    for (part, root) in roots.iter().filter_map(|(part, root)| Some((*part, root.as_ref()?))) {
        report.turn_to(part);
        rules.extend(read_included(root.get_ref(), part, file, &mut report));
    }
    let homes = rules.iter().map(|rule| rule.part).collect();
    config.rules = set_problems(rules, config.limits.rules, &mut report);
    match report.is_clean() {
        true => Ok(Loaded {
            config,
            warnings: report.into_warnings(),
            files: [path.to_owned()].into_iter().chain(included.into_iter().map(|included| included.path)).collect(),
            homes,
        }),
        false => Err(report.into_problems()),
    }
}

/// All that the main file says, its rules apart, and the files that it includes.
fn read_main<'a>(
    root: &mut Table<'a>,
    path: &Path,
    text: &str,
    edited: &[(PathBuf, String)],
    report: &mut Report,
) -> (Config, Vec<Placed<'a>>, Vec<Included>) {
    let included = included(root, path, &mut Budget::of(text), edited, report);
    let daemon = read_daemon(root.table("daemon", report), report);
    let datapath = read_datapath(root.table("datapath", report), report);
    let limits = read_limits(root.table("limits", report), report);
    let interfaces = read_interfaces(root.tables("interface", usize::MAX, report), report);
    let rules = read_rules(root.tables("rule", usize::MAX, report), 0, report);
    root.finish(report);
    (Config { daemon, datapath, limits, interfaces, rules: Vec::new() }, rules, included)
}

/// What can be told of a text that is TOML, but for some slips; `None` where it is none, which is reported.
fn toml<'a>(text: &'a str, report: &mut Report) -> Option<Spanned<DeTable<'a>>> {
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
        return None;
    }
    Some(root)
}

/// A file that the main one includes, as a part of the report, and what it says.
fn included_root<'a>(included: &'a Included, report: &mut Report) -> (usize, Option<Spanned<DeTable<'a>>>) {
    let part = report.enter(&included.file, included.text.as_deref().unwrap_or_default());
    match &included.text {
        Ok(text) => (part, toml(text, report)),
        Err((line, why)) => {
            report.unread(*line, why.clone());
            (part, None)
        }
    }
}

/// The rules of an included file, which has nothing else.
fn read_included<'a>(root: &'a DeTable<'a>, part: usize, main: &str, report: &mut Report) -> Vec<Placed<'a>> {
    let mut root = Table::root(root);
    let rules = read_rules(root.tables("rule", usize::MAX, report), part, report);
    let message = |key: &str| match key {
        "include" => format!("this file is included by {main}, and includes none itself: name all files there"),
        _ => format!("this file is included by {main}, and only rules are: move it there"),
    };
    root.refuse(&["include", "daemon", "datapath", "limits", "interface"], message, report);
    root.finish(report);
    report.bound();
    rules
}

/// Every key that is asked for, without positions in arrays.
#[cfg(test)]
pub(super) fn known_keys() -> std::collections::BTreeSet<String> {
    let text = "[[interface]]\n[[rule]]\noutput = [{}]\n";
    let mut report = Report::default();
    report.enter("f", text);
    let root = toml(text, &mut report).expect("TOML");
    let mut root = Table::root(root.get_ref());
    read_main(&mut root, Path::new("f"), text, &[], &mut report);
    report.known
}
