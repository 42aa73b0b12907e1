//! Whether the daemon's threads live, told without the state's lock: whoever holds that for long keeps nobody from asking.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
        mpsc::channel,
    },
    time::{Duration, Instant},
};

use super::state::State;
use crate::forward::mailbox::{Command, Post};

/// For so long the caretaker may be away: a change of tens of thousands of rules keeps it waiting for seconds.
const CARETAKER_PATIENCE: Duration = Duration::from_secs(30);
/// For so long a worker may take to answer: only one that the scheduler starves for this long does not.
const WORKER_PATIENCE: Duration = Duration::from_secs(2);

/// What is known of the threads.
#[derive(Debug)]
pub struct Health {
    started: Instant,
    /// When the caretaker was last at work, in milliseconds since `started`.
    cared: AtomicU64,
    caretaker_ended: AtomicBool,
    /// The workers' mailboxes, once there are workers: there are never others.
    workers: OnceLock<Vec<Post>>,
}

/// Dropped when the caretaker ends, in a panic too.
#[derive(Debug)]
pub struct Caring<'a>(&'a Health);

impl Drop for Caring<'_> {
    fn drop(&mut self) {
        self.0.caretaker_ended.store(true, SeqCst);
    }
}

impl Default for Health {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            cared: AtomicU64::new(0),
            caretaker_ended: AtomicBool::new(false),
            workers: OnceLock::new(),
        }
    }
}

impl Health {
    /// The caretaker begins; what is returned tells of its end.
    pub fn care(&self) -> Caring<'_> {
        self.cares();
        Caring(self)
    }

    /// The caretaker is at work.
    pub fn cares(&self) {
        self.cared.store(self.started.elapsed().as_millis() as u64, SeqCst);
    }

    /// Learns of the workers, once there are some.
    pub fn meet_workers(&self, state: &State) {
        if let Some(fleet) = &state.fleet {
            self.workers.get_or_init(|| fleet.posts());
        }
    }

    /// Whether the caretaker and every worker live, or what is wrong in one sentence. Workers are waited for, a moment.
    pub fn check(&self) -> Result<(), String> {
        if self.caretaker_ended.load(SeqCst) {
            return Err("mcrd's caretaker thread has ended; its log says why".to_owned());
        }
        let away = self.started.elapsed().saturating_sub(Duration::from_millis(self.cared.load(SeqCst)));
        if away > CARETAKER_PATIENCE {
            return Err(format!("mcrd's caretaker thread has done nothing for {} seconds", away.as_secs()));
        }
        let silent = self.workers.get().map(|posts| silent(posts, WORKER_PATIENCE)).unwrap_or_default();
        match silent.as_slice() {
            [] => Ok(()),
            [worker] => Err(format!("worker {worker} has not answered for {} seconds", WORKER_PATIENCE.as_secs())),
            many => Err(format!("{} workers have not answered for {} seconds", many.len(), WORKER_PATIENCE.as_secs())),
        }
    }
}

/// The numbers of the workers that do not answer in time. A full mailbox of one is waited for longer.
fn silent(posts: &[Post], patience: Duration) -> Vec<usize> {
    let ask = |post: &Post| {
        let (done, answer) = channel();
        post.send(Command::Barrier { done });
        answer
    };
    let answers: Vec<_> = posts.iter().map(ask).collect();
    let deadline = Instant::now() + patience;
    let is_silent = |answer: &std::sync::mpsc::Receiver<()>| {
        answer.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_err()
    };
    answers.iter().enumerate().filter(|(_, answer)| is_silent(answer)).map(|(worker, _)| worker).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::mailbox::mailbox;

    #[test]
    fn a_caretaker_that_has_ended_and_a_worker_that_does_not_answer_are_told() {
        let health = Health::default();
        let caring = health.care();
        assert_eq!(health.check(), Ok(()));
        let (post, worker) = mailbox().expect("a mailbox");
        health.workers.set(vec![post]).expect("the first");
        assert_eq!(health.check(), Err("worker 0 has not answered for 2 seconds".to_owned()));
        std::thread::scope(|scope| {
            let checked = scope.spawn(|| health.check());
            loop {
                match worker.next() {
                    Some(Command::Barrier { done }) if done.send(()).is_ok() => break,
                    _ => std::thread::yield_now(),
                }
            }
            assert_eq!(checked.join().expect("no panic"), Ok(()));
        });
        drop(caring);
        assert!(health.check().is_err_and(|why| why.contains("caretaker thread has ended")));
    }
}
