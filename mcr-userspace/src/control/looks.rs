//! Answers that list everything: made for one client at a time, and shared by those that wait meanwhile. With tens of thousands of
//! rules one of them takes tens of megabytes.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Instant,
};

use super::protocol::{Request, Response};

/// One kind of answer for each.
#[derive(Debug, Default)]
pub(super) struct Looks {
    stats: Look,
    status: Look,
    rules: Look,
    top: Look,
}

#[derive(Debug, Default)]
struct Look {
    waiting: AtomicUsize,
    /// The last answer, and when its making began; kept only while others wait.
    made: Mutex<Option<(Instant, Arc<Response>)>>,
}

impl Looks {
    /// The answer to `request`, which `make` makes. Of a request for everything it is no older than the request.
    pub(super) fn answer(&self, request: Request, make: impl FnOnce(Request) -> Response) -> Arc<Response> {
        match request {
            Request::Stats { rule: None, ref rules } if rules.is_empty() => self.stats.share(|| make(request)),
            Request::Status {} => self.status.share(|| make(request)),
            Request::RuleList {} => self.rules.share(|| make(request)),
            Request::Top {} => self.top.share(|| make(request)),
            _ => Arc::new(make(request)),
        }
    }
}

impl Look {
    fn share(&self, make: impl FnOnce() -> Response) -> Arc<Response> {
        let asked = Instant::now();
        self.waiting.fetch_add(1, SeqCst);
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let is_last = self.waiting.fetch_sub(1, SeqCst) == 1;
        let shared = made.take().filter(|(begun, _)| *begun >= asked);
        let (begun, response) = shared.unwrap_or_else(|| (Instant::now(), Arc::new(make())));
        // Whoever came while it was made gets a newer one.
        if !is_last {
            *made = Some((begun, response.clone()));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Barrier, mpsc::channel},
        thread,
    };

    use super::*;

    #[test]
    fn those_that_wait_share_an_answer_and_none_is_older_than_its_request() {
        let looks = Arc::new(Looks::default());
        let made = Arc::new(AtomicUsize::new(0));
        let deleted =
            |name: &str| Response::RuleDeleted { name: Some(name.to_owned()), names: vec![], warnings: vec![] };
        let make = move |made: &AtomicUsize| deleted(&made.fetch_add(1, SeqCst).to_string());
        let (let_go, wait) = channel();
        let first = {
            let (looks, made) = (looks.clone(), made.clone());
            let begun = Arc::new(Barrier::new(2));
            let seen = begun.clone();
            let first = thread::spawn(move || {
                looks.answer(Request::Status {}, |_| {
                    seen.wait();
                    wait.recv().expect("let go");
                    make(&made)
                })
            });
            begun.wait();
            first
        };
        let others: Vec<_> = (0..10)
            .map(|_| {
                let (looks, made) = (looks.clone(), made.clone());
                thread::spawn(move || looks.answer(Request::Status {}, |_| make(&made)))
            })
            .collect();
        while looks.status.waiting.load(SeqCst) < 10 {
            thread::yield_now();
        }
        // One of another kind waits for none of them.
        let other = Arc::new(AtomicUsize::new(77));
        assert_eq!(*looks.answer(Request::RuleList {}, |_| make(&other)), deleted("77"));
        let_go.send(()).expect("it waits");
        assert_eq!(*first.join().expect("no panic"), deleted("0"));
        for other in others {
            assert_eq!(*other.join().expect("no panic"), deleted("1"));
        }
        assert!(looks.status.made.lock().expect("no panic").is_none(), "nothing is kept");
    }
}
