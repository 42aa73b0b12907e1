//! `mcrctl top`: every rule with its rates, full screen. Rates are made here, of counters that are read once a second.
//!
//! One thread draws, and waits for what others send it: keys, counters, signals.

mod bars;
mod explainer;
mod feed;
mod list;
mod rows;
mod rule;
mod terminal;
mod view;

use std::{
    io::{self, IsTerminal},
    sync::mpsc::{Sender, channel},
    thread,
};

use ratatui::{
    Frame,
    crossterm::event::{self, Event, KeyEvent, KeyEventKind},
};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};

use explainer::Explainer;
use feed::Feed;
use terminal::Screen;
use view::{Action, Page, View};

use super::{
    link::Link,
    run::{Failure, prefixed},
};
use crate::control::protocol::{ErrorCode, RuleExplained, Stats, Top};

/// What the drawing thread waits for.
enum News {
    Key(KeyEvent),
    Resized,
    /// The counters of all rules.
    Rules(Top),
    /// The rule that is open, by itself.
    Rule(Box<Stats>),
    /// The rule that is open cannot be shown, and why.
    NoRule(String),
    /// What `explain` says of a rule, or why it says nothing.
    Explained(String, Result<RuleExplained, String>),
    /// The daemon does not answer, and why.
    Away(String),
    Signal(i32),
    /// A thread that is needed has ended: the terminal is gone, or something is broken.
    Ended(String),
}

/// Shows the screen until the user leaves it.
///
/// # Errors
///
/// Standard input or output is no terminal, or it fails.
pub(super) fn run(link: Link, json: bool) -> Result<(), Failure> {
    if json {
        return Err(prefixed(
            ErrorCode::Invalid,
            "top has no JSON; `mcrctl --json stats --watch` prints a line a second",
        ));
    }
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Err(prefixed(
            ErrorCode::Invalid,
            "top needs a terminal for its input and output; without one use `mcrctl stats --watch`",
        ));
    }
    let (news, received) = channel();
    watch_signals(news.clone())?;
    let explainer = Explainer::start(link.another(), news.clone());
    let feed = Feed::start(link, news.clone());
    let mut screen = Screen::open()?;
    watch_keys(news);
    let mut view = View::default();
    let ended = loop {
        screen.draw(|frame| draw(&mut view, frame))?;
        match received.recv() {
            Ok(News::Key(key)) => match view.key(key) {
                Action::Stay => {}
                Action::Open(name) => {
                    explainer.open(Some(name.clone()));
                    feed.open(Some(name));
                }
                Action::Close => {
                    explainer.open(None);
                    feed.open(None);
                }
                Action::Redraw => screen.clear()?,
                Action::Quit => break Ok(None),
            },
            Ok(News::Resized) => {}
            Ok(News::Rules(top)) => view.take(top),
            Ok(News::Rule(stats)) => view.take_rule(*stats),
            Ok(News::NoRule(why)) => view.no_rule(why),
            Ok(News::Explained(name, explained)) => view.take_explained(&name, explained),
            Ok(News::Away(why)) => view.away(why),
            Ok(News::Signal(signal)) => break Ok(Some(signal)),
            Ok(News::Ended(why)) => break Err(why),
            Err(_) => break Err("its threads have ended".to_owned()),
        }
    };
    drop(screen);
    match ended {
        // Who sent it sees that it was heeded.
        Ok(Some(signal)) if signal != SIGINT => Ok(signal_hook::low_level::emulate_default_handler(signal)?),
        Ok(_) => Ok(()),
        Err(why) => Err(prefixed(ErrorCode::Unavailable, &format!("top: {why}"))),
    }
}

fn draw(view: &mut View, frame: &mut Frame<'_>) {
    match &view.page {
        Page::List => list::draw(view, frame),
        Page::Rule(name) => rule::draw(&name.clone(), view, frame),
        Page::Help => list::help(frame),
    }
}

/// Says that a thread has panicked.
struct LastWords(Sender<News>);

impl Drop for LastWords {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.send(News::Ended("a thread has panicked; please report it".to_owned())).ok();
        }
    }
}

/// Runs `work` in a thread whose panic ends `top`.
fn start(news: Sender<News>, work: impl FnOnce(&Sender<News>) + Send + 'static) {
    thread::spawn(move || {
        let last_words = LastWords(news);
        work(&last_words.0);
    });
}

fn watch_signals(news: Sender<News>) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    thread::spawn(move || signals.forever().try_for_each(|signal| news.send(News::Signal(signal))));
    Ok(())
}

fn watch_keys(news: Sender<News>) {
    thread::spawn(move || {
        loop {
            let read = match event::read() {
                Ok(Event::Key(key)) if key.kind != KeyEventKind::Release => News::Key(key),
                Ok(Event::Resize(..)) => News::Resized,
                Ok(_) => continue,
                Err(error) => {
                    news.send(News::Ended(format!("the terminal cannot be read: {error}"))).ok();
                    return;
                }
            };
            if news.send(read).is_err() {
                return;
            }
        }
    });
}
