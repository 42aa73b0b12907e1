//! Command lines that are wrong: what is said of them.

use clap::{
    Error, Parser,
    error::{ContextKind, ContextValue, ErrorKind},
};

/// Exit code of a command line that is wrong.
const USAGE: i32 = 2;

/// The arguments of this process. Help and version are printed; of a wrong command line it is said what is wrong. Either ends the
/// process.
pub fn parse<T: Parser>(in_json: bool) -> T {
    let error = match T::try_parse() {
        Ok(args) => return args,
        Err(error) => error,
    };
    let is_wrong = error.use_stderr();
    let error = plain(error);
    if is_wrong && in_json {
        eprintln!("{}", serde_json::json!({"error": {"code": "invalid", "message": message(&error)}}));
        std::process::exit(USAGE);
    }
    if is_wrong && let Some(hint) = hint(&error, T::command().get_name()) {
        let text = error.render().to_string();
        // Before the usage, where clap's own tips stand.
        let at = text.find("\nUsage:").unwrap_or(text.len());
        eprint!("{}\n  tip: {hint}\n{}", &text[..at], &text[at..]);
        std::process::exit(USAGE);
    }
    let text = error.render().to_string();
    let plain = worded(&text);
    if is_wrong && plain != text {
        eprint!("{plain}");
        std::process::exit(USAGE);
    }
    error.exit()
}

/// Numbers that cannot be read, in the words of a person: clap repeats those of the standard library.
fn worded(text: &str) -> String {
    text.replace("invalid digit found in string", "write a whole number")
        .replace("cannot parse integer from empty string", "write a whole number")
        .replace("number too large to fit in target type", "the number is too large")
}

/// The error in one line, for where there is no room for the usage.
pub fn message(error: &Error) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "the command is not complete; add --help to see what can follow".to_owned();
    }
    let text = worded(&plain_text(error));
    let before = text.split("\nUsage:").next().unwrap_or_default();
    let before = before.split("\nFor more information").next().unwrap_or_default();
    let lines: Vec<&str> = before.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join("; ").replace(":; ", ": ").trim_start_matches("error: ").to_owned()
}

fn plain_text(error: &Error) -> String {
    // `Error` cannot be cloned: the tips that `plain` removes are left out by their text.
    let text = error.render().to_string();
    let is_tip = |line: &str| line.trim_start().starts_with("tip: to pass ");
    text.lines().filter(|line| !is_tip(line)).collect::<Vec<_>>().join("\n")
}

/// Without tips that are worse than none: to pass a flag as a value, and flags that resemble the one that was typed only a little.
fn plain(mut error: Error) -> Error {
    if error.kind() == ErrorKind::InvalidValue {
        let typed = text(&error, ContextKind::InvalidValue).unwrap_or_default();
        let is_near = |known: &String| strsim::osa_distance(known, &typed) <= 2;
        if text(&error, ContextKind::SuggestedValue).filter(is_near).is_none() {
            error.remove(ContextKind::SuggestedValue);
        }
    }
    if error.kind() == ErrorKind::UnknownArgument {
        error.remove(ContextKind::Suggested);
        let typed = text(&error, ContextKind::InvalidArg).unwrap_or_default();
        let is_near = |known: &String| strsim::osa_distance(known, &typed) <= 2;
        if text(&error, ContextKind::SuggestedArg).filter(is_near).is_none() {
            error.remove(ContextKind::SuggestedArg);
            // It would show how that flag is used.
            error.remove(ContextKind::Usage);
        }
    }
    error
}

fn text(error: &Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(texts) => texts.first().cloned(),
        _ => None,
    }
}

/// What was meant, most likely, where clap does not know.
fn hint(error: &Error, program: &str) -> Option<String> {
    let typed = text(error, ContextKind::InvalidArg)?;
    if program == "mcrd" && error.kind() == ErrorKind::UnknownArgument && !typed.starts_with('-') {
        return Some(format!("a file is named by a flag: mcrd --config {typed}"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ctl::Cli, daemon::options::Args};

    fn said<T: Parser>(words: &str) -> String {
        let Err(error) = T::try_parse_from(words.split(' ')) else { panic!("{words} is right") };
        plain(error).render().to_string()
    }

    #[test]
    fn tips_that_mislead_are_left_out() {
        for (words, not) in [
            ("mcrctl status --persist", "-- --persist"),
            ("mcrctl status --interval 5", "tip"),
            ("mcrctl status --sort", "--socket"),
            ("mcrctl rule list --reset", "tip"),
        ] {
            let said = said::<Cli>(words);
            assert!(said.contains("unexpected argument") && !said.contains(not), "{words}: {said}");
        }
        let said = said::<Cli>("mcrctl stats --sort rate");
        assert!(said.contains("possible values") && !said.contains("tip"), "{said}");
    }

    #[test]
    fn numbers_that_cannot_be_read_are_told_in_plain_words() {
        for (words, wanted) in [
            ("mcrctl stats --limit x", "'--limit <N>': write a whole number"),
            ("mcrctl stats --limit 99999999999999999999", "'--limit <N>': the number is too large"),
            ("mcrctl capture a --count -", "write a whole number"),
            ("mcrctl events --since 5", "write a duration such as 10m, 2h or 1d"),
        ] {
            let said = worded(&said::<Cli>(words));
            assert!(said.contains(wanted), "{words}: {said}");
        }
    }

    #[test]
    fn a_slip_of_the_pen_is_told() {
        let said = said::<Cli>("mcrctl rule add --prot 5");
        assert!(said.contains("'--port'"), "a slip of the pen is told: {said}");
    }

    #[test]
    fn a_file_without_its_flag_is_told_where_it_goes() {
        let Err(error) = Args::try_parse_from(["mcrd", "st.toml"]) else { panic!("it is right") };
        assert_eq!(hint(&plain(error), "mcrd").as_deref(), Some("a file is named by a flag: mcrd --config st.toml"));
        assert!(Args::try_parse_from(["mcrd", "-c", "st.toml"]).is_ok());
    }

    #[test]
    fn an_error_fits_on_a_line() {
        let Err(error) = Cli::try_parse_from(["mcrctl", "rule", "del"]) else { panic!("it is right") };
        let message = message(&error);
        assert!(!message.contains('\n') && message.contains("NAME|GLOB"), "{message}");
        let Err(error) = Cli::try_parse_from(["mcrctl", "rule"]) else { panic!("it is right") };
        assert!(super::message(&error).contains("not complete"));
    }
}
