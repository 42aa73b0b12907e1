//! What a reload has changed, or would, as a person reads it.

use std::io::{self, Write};

use super::show::{match_line, output_line};
use crate::{
    control::protocol::{ChangeKind, ChangeView, FieldChange, Reloaded, SettingChange},
    rules::spec::RuleSpec,
};

/// A line for each difference.
pub(super) fn text(reloaded: &Reloaded, out: &mut dyn Write) -> io::Result<()> {
    reloaded.changes.iter().try_for_each(|change| change_line(change, out))?;
    reloaded.kept.iter().try_for_each(|name| writeln!(out, "= {name} (added at run time, kept)"))?;
    for SettingChange { key, old, new } in &reloaded.restart {
        writeln!(out, "! {key}: {} -> {} (needs a restart)", shown(old), shown(new))?;
    }
    if let Some(seconds) = reloaded.confirm_seconds {
        writeln!(io::stderr(), "mcrctl: taken back in {seconds} s; keep it with: mcrctl confirm").ok();
    }
    Ok(())
}

/// The answer to `confirm`.
pub(super) fn confirmed(changes: u64, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "confirmed: {changes} change{}", if changes == 1 { "" } else { "s" })
}

/// `+`, `-` or `~`, and what a rule becomes.
pub(super) fn change_line(change: &ChangeView, out: &mut dyn Write) -> io::Result<()> {
    let name = &change.name;
    match change.change {
        ChangeKind::Add => writeln!(out, "+ {name}{}", what(&change.rule)),
        ChangeKind::Remove => {
            let mark = if change.added_at_run_time { " (added at run time)" } else { "" };
            writeln!(out, "- {name}{mark}{}", what(&change.old))
        }
        ChangeKind::Replace => {
            let field =
                |FieldChange { field, old, new }: &FieldChange| format!("{field}: {} -> {}", shown(old), shown(new));
            let fields: Vec<String> = change.fields.iter().map(field).collect();
            writeln!(out, "~ {name}: {}", fields.join("; "))
        }
    }
}

fn what(rule: &Option<RuleSpec>) -> String {
    let Some(rule) = rule else { return String::new() };
    let outputs: Vec<String> = rule.output.iter().map(output_line).collect();
    let disabled = if rule.enabled == Some(false) { " (disabled)" } else { "" };
    format!(": {} -> {}{disabled}", match_line(&rule.matcher), outputs.join(" "))
}

fn shown(value: &Option<String>) -> &str {
    value.as_deref().unwrap_or("unset")
}
