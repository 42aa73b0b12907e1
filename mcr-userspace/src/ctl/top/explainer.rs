//! Asks `explain` for the rule that is open, in a thread of its own: the daemon may watch packets for seconds before it answers.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    time::Duration,
};

use super::{News, feed::reason, start};
use crate::{
    control::protocol::{Request, Response, RuleExplained, default_seconds},
    ctl::{explain, link::Link},
};

/// How long an answer is shown before the next one is asked for.
const AGAIN: Duration = Duration::from_secs(10);
/// And where there was none.
const SOON: Duration = Duration::from_secs(1);

/// The thread that asks.
pub(super) struct Explainer(Sender<Option<String>>);

impl Explainer {
    /// Starts the thread; it asks nothing until a rule is open.
    pub(super) fn start(link: Link, news: Sender<News>) -> Self {
        let (open, opened) = channel();
        start(news, move |news| explain_open(link, news, &opened));
        Self(open)
    }

    /// Asks for this rule from now on.
    pub(super) fn open(&self, rule: Option<String>) {
        self.0.send(rule).ok();
    }
}

fn explain_open(mut link: Link, news: &Sender<News>, opened: &Receiver<Option<String>>) {
    let (mut open, mut pause): (Option<String>, _) = (None, AGAIN);
    loop {
        match opened.recv_timeout(pause) {
            // While the last question was answered the user may have opened several.
            Ok(rule) => open = opened.try_iter().last().unwrap_or(rule),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let Some(name) = &open else { continue };
        let explained = explained(&mut link, name);
        pause = if explained.is_ok() { AGAIN } else { SOON };
        if news.send(News::Explained(name.clone(), explained)).is_err() {
            return;
        }
    }
}

fn explained(link: &mut Link, name: &str) -> Result<RuleExplained, String> {
    let request = Request::ExplainRule { name: name.to_owned(), seconds: default_seconds() };
    let socket = link.socket().to_owned();
    match explain::answer(&request, &socket, |request| link.ask(request)) {
        Ok(Response::RuleExplained(explained)) => Ok(explained),
        Ok(_) => Err("what answers is not an mcrd of this version".to_owned()),
        Err(failure) => Err(reason(failure).1),
    }
}
