//! The page of all rules.

use ratatui::{
    Frame,
    style::{Color, Modifier, Style, Stylize},
    text::{Line, Span},
    widgets::Paragraph,
};

use super::{bars::bars, rows::Row, view::View};
use crate::{
    control::protocol::RuleState,
    ctl::numbers::{cut, grouped, mbit, pad, per_second, time},
};

/// Columns after the name, in the order in which they are left out of narrow terminals, the last first.
const COLUMNS: [(&str, usize); 7] =
    [("STATE", 8), ("PPS", 8), ("MBIT/S", 7), ("LOSS/S", 7), ("LAST", 6), ("HISTORY", 14), ("WHY", 40)];
const HISTORY: usize = 5;
const WHY: usize = 6;
/// The narrowest column of names, and the widest.
const NAME: [usize; 2] = [18, 40];

/// The colour of a state.
pub(super) fn colour(state: RuleState) -> Color {
    match state {
        RuleState::Degraded | RuleState::Stalled => Color::Red,
        RuleState::Waiting => Color::Yellow,
        RuleState::Idle | RuleState::Disabled => Color::DarkGray,
        RuleState::Active => Color::Green,
    }
}

/// Draws the list, and notes how much room it has.
pub(super) fn draw(view: &mut View, frame: &mut Frame<'_>) {
    let (width, height) = (usize::from(frame.area().width), usize::from(frame.area().height));
    view.room = height.saturating_sub(3);
    let shown = view.shown();
    let cursor = view.cursor(&shown);
    // The cursor's line is always among those that are shown.
    let last = shown.len().saturating_sub(view.room);
    let first = view.first.min(cursor).max((cursor + 1).saturating_sub(view.room)).min(last);
    let widths = Widths::of(width, &shown);
    let mut lines = vec![summary(view), widths.header()];
    for (at, row) in shown.iter().enumerate().skip(first).take(view.room) {
        lines.push(widths.line(row, at == cursor));
    }
    if shown.is_empty() && height > 3 {
        lines.push(Line::from(nothing(view)).dim());
    }
    lines.truncate(height.saturating_sub(1));
    lines.resize_with(height.saturating_sub(1), Line::default);
    lines.push(footer(view, shown.len()));
    view.first = first;
    frame.render_widget(Paragraph::new(lines), frame.area());
}

fn nothing(view: &View) -> &'static str {
    match view.daemon {
        None => "",
        Some(_) if view.filter.is_empty() => "mcrd has no rules; `mcrctl rule add --help` says how to add one",
        Some(_) => "no rule matches the filter; Esc clears it",
    }
}

/// How many rules there are in which states, and all rates together.
fn summary(view: &View) -> Line<'static> {
    let Some((_, uptime)) = view.daemon else { return Line::from(" mcrctl top").bold() };
    let rules = view.rows.len();
    let mut spans = vec![
        Span::raw(format!(" mcrd up {}  ", time(uptime))).bold(),
        Span::raw(format!("{} rule{}", grouped(rules as u64), if rules == 1 { "" } else { "s" })),
    ];
    for state in RuleState::ALL.into_iter().filter(|state| state.is_trouble()) {
        let count = view.count(state);
        if count > 0 {
            spans.push(Span::raw(format!(", {} {state}", grouped(count as u64))).fg(colour(state)));
        }
    }
    let rates = || view.rows.iter().filter_map(|row| row.rates);
    let sum = |of: fn(&super::rows::Rates) -> f64| rates().map(|rates| of(&rates)).sum::<f64>();
    spans.push(Span::raw(format!(
        "  {} pps  {} Mbit/s  {} lost/s",
        per_second(sum(|rates| rates.matched)),
        mbit(sum(|rates| rates.bits)),
        per_second(sum(|rates| rates.lost))
    )));
    Line::from(spans)
}

fn footer(view: &View, shown: usize) -> Line<'static> {
    if view.is_typing {
        return Line::from(format!("/{}\u{2588}  {shown} rules  Enter keeps it  Esc clears it", view.filter)).bold();
    }
    if let Some(why) = &view.away {
        return Line::from(format!(" waiting for mcrd: {why}")).fg(Color::Red).bold();
    }
    let frozen = if view.is_frozen() { " FROZEN " } else { "" };
    let filter = if view.filter.is_empty() { "/ filter".to_owned() } else { format!("/{} ({shown})", view.filter) };
    Line::from(vec![
        Span::raw(frozen).fg(Color::Black).bg(Color::Yellow),
        Span::raw(format!(" s sort: {}  {filter}  Enter open  f freeze  ? help  q quit", view.sort.name())),
    ])
}

/// How wide each column is.
struct Widths {
    name: usize,
    columns: Vec<(usize, usize)>,
}

impl Widths {
    /// As many columns as fit; what is left over goes to names that need it, and then to history and reason.
    fn of(width: usize, shown: &[&Row]) -> Self {
        let needed = shown.iter().map(|row| row.rule.name.chars().count()).max().unwrap_or(0).clamp(NAME[0], NAME[1]);
        let mut columns: Vec<(usize, usize)> = COLUMNS.iter().map(|(_, width)| *width).enumerate().collect();
        let used = |columns: &[(usize, usize)]| columns.iter().map(|(_, width)| width + 1).sum::<usize>();
        while !columns.is_empty() && used(&columns) + NAME[0] > width {
            columns.pop();
        }
        let spare = width.saturating_sub(used(&columns));
        let name = spare.min(needed);
        if let Some((at, last)) = columns.last_mut().filter(|(at, _)| [HISTORY, WHY].contains(at)) {
            let more = spare - name;
            *last += if *at == HISTORY { more.min(60) } else { more };
        }
        Self { name, columns }
    }

    fn header(&self) -> Line<'static> {
        let mut text = pad("RULE", self.name, false);
        for (at, width) in &self.columns {
            text += " ";
            text += &pad(COLUMNS[*at].0, *width, is_number(*at));
        }
        Line::from(text).style(Style::new().fg(Color::Cyan).add_modifier(Modifier::BOLD))
    }

    /// Under the cursor the line is reversed, in one colour but for the history: colours would be the ground of letters there.
    fn line(&self, row: &Row, is_under_cursor: bool) -> Line<'static> {
        let rate = |of: &dyn Fn(&super::rows::Rates) -> String| row.rates.as_ref().map_or("-".to_owned(), of);
        let mut spans = vec![Span::raw(pad(&row.rule.name, self.name, false))];
        for (at, width) in &self.columns {
            let text = match *at {
                0 => row.rule.state.to_string(),
                1 => rate(&|rates| per_second(rates.matched)),
                2 => rate(&|rates| mbit(rates.bits)),
                3 => rate(&|rates| per_second(rates.lost)),
                4 => last_packet(row.rule.silent_seconds),
                HISTORY => bars(row.history.iter().copied(), *width),
                _ => cut(row.rule.state_reason.as_deref().unwrap_or_default(), *width),
            };
            let style = match *at {
                0 => Style::new().fg(colour(row.rule.state)),
                3 if row.is_losing() => Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
                HISTORY => Style::new().fg(if row.is_losing() { Color::Red } else { Color::Blue }),
                _ => Style::new(),
            };
            let style = match *at {
                HISTORY => style.remove_modifier(Modifier::REVERSED),
                _ if is_under_cursor => Style::new(),
                _ => style,
            };
            spans.push(Span::raw(" "));
            spans.push(Span::styled(pad(&text, *width, is_number(*at)), style));
        }
        let ground = if is_under_cursor { Style::new().add_modifier(Modifier::REVERSED) } else { Style::new() };
        Line::from(spans).style(ground)
    }
}

fn is_number(column: usize) -> bool {
    (1..HISTORY).contains(&column)
}

/// How long ago a rule's last packet came, in at most six columns.
pub(super) fn last_packet(silent: Option<f64>) -> String {
    match silent {
        None => "never".to_owned(),
        Some(seconds) if seconds < 2.0 => "now".to_owned(),
        Some(seconds) if seconds < 60.0 => format!("{seconds:.0}s"),
        Some(seconds) if seconds < 3_600.0 => format!("{:.0}m", (seconds / 60.0).floor()),
        Some(seconds) if seconds < 86_400.0 => format!("{:.0}h", (seconds / 3_600.0).floor()),
        Some(seconds) => format!("{:.0}d", (seconds / 86_400.0).floor()),
    }
}

/// Draws the page that explains keys and columns.
pub(super) fn help(frame: &mut Frame<'_>) {
    let text = "\
 q, Ctrl-C     quit                     Enter   open the rule under the cursor
 arrows, j k   move                     Esc     go back; clear the filter
 PgUp, PgDn    move by a screen         g, G    first, last rule
 s             next order: worst, loss/s, pps, Mbit/s, last packet, name
 /             filter: a part of the name, a glob such as ch-*, or a state
 f             freeze the screen, and let it go on
 Ctrl-L        draw everything anew

 PPS           packets a second that matched the rule
 MBIT/S        their Mbit/s: Ethernet frames without FCS
 LOSS/S        packets a second that were dropped, before the outputs or at them
 LAST          how long ago the last packet came
 HISTORY       PPS of the last seconds, the newest on the right
 WHY           the reason of the state

 Worst first: degraded, stalled, waiting, then rules that lose packets.
 Rates are made of the counters of mcrd, which are read once a second.

 Any key goes back.";
    frame.render_widget(Paragraph::new(text), frame.area());
}
