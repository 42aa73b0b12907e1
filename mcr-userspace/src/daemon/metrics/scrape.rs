//! Between connections and counters: a thread reads the counters for all who wait for them at once.

use hyper::body::Bytes;
use tokio::sync::{mpsc, oneshot};

/// A connection that waits for the counters.
type Waiting = oneshot::Sender<Bytes>;

/// Asks for the counters.
#[derive(Clone, Debug)]
pub struct Scraper(mpsc::UnboundedSender<Waiting>);

/// The other end, which answers.
#[derive(Debug)]
pub struct Scrapes(mpsc::UnboundedReceiver<Waiting>);

/// Both ends. There are never more waiting than connections.
pub fn channel() -> (Scraper, Scrapes) {
    let (asking, answering) = mpsc::unbounded_channel();
    (Scraper(asking), Scrapes(answering))
}

impl Scraper {
    /// The counters, read after this call; `None` where the thread that reads them has ended.
    pub async fn scrape(&self) -> Option<Bytes> {
        let (waiting, answer) = oneshot::channel();
        self.0.send(waiting).ok()?;
        answer.await.ok()
    }
}

impl Scrapes {
    /// Answers until no [`Scraper`] is left. Each reading is for all that wait when it begins, so that many connections cost no more
    /// than a few, in time and in memory.
    pub fn answer(mut self, read: impl Fn() -> String) {
        while let Some(first) = self.0.blocking_recv() {
            let mut waiting = vec![first];
            while let Ok(more) = self.0.try_recv() {
                waiting.push(more);
            }
            waiting.retain(|waiting| !waiting.is_closed());
            if waiting.is_empty() {
                continue;
            }
            let text = Bytes::from(read());
            for waiting in waiting {
                // A connection may have ended meanwhile.
                let _ = waiting.send(text.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, thread};

    use super::*;

    #[test]
    fn those_that_wait_together_share_a_reading_and_those_that_left_cost_none() {
        let (scraper, scrapes) = channel();
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let asking = |scraper: &Scraper| {
            let (waiting, answer) = oneshot::channel();
            scraper.0.send(waiting).expect("the other end is there");
            answer
        };
        drop(asking(&scraper));
        let answers = [asking(&scraper), asking(&scraper)];
        let reading = thread::spawn(move || {
            let readings = Cell::new(0);
            scrapes.answer(|| {
                readings.set(readings.get() + 1);
                format!("reading {}", readings.get())
            });
            readings.get()
        });
        let texts = answers.map(|answer| runtime.block_on(answer).expect("answered"));
        assert_eq!(texts, ["reading 1", "reading 1"]);
        assert_eq!(runtime.block_on(scraper.scrape()).expect("answered"), "reading 2");
        drop(scraper);
        assert_eq!(reading.join().expect("no panic"), 2);
    }
}
