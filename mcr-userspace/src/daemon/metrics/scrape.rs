//! Between connections and what they ask for: a thread reads it for all who wait for it at once.

use std::{fmt::Debug, hash::Hash};

use tokio::sync::{mpsc, oneshot};

/// A connection that waits, and in which form it wants its answer.
type Waiting<Q, A> = (Q, oneshot::Sender<A>);

/// Asks.
#[derive(Debug)]
pub struct Scraper<Q, A>(mpsc::UnboundedSender<Waiting<Q, A>>);

/// The other end, which answers.
#[derive(Debug)]
pub struct Scrapes<Q, A>(mpsc::UnboundedReceiver<Waiting<Q, A>>);

/// Both ends. There are never more waiting than connections.
pub fn channel<Q, A>() -> (Scraper<Q, A>, Scrapes<Q, A>) {
    let (asking, answering) = mpsc::unbounded_channel();
    (Scraper(asking), Scrapes(answering))
}

impl<Q, A> Clone for Scraper<Q, A> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<Q, A> Scraper<Q, A> {
    /// What is read after this call, in the form `form`; `None` where the thread that reads has ended.
    pub async fn scrape(&self, form: Q) -> Option<A> {
        let (waiting, answer) = oneshot::channel();
        self.0.send((form, waiting)).ok()?;
        answer.await.ok()
    }
}

impl<Q: Clone + Debug + Eq + Hash, A: Clone> Scrapes<Q, A> {
    /// Answers until no [`Scraper`] is left. Each reading is for all that wait when it begins, and is written once in each form that
    /// they want, so that many connections cost no more than a few, in time and in memory.
    pub fn answer<T>(mut self, read: impl Fn() -> T, write: impl Fn(&T, &Q) -> A) {
        while let Some(first) = self.0.blocking_recv() {
            let mut waiting = vec![first];
            while let Ok(more) = self.0.try_recv() {
                waiting.push(more);
            }
            waiting.retain(|(_, waiting)| !waiting.is_closed());
            if waiting.is_empty() {
                continue;
            }
            let reading = read();
            let mut written: Vec<(Q, A)> = Vec::new();
            for (form, waiting) in waiting {
                let known = written.iter().find(|(of, _)| *of == form).map(|(_, answer)| answer.clone());
                let answer = known.unwrap_or_else(|| {
                    let answer = write(&reading, &form);
                    written.push((form, answer.clone()));
                    answer
                });
                // A connection may have ended meanwhile.
                let _ = waiting.send(answer);
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
        let (scraper, scrapes) = channel::<&str, String>();
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let asking = |scraper: &Scraper<&'static str, String>, form| {
            let (waiting, answer) = oneshot::channel();
            scraper.0.send((form, waiting)).expect("the other end is there");
            answer
        };
        drop(asking(&scraper, "text"));
        let answers = ["text", "json", "text"].map(|form| asking(&scraper, form));
        let reading = thread::spawn(move || {
            let (readings, writings) = (Cell::new(0), Cell::new(0));
            scrapes.answer(
                || readings.replace(readings.get() + 1),
                |reading, form| {
                    format!("reading {reading} in {form}, writing {}", writings.replace(writings.get() + 1))
                },
            );
            readings.get()
        });
        let texts = answers.map(|answer| runtime.block_on(answer).expect("answered"));
        let shared = "reading 0 in text, writing 0";
        assert_eq!(texts, [shared, "reading 0 in json, writing 1", shared]);
        assert_eq!(runtime.block_on(scraper.scrape("text")).expect("answered"), "reading 1 in text, writing 2");
        drop(scraper);
        assert_eq!(reading.join().expect("no panic"), 2);
    }
}
