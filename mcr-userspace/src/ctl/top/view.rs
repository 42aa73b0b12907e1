//! What is on the screen, and what keys make of it.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::rows::{Row, Sort, rows};
use crate::{
    control::protocol::{RuleExplained, RuleState, Stats, Top},
    ctl::stats::Rate,
    rules::glob::{is_pattern, matcher},
};

/// What is on the screen.
#[derive(Default)]
pub(super) struct View {
    /// Which page is shown.
    pub(super) page: Page,
    /// Every rule, as last read.
    pub(super) rows: Vec<Row>,
    /// The daemon's process and its time in seconds at the last reading; `None` before the first.
    pub(super) daemon: Option<(u32, f64)>,
    /// Why the daemon does not answer.
    pub(super) away: Option<String>,
    /// The rows while they stand still.
    frozen: Option<Vec<Row>>,
    /// The order of the rules.
    pub(super) sort: Sort,
    /// What names or states must contain, or match.
    pub(super) filter: String,
    /// Whether the filter is being typed.
    pub(super) is_typing: bool,
    /// The rule under the cursor, by name: it stays with it wherever that moves. `None`: the first.
    selected: Option<String>,
    /// The first line that is shown; of the rules, or of a rule's page.
    pub(super) first: usize,
    /// Lines that the last drawing had room for.
    pub(super) room: usize,
    /// The rule that is open: before, and now.
    pub(super) rule: [Option<Stats>; 2],
    /// What `explain` says of it, or why it says nothing; `None` until it answers.
    pub(super) explained: Option<Result<RuleExplained, String>>,
    /// Why there is none.
    pub(super) no_rule: Option<String>,
}

/// Pages of the screen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Page {
    #[default]
    List,
    /// One rule, by name.
    Rule(String),
    Help,
}

/// What a key asks of the rest of the program.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    Stay,
    /// This rule is shown now.
    Open(String),
    /// The list is shown again.
    Close,
    Redraw,
    Quit,
}

impl View {
    /// Takes new counters.
    pub(super) fn take(&mut self, top: Top) {
        let daemon = (top.pid, top.uptime_seconds);
        let same = self.daemon.filter(|before| before.0 == daemon.0);
        let rate = same.and_then(|before| Rate::between(before.1, daemon.1));
        self.rows = rows(&self.rows, rate, top);
        self.daemon = Some(daemon);
        self.away = None;
    }

    /// Takes what is known of the rule that is open.
    pub(super) fn take_rule(&mut self, stats: Stats) {
        if self.frozen.is_some()
            || !matches!(&self.page, Page::Rule(name) if stats.rules.iter().any(|rule| rule.name == *name))
        {
            return;
        }
        let [_, now] = std::mem::take(&mut self.rule);
        // Two answers may be a moment apart only: when it was opened, and the next in turn.
        let is_older = now.as_ref().is_some_and(|now| stats.uptime_seconds - now.uptime_seconds < 0.5);
        self.rule = match now {
            Some(now) if is_older && stats.uptime_seconds >= now.uptime_seconds => [None, Some(now)],
            now => [now, Some(stats)],
        };
        self.no_rule = None;
    }

    /// Takes what `explain` says of a rule, or why it says nothing; a screen that stands still takes the first answer only.
    pub(super) fn take_explained(&mut self, name: &str, explained: Result<RuleExplained, String>) {
        let stands_still = self.frozen.is_some() && self.explained.is_some();
        if !stands_still && matches!(&self.page, Page::Rule(open) if open == name) {
            self.explained = Some(explained);
        }
    }

    /// The rule that is open is not there.
    pub(super) fn no_rule(&mut self, why: String) {
        self.no_rule = Some(why);
    }

    /// The daemon does not answer.
    pub(super) fn away(&mut self, why: String) {
        self.away = Some(why);
    }

    /// Whether the screen stands still.
    pub(super) fn is_frozen(&self) -> bool {
        self.frozen.is_some()
    }

    /// The rows as the screen has them: frozen, filtered and sorted.
    pub(super) fn shown(&self) -> Vec<&Row> {
        let rows = self.frozen.as_ref().unwrap_or(&self.rows);
        let mut shown: Vec<&Row> = match self.filter.as_str() {
            "" => rows.iter().collect(),
            filter => filtered(rows, filter),
        };
        shown.sort_by(|a, b| self.sort.order(a, b));
        shown
    }

    /// The row of a rule.
    pub(super) fn row(&self, name: &str) -> Option<&Row> {
        self.frozen.as_ref().unwrap_or(&self.rows).iter().find(|row| row.rule.name == name)
    }

    /// Rules in this state, of all.
    pub(super) fn count(&self, state: RuleState) -> usize {
        self.rows.iter().filter(|row| row.rule.state == state).count()
    }

    /// Where the cursor stands among `shown`.
    pub(super) fn cursor(&self, shown: &[&Row]) -> usize {
        let name = self.selected.as_deref();
        name.and_then(|name| shown.iter().position(|row| row.rule.name == name)).unwrap_or(0)
    }

    /// Does what a key asks for.
    pub(super) fn key(&mut self, key: KeyEvent) -> Action {
        if key.modifiers.contains(KeyModifiers::ALT) {
            // Esc and the next key came together, which terminals mean by Alt, too.
            let first = self.key(KeyEvent::from(KeyCode::Esc));
            let second = self.key(KeyEvent { modifiers: key.modifiers - KeyModifiers::ALT, ..key });
            return if second == Action::Stay { first } else { second };
        }
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match (key.code, control) {
            (KeyCode::Char('c'), true) => return Action::Quit,
            (KeyCode::Char('l'), true) => return Action::Redraw,
            _ => {}
        }
        if self.is_typing {
            self.type_filter(key.code, control);
            return Action::Stay;
        }
        match (&self.page, key.code) {
            (Page::Help, KeyCode::Char('q')) | (_, KeyCode::Char('q')) => Action::Quit,
            (Page::Help, _) => {
                self.page = Page::List;
                Action::Stay
            }
            (_, KeyCode::Char('f')) => {
                self.frozen = if self.frozen.is_some() { None } else { Some(self.rows.clone()) };
                Action::Stay
            }
            (Page::Rule(_), code) => self.rule_key(code),
            (Page::List, code) => self.list_key(code),
        }
    }

    fn list_key(&mut self, code: KeyCode) -> Action {
        let page = self.room.max(1) as isize;
        match code {
            KeyCode::Up | KeyCode::Char('k') => self.walk(-1),
            KeyCode::Down | KeyCode::Char('j') => self.walk(1),
            KeyCode::PageUp => self.walk(-page),
            KeyCode::PageDown | KeyCode::Char(' ') => self.walk(page),
            KeyCode::Home | KeyCode::Char('g') => self.selected = None,
            KeyCode::End | KeyCode::Char('G') => self.walk(isize::MAX),
            KeyCode::Char('s') => {
                self.sort = self.sort.next();
                self.selected = None;
            }
            KeyCode::Char('/') => self.is_typing = true,
            KeyCode::Char('?') | KeyCode::Char('h') => self.page = Page::Help,
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Enter => return self.open(),
            _ => {}
        }
        Action::Stay
    }

    fn rule_key(&mut self, code: KeyCode) -> Action {
        let page = self.room.max(1);
        match code {
            KeyCode::Esc | KeyCode::Backspace | KeyCode::Left => {
                self.page = Page::List;
                self.first = 0;
                return Action::Close;
            }
            KeyCode::Up | KeyCode::Char('k') => self.first = self.first.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => self.first += 1,
            KeyCode::PageUp => self.first = self.first.saturating_sub(page),
            KeyCode::PageDown | KeyCode::Char(' ') => self.first += page,
            KeyCode::Home | KeyCode::Char('g') => self.first = 0,
            _ => {}
        }
        Action::Stay
    }

    fn open(&mut self) -> Action {
        let shown = self.shown();
        let Some(row) = shown.get(self.cursor(&shown)) else { return Action::Stay };
        let name = row.rule.name.clone();
        self.selected = Some(name.clone());
        self.page = Page::Rule(name.clone());
        self.first = 0;
        self.rule = Default::default();
        self.explained = None;
        self.no_rule = None;
        Action::Open(name)
    }

    fn type_filter(&mut self, code: KeyCode, control: bool) {
        match code {
            KeyCode::Enter => self.is_typing = false,
            KeyCode::Esc => {
                self.is_typing = false;
                self.filter.clear();
            }
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Char('u') if control => self.filter.clear(),
            KeyCode::Char(c) if !control => self.filter.push(c),
            _ => {}
        }
    }

    /// Moves the cursor by so many lines, up to the first and the last.
    fn walk(&mut self, lines: isize) {
        let shown = self.shown();
        let at = self.cursor(&shown).saturating_add_signed(lines).min(shown.len().saturating_sub(1));
        self.selected = shown.get(at).map(|row| row.rule.name.clone());
    }
}

/// Rows whose name matches the glob, or contains the text, as their state's word may.
fn filtered<'a>(rows: &'a [Row], filter: &str) -> Vec<&'a Row> {
    if is_pattern(filter) {
        let Ok(matches) = matcher(filter) else { return Vec::new() };
        return rows.iter().filter(|row| matches(&row.rule.name)).collect();
    }
    let wanted = filter.to_lowercase();
    let holds = |row: &&Row| {
        row.rule.name.to_lowercase().contains(&wanted) || row.rule.state.name().starts_with(wanted.as_str())
    };
    rows.iter().filter(holds).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::protocol::TopRule;

    fn view(names: &[&str]) -> View {
        let rules = names.iter().map(|name| TopRule { name: (*name).to_owned(), ..TopRule::default() }).collect();
        let mut view = View { room: 10, ..View::default() };
        view.take(Top { rules, ..Top::default() });
        view
    }

    fn names(view: &View) -> Vec<&str> {
        view.shown().iter().map(|row| row.rule.name.as_str()).collect()
    }

    fn press(view: &mut View, keys: &str) -> Action {
        let code = |c| match c {
            '\n' => KeyCode::Enter,
            '\x1b' => KeyCode::Esc,
            c => KeyCode::Char(c),
        };
        keys.chars().map(|c| view.key(KeyEvent::from(code(c)))).last().unwrap_or(Action::Stay)
    }

    #[test]
    fn rules_are_filtered_by_text_and_by_globs() {
        let mut view = view(&["ch-1", "ch-10", "feed-a"]);
        press(&mut view, "/CH");
        assert_eq!(names(&view), ["ch-1", "ch-10"]);
        press(&mut view, "\n");
        assert!(!view.is_typing);
        press(&mut view, "\x1b/*-?\n");
        assert_eq!(names(&view), ["ch-1", "feed-a"]);
        press(&mut view, "\x1b/[\n");
        assert_eq!(names(&view), [""; 0], "what is half typed matches nothing");
        press(&mut view, "\x1b/q\x1b");
        assert_eq!(names(&view).len(), 3, "in a filter q is a letter, and Esc clears it");
        press(&mut view, "/acti\n");
        assert_eq!(names(&view).len(), 3, "states are words too");
    }

    #[test]
    fn the_cursor_stays_with_its_rule() {
        let mut view = view(&["a", "b", "c"]);
        assert_eq!(view.cursor(&view.shown()), 0);
        press(&mut view, "jj");
        assert_eq!(view.cursor(&view.shown()), 2);
        press(&mut view, "jjjk");
        assert_eq!(press(&mut view, "\n"), Action::Open("b".into()));
        let rules = ["0", "a", "b"].map(|name| TopRule { name: name.into(), ..TopRule::default() }).into();
        view.take(Top { rules, ..Top::default() });
        assert_eq!(press(&mut view, "\x1b"), Action::Close);
        assert_eq!(view.cursor(&view.shown()), 2);
        press(&mut view, "g");
        assert_eq!(view.cursor(&view.shown()), 0);
        press(&mut view, "G");
        assert_eq!(view.cursor(&view.shown()), 2);
        assert_eq!(press(&mut view, "q"), Action::Quit);
    }

    #[test]
    fn alt_is_esc_and_a_key() {
        let mut view = view(&["a", "b"]);
        press(&mut view, "/b\n");
        view.key(KeyEvent::new(KeyCode::Char('/'), KeyModifiers::ALT));
        assert!(view.is_typing && view.filter.is_empty());
        press(&mut view, "b\n\n");
        let closed = view.key(KeyEvent::new(KeyCode::Char('s'), KeyModifiers::ALT));
        assert_eq!((closed, &view.page), (Action::Close, &Page::List));
    }

    #[test]
    fn frozen_rows_stand_still() {
        let mut view = view(&["a"]);
        press(&mut view, "f");
        view.take(Top { rules: Vec::new(), ..Top::default() });
        assert_eq!(names(&view), ["a"]);
        press(&mut view, "f");
        assert_eq!(names(&view), [""; 0]);
        assert_eq!(press(&mut view, "\n"), Action::Stay, "there is nothing to open");
    }
}
