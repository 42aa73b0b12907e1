//! Reads the counters once a second, in a thread of its own: keys are heeded while a daemon does not answer.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    time::{Duration, Instant},
};

use super::{News, start};
use crate::{
    control::protocol::{ErrorCode, Request, Response},
    ctl::{link::Link, run::Failure},
};

const PERIOD: Duration = Duration::from_secs(1);

/// The thread that asks the daemon.
pub(super) struct Feed(Sender<Option<String>>);

impl Feed {
    /// Starts to ask.
    pub(super) fn start(link: Link, news: Sender<News>) -> Self {
        let (open, opened) = channel();
        start(news, move |news| ask(link, news, &opened));
        Self(open)
    }

    /// Asks for this rule by itself, too, from now on.
    pub(super) fn open(&self, rule: Option<String>) {
        self.0.send(rule).ok();
    }
}

fn ask(mut link: Link, news: &Sender<News>, opened: &Receiver<Option<String>>) {
    let mut open: Option<String> = None;
    let mut next = Instant::now();
    loop {
        next = (next + PERIOD).max(Instant::now());
        let answer = match link.ask(&Request::Top {}) {
            Ok(Response::Top(top)) => News::Rules(top),
            Ok(_) => News::Away("what answers is not an mcrd of this version".to_owned()),
            Err(failure) => News::Away(reason(failure).1),
        };
        let is_there = matches!(answer, News::Rules(_));
        if news.send(answer).is_err() || is_there && !tell_rule(&mut link, open.as_deref(), news) {
            return;
        }
        loop {
            match opened.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(rule) => {
                    open = rule;
                    if !tell_rule(&mut link, open.as_deref(), news) {
                        return;
                    }
                }
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}

/// Sends what is known of the rule that is open; whether anybody listens.
fn tell_rule(link: &mut Link, open: Option<&str>, news: &Sender<News>) -> bool {
    let Some(name) = open else { return true };
    let answer = match link.ask(&Request::Stats { rule: None, rules: vec![name.to_owned()] }) {
        Ok(Response::Stats(stats)) => News::Rule(Box::new(stats)),
        Ok(_) => return true,
        Err(failure) => match reason(failure) {
            (ErrorCode::NotFound, why) => News::NoRule(why),
            (_, why) => News::Away(why),
        },
    };
    news.send(answer).is_ok()
}

/// Why there is no answer.
pub(super) fn reason(failure: Failure) -> (ErrorCode, String) {
    match failure {
        Failure::Refused(code, lines) => (code, lines.join(" ").replace("mcrctl: ", "")),
        Failure::Ended(_) => (ErrorCode::Unavailable, String::new()),
        Failure::Output(error) => (ErrorCode::Unavailable, error.to_string()),
    }
}
