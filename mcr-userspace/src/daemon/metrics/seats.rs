//! Which connections are open, and which of them has to go when there is one too many.
//!
//! A new connection is always let in: a client that holds connections open for nothing must not keep others out. So the oldest one
//! goes of those that have their answer, else of those that have not asked yet, else of those that are being answered.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};

use tokio::task::AbortHandle;

/// How far a connection is; that of the least value goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Its answer is sent, and its end awaited.
    Answered,
    /// It has sent no whole request yet.
    Silent,
    /// It is being answered.
    Asked,
}

/// How far a connection is, and the task that serves it.
type Held = (Rc<Cell<Stage>>, AbortHandle);

/// The connections that are open, by the order in which they came.
#[derive(Debug)]
pub struct Seats {
    most: usize,
    taken: RefCell<BTreeMap<u64, Held>>,
    came: Cell<u64>,
}

/// A connection's place; free again when it is dropped.
#[derive(Debug)]
pub struct Seat {
    seats: Rc<Seats>,
    number: u64,
    stage: Rc<Cell<Stage>>,
}

impl Seats {
    /// Room for `most` connections, at least one.
    pub fn new(most: usize) -> Rc<Self> {
        Rc::new(Self { most: most.max(1), taken: RefCell::default(), came: Cell::new(0) })
    }

    /// A place for one more connection, whose task `start` starts.
    pub fn admit(self: &Rc<Self>, start: impl FnOnce(Seat) -> AbortHandle) {
        while self.taken.borrow().len() >= self.most {
            self.evict();
        }
        let number = self.came.replace(self.came.get() + 1);
        let stage = Rc::new(Cell::new(Stage::Silent));
        let task = start(Seat { seats: self.clone(), number, stage: stage.clone() });
        if !task.is_finished() {
            self.taken.borrow_mut().insert(number, (stage, task));
        }
    }

    /// Ends the connection that has the least right to its place.
    pub fn evict(&self) {
        let taken = self.taken.borrow();
        let first = taken.iter().min_by_key(|(number, (stage, _))| (stage.get(), **number)).map(|(number, _)| *number);
        drop(taken);
        let evicted = first.and_then(|number| self.taken.borrow_mut().remove(&number));
        if let Some((_, task)) = evicted {
            task.abort();
        }
    }
}

impl Seat {
    /// Notes how far its connection is.
    pub fn is_at(&self, stage: Stage) {
        self.stage.set(stage);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        // Not there any more after an eviction. A task is dropped by the runtime, never while the map is in use.
        self.seats.taken.borrow_mut().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::LocalSet;

    use super::*;

    #[test]
    fn who_has_an_answer_goes_before_who_is_silent_before_who_is_being_answered() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let ended = Rc::new(RefCell::new(Vec::new()));
        struct Tells(&'static str, Rc<RefCell<Vec<&'static str>>>);
        impl Drop for Tells {
            fn drop(&mut self) {
                self.1.borrow_mut().push(self.0);
            }
        }
        let tasks = LocalSet::new();
        runtime.block_on(tasks.run_until(async {
            let seats = Seats::new(3);
            for (name, stage) in [
                ("asked", Stage::Asked),
                ("silent", Stage::Silent),
                ("answered", Stage::Answered),
                ("asked too", Stage::Asked),
                ("and too", Stage::Asked),
                ("the last", Stage::Silent),
            ] {
                let tells = Tells(name, ended.clone());
                seats.admit(|seat| {
                    seat.is_at(stage);
                    let task = async move {
                        let _held = (seat, tells);
                        std::future::pending::<()>().await;
                    };
                    tokio::task::spawn_local(task).abort_handle()
                });
                tokio::task::yield_now().await;
            }
            assert_eq!(*ended.borrow(), ["answered", "silent", "asked"]);
            assert_eq!(seats.taken.borrow().len(), 3);
        }));
    }
}
