//! Captures: which there are, which rules each of them follows, and when it begins and ends.
//!
//! A capture follows names. A rule that takes the place of another, or that starts later, is captured from its first packet, if its name
//! is one that was asked for; a rule that goes is captured to its last.

mod book;
mod session;

use std::{
    sync::{Arc, mpsc::Receiver},
    thread,
    time::Duration,
};

use self::{book::Book, session::Session};
use super::{
    active::Active,
    alter::chosen,
    fleet::{Fleet, answers, wait_for},
    retire::{Shared, posts},
    state::State,
};
use crate::{
    control::{
        peer::Peer,
        protocol::{CaptureSpec, Capturing, ErrorCode, MAX_SNAPLEN, Point, Response},
    },
    forward::{
        capture::{Followed, Points, Tap},
        mailbox::Command,
    },
    rules::glob::{is_pattern, matcher},
};

/// Captures at once.
const MOST: usize = 4;
/// Bytes of a capture's rings, all together; a worker's has [`LEAST_ROOM`] at least.
const ROOM: usize = 16 << 20;
const LEAST_ROOM: usize = 1 << 20;
/// At an end, what was just handed to an interface has so long to be sent.
const LINGER: Duration = Duration::from_millis(20);

/// The captures that run.
#[derive(Debug, Default)]
pub struct Captures {
    last: u64,
    running: Vec<Running>,
}

/// One of them.
#[derive(Debug)]
struct Running {
    id: u64,
    patterns: Vec<String>,
    points: Points,
    book: Arc<Book>,
    /// For each worker, until there are workers.
    taps: Vec<Tap>,
    /// Until it is taken up.
    session: Option<Session>,
}

impl Shared {
    /// Begins a capture: what is counted once this has returned is captured, or counted as lost.
    pub fn begin_capture(&self, spec: &CaptureSpec, peer: &Peer) -> Response {
        match self.try_capture(spec) {
            Ok(capturing) => {
                let rules = capturing.rules.len();
                let plural = if rules == 1 { "" } else { "s" };
                log::info!("capture {} of {rules} rule{plural} begun by {peer}", capturing.id);
                Response::Capturing(capturing)
            }
            Err(refused) => *refused,
        }
    }

    fn try_capture(&self, spec: &CaptureSpec) -> Result<Capturing, Box<Response>> {
        let snaplen = check(spec)?;
        let (id, workers) = {
            let mut state = self.lock();
            chosen(&state, &spec.rules).map_err(Box::new)?;
            state.captures.admit()?;
            state.captures.last += 1;
            (state.captures.last, state.workers as usize)
        };
        // Made while nobody waits for the state: it touches all of its memory.
        let room = (ROOM / workers).max(LEAST_ROOM);
        let (taps, copies) = (0..workers).map(|_| Tap::new(id, snaplen as usize, room)).unzip();
        let points = wanted(&spec.points);
        let book = Arc::new(Book::default());
        let session = Session::new(spec, snaplen, points, book.clone(), copies);
        let running = Running { id, patterns: spec.rules.clone(), points, book, taps, session: Some(session) };
        let (rules, begun) = {
            let mut state = self.lock();
            state.captures.admit()?;
            let rules = chosen(&state, &spec.rules).map_err(Box::new)?;
            (rules, state.add_capture(running))
        };
        if let Some((answer, workers)) = begun {
            wait_for(&answer, workers);
        }
        let points = Point::ALL.into_iter().filter(|point| spec.points.is_empty() || spec.points.contains(point));
        Ok(Capturing { id, rules, points: points.collect(), snaplen })
    }

    /// Takes up a capture that has begun; `None` where it is not there.
    fn take_session(&self, id: u64) -> Option<Session> {
        self.lock().captures.running.iter_mut().find(|running| running.id == id)?.session.take()
    }

    /// Ends a capture. `gently`: what had come before is captured still.
    fn end_capture(&self, id: u64, gently: bool) {
        let posts = posts(&self.lock());
        if gently {
            Fleet::settle(&posts);
            thread::sleep(LINGER);
        }
        let (done, answer) = answers();
        for post in &posts {
            post.send(Command::EndCapture { capture: id, done: done.clone() });
        }
        wait_for(&answer, posts.len());
        self.lock().captures.running.retain(|running| running.id != id);
    }
}

impl Captures {
    /// Whether one more may begin.
    fn admit(&self) -> Result<(), Box<Response>> {
        if self.running.len() < MOST {
            return Ok(());
        }
        let full = format!("{MOST} captures run, which is the most at once; end one of them, or try again later");
        Err(Box::new(Response::refused(ErrorCode::Unavailable, full)))
    }
}

impl Running {
    fn wants(&self, name: &str) -> bool {
        let matches = |pattern: &String| is_pattern(pattern) && matcher(pattern).is_ok_and(|matches| matches(name));
        self.patterns.iter().any(|pattern| pattern == name || matches(pattern))
    }

    /// Gives the workers their taps, unless they have them; how their answers come.
    fn start(&mut self, fleet: &Fleet) -> Option<(Receiver<()>, usize)> {
        let taps = std::mem::take(&mut self.taps);
        let count = taps.len();
        let (done, answer) = answers();
        for (handle, tap) in fleet.handles.iter().zip(taps) {
            handle.post.send(Command::Capture { tap, done: done.clone() });
        }
        (count > 0).then_some((answer, count))
    }

    /// Captures a rule that workers know by its slot.
    fn follow(&self, active: &Active, fleet: &Fleet) {
        let outputs = active.rule.outputs.len();
        let new = |number| Arc::new(Followed::new(number, self.points, outputs));
        // In the book before the workers have it, so that no copy names a rule that is not there.
        let followed = self.book.enter(&active.rule, |number| fleet.handles.iter().map(|_| new(number)).collect());
        for (handle, followed) in fleet.handles.iter().zip(followed) {
            handle.post.send(Command::Follow { capture: self.id, slot: active.value.slot, followed });
        }
    }
}

impl State {
    /// Lets a capture begin with the rules that are there.
    fn add_capture(&mut self, mut running: Running) -> Option<(Receiver<()>, usize)> {
        let mut begun = None;
        if let Some(fleet) = &self.fleet {
            begun = running.start(fleet);
            for active in self.actives().filter(|active| running.wants(&active.rule.name)) {
                running.follow(active, fleet);
            }
        }
        self.captures.running.push(running);
        begun
    }

    /// A rule starts: those captures have it that want it.
    pub fn follow_captures(&mut self, active: &Active) {
        let Some(fleet) = &self.fleet else { return };
        for running in self.captures.running.iter_mut().filter(|running| running.wants(&active.rule.name)) {
            // The workers are new, and have no mail before this that counts a packet.
            running.start(fleet);
            running.follow(active, fleet);
        }
    }
}

/// Bytes of each packet; or what is wrong with the request by itself.
fn check(spec: &CaptureSpec) -> Result<u32, Box<Response>> {
    let wrong = |what: &str| Err(Box::new(Response::usage(what)));
    match spec {
        CaptureSpec { rules, .. } if rules.is_empty() => wrong("a capture needs the name of a rule, or a pattern: '*'"),
        CaptureSpec { count: Some(0), .. } => wrong("count: a capture of 0 packets is none; write 1 or more"),
        CaptureSpec { seconds: Some(0), .. } => wrong("seconds: a capture of 0 seconds is none; write 1 or more"),
        CaptureSpec { snaplen: Some(snaplen), .. } if *snaplen > MAX_SNAPLEN => {
            wrong(&format!("snaplen: {snaplen} is more than {MAX_SNAPLEN}; write 0 for whole packets"))
        }
        CaptureSpec { snaplen, .. } => Ok(snaplen.filter(|snaplen| *snaplen > 0).unwrap_or(MAX_SNAPLEN)),
    }
}

fn wanted(points: &[Point]) -> Points {
    let has = |point| points.is_empty() || points.contains(&point);
    Points { received: has(Point::In), sent: has(Point::Out), dropped: has(Point::Dropped) }
}
