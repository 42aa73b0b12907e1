//! The page of one rule: what is wrong with it, its outputs, and what it drops and why.

use std::collections::BTreeMap;

use ratatui::{
    Frame,
    style::{Color, Modifier, Style, Stylize},
    text::{Line, Span},
    widgets::Paragraph,
};

use super::{
    bars::bars,
    list::{colour, last_packet},
    view::View,
};
use crate::{
    control::protocol::{CheckResult, Dropped, OutputStats, RuleFinding, RuleStats, Stats},
    ctl::{
        numbers::{cut, grouped, mbit, pad, per_second, wrapped},
        stats::{Rate, labels},
    },
};

/// Draws the rule of this name.
pub(super) fn draw(name: &str, view: &mut View, frame: &mut Frame<'_>) {
    let (width, height) = (usize::from(frame.area().width), usize::from(frame.area().height));
    view.room = height.saturating_sub(1);
    let mut lines = head(name, view, width);
    lines.extend(explained(view, width));
    lines.push(Line::default());
    match (&view.no_rule, &view.rule) {
        (Some(why), _) => lines.push(Line::from(format!(" {why}")).fg(Color::Red)),
        (None, [before, Some(now)]) => lines.extend(counters(name, before.as_ref(), now, width)),
        (None, _) => {}
    }
    view.first = view.first.min(lines.len().saturating_sub(view.room));
    let mut shown: Vec<Line<'_>> = lines.into_iter().skip(view.first).take(view.room).collect();
    shown.resize_with(view.room, Line::default);
    shown.push(match &view.away {
        Some(why) => Line::from(format!(" waiting for mcrd: {why}")).fg(Color::Red).bold(),
        None if view.is_frozen() => Line::from(" FROZEN  f goes on  Esc back  q quit").fg(Color::Yellow),
        None => Line::from(" Esc back  arrows scroll  f freeze  q quit"),
    });
    frame.render_widget(Paragraph::new(shown), frame.area());
}

fn head(name: &str, view: &View, width: usize) -> Vec<Line<'static>> {
    let mut lines = vec![Line::from(format!(" {}", cut(name, width.saturating_sub(1)))).bold()];
    let Some(row) = view.row(name) else {
        lines.push(Line::from(" mcrd has no rule of this name any more").fg(Color::Red));
        return lines;
    };
    let state = row.rule.state;
    let why = row.rule.state_reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    let mut texts = wrapped(&format!("{state}{why}"), width.saturating_sub(1)).into_iter();
    let first = texts.next().unwrap_or_default();
    let (word, rest) = first.split_at(first.find(':').unwrap_or(first.len()));
    lines.push(Line::from(vec![Span::raw(format!(" {word}")).fg(colour(state)).bold(), Span::raw(rest.to_owned())]));
    lines.extend(texts.map(|text| Line::from(format!(" {text}"))));
    let rates = row.rates.unwrap_or_default();
    lines.push(Line::from(format!(
        " {} pps, {} Mbit/s in; {} pps out; {} lost/s; last packet: {}",
        per_second(rates.matched),
        mbit(rates.bits),
        per_second(rates.sent),
        per_second(rates.lost),
        last_packet(row.rule.silent_seconds)
    )));
    let most = row.history.iter().copied().fold(0.0, f64::max);
    let scale = format!(" {} pps at most ", per_second(most));
    let room = width.saturating_sub(scale.len());
    lines.push(Line::from(vec![Span::raw(scale), Span::raw(bars(row.history.iter().copied(), room)).fg(Color::Blue)]));
    lines.push(Line::default());
    lines
}

/// Each problem that `explain` finds, the cause first, with the command that fixes it.
fn explained(view: &View, width: usize) -> Vec<Line<'static>> {
    let mut lines = vec![title(" EXPLAIN".to_owned())];
    let mut say = |text: &str, indent: usize, style: Style| {
        let texts = wrapped(text, width.saturating_sub(indent)).into_iter();
        lines.extend(texts.map(|text| Line::from(" ".repeat(indent) + &text).style(style)));
    };
    match &view.explained {
        None => say("watching packets ...", 1, Style::new().add_modifier(Modifier::DIM)),
        Some(Err(why)) => say(&format!("no answer: {why}"), 1, Style::new().fg(Color::Red)),
        Some(Ok(explained)) if !explained.has_problem() => say("nothing is wrong", 1, Style::new().fg(Color::Green)),
        Some(Ok(explained)) => {
            let problems = explained.findings.iter().filter(|finding| finding.result == CheckResult::Problem);
            for RuleFinding { text, fix, .. } in problems {
                say(text, 1, Style::new());
                if let Some(fix) = fix {
                    say(&format!("fix: {fix}"), 3, Style::new().fg(Color::Yellow));
                }
            }
        }
    }
    lines
}

/// The rule's outputs, and its drops by reason.
fn counters(name: &str, before: Option<&Stats>, now: &Stats, width: usize) -> Vec<Line<'static>> {
    let find = |stats: &Stats| stats.rules.iter().find(|rule| rule.name == name).cloned();
    let Some(rule) = find(now) else { return Vec::new() };
    let old = before.and_then(find).unwrap_or_default();
    let rate = before.and_then(|before| Rate::between(before.uptime_seconds, now.uptime_seconds));
    let mut lines = outputs(&rule, &old, rate, width);
    lines.push(Line::default());
    let drops = drops(&rule, &old);
    if drops.is_empty() {
        lines.push(Line::from(" no packet dropped so far"));
    } else {
        lines.push(title(format!(
            " {} {} {}",
            pad("DROPPED", 18, false),
            pad("PACKETS", 14, true),
            pad("NOW/S", 10, true)
        )));
    }
    for (reason, (before, packets)) in drops {
        let now = rate.map_or(0.0, |rate| rate.per_second(before, packets));
        let line = format!(
            " {} {} {}",
            pad(&reason, 18, false),
            pad(&grouped(packets), 14, true),
            pad(&per_second(now), 10, true)
        );
        lines.push(if now > 0.0 { Line::from(line).fg(Color::Red) } else { Line::from(line) });
    }
    lines
}

fn outputs(rule: &RuleStats, old: &RuleStats, rate: Option<Rate>, width: usize) -> Vec<Line<'static>> {
    const NUMBERS: [(&str, usize); 4] = [("SENT/S", 9), ("MBIT/S", 8), ("DROP/S", 9), ("SENT", 15)];
    let labels = labels(&rule.outputs);
    let used: usize = NUMBERS.iter().map(|(_, width)| width + 1).sum();
    let longest = labels.iter().map(|label| label.chars().count()).max().unwrap_or(0).max(24);
    let first = width.saturating_sub(used + 1).min(longest);
    let row = |label: &str, cells: [String; 4]| {
        let cells = cells.iter().zip(NUMBERS).map(|(cell, (_, width))| format!(" {}", pad(cell, width, true)));
        format!(" {}{}", pad(label, first, false), cells.collect::<String>())
    };
    let mut lines = vec![title(row("OUTPUT", NUMBERS.map(|(name, _)| name.to_owned())))];
    for (at, (output, label)) in rule.outputs.iter().zip(labels).enumerate() {
        let none = OutputStats::default();
        let old = old.outputs.get(at).unwrap_or(&none);
        let lost = |output: &OutputStats| output.dropped.values().sum::<u64>();
        let shown = |rate: Option<f64>, as_text: fn(f64) -> String| rate.map_or("-".to_owned(), as_text);
        let lost_now = rate.map(|rate| rate.per_second(lost(old), lost(output)));
        let line = Line::from(row(
            &label,
            [
                shown(rate.map(|rate| rate.per_second(old.sent_packets, output.sent_packets)), per_second),
                shown(rate.map(|rate| rate.bits(old.sent_bytes, output.sent_bytes)), mbit),
                shown(lost_now, per_second),
                grouped(output.sent_packets),
            ],
        ));
        lines.push(if lost_now.is_some_and(|lost| lost > 0.0) { line.fg(Color::Red) } else { line });
        lines.extend(output.waiting.as_ref().map(|why| Line::from(format!("   waits: {why}")).fg(Color::Yellow)));
    }
    lines
}

fn title(text: String) -> Line<'static> {
    Line::from(text).style(Style::new().fg(Color::Cyan).add_modifier(Modifier::BOLD))
}

/// Packets dropped by reason, of the rule and its outputs together: before, and now.
fn drops(rule: &RuleStats, old: &RuleStats) -> BTreeMap<String, (u64, u64)> {
    let all = |rule: &RuleStats| {
        let mut sums = Dropped::new();
        for dropped in [&rule.dropped].into_iter().chain(rule.outputs.iter().map(|output| &output.dropped)) {
            for (reason, packets) in dropped.iter().filter(|(_, packets)| **packets > 0) {
                *sums.entry(reason.clone()).or_default() += packets;
            }
        }
        sums
    };
    let before = all(old);
    let now = all(rule).into_iter();
    now.map(|(reason, packets)| (reason.clone(), (before.get(&reason).copied().unwrap_or(0), packets))).collect()
}
