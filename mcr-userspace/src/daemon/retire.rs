//! Rules that are gone: their packets are waited for, their counters kept, and then their slots are free.

use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
        mpsc::Receiver,
    },
    time::{Duration, Instant},
};

use super::{
    active::Active,
    fleet::{Fleet, answers},
    state::State,
    turn::Turn,
};
use crate::forward::mailbox::Command;

/// How often interfaces, rules that wait and counters are looked after, should the kernel tell of no change.
const TICK: Duration = Duration::from_millis(500);
/// How often workers are asked whether they have forgotten a rule.
const SOON: Duration = Duration::from_millis(5);

/// The daemon's state, and what its caretaker waits for.
pub struct Shared {
    state: Mutex<State>,
    /// Rung when there is something to retire or to look at, and at the end.
    bell: Condvar,
    /// Whether interfaces have changed since they were last looked at.
    changed: AtomicBool,
    /// Taken by whoever reads the daemon's file to apply it, or writes it. Never waited for with the state locked.
    pub file: Turn,
}

/// A rule that workers have been asked to forget.
struct Leaving {
    active: Arc<Active>,
    answer: Receiver<()>,
    missing: usize,
}

impl Shared {
    /// Shares a state.
    pub fn new(state: State) -> Self {
        Self { state: Mutex::new(state), bell: Condvar::new(), changed: AtomicBool::new(false), file: Turn::default() }
    }

    /// The state. A panic elsewhere leaves it usable: changes are applied step by step, and each step leaves it whole.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the caretaker that rules were retired.
    pub fn ring(&self) {
        self.bell.notify_all();
    }

    /// Tells the caretaker that interfaces have changed.
    pub fn has_changed(&self) {
        // Under the lock: the caretaker looks at it under it before it waits.
        let _state = self.lock();
        self.changed.store(true, SeqCst);
        self.bell.notify_all();
    }

    /// Notes what the kernel has steered, waits until it is handled or lost, and sets the one off against the other.
    pub fn settle(&self) {
        let (noted, posts) = {
            let state = self.lock();
            (state.note_steered(), posts(&state))
        };
        if Fleet::settle(&posts) {
            noted.iter().for_each(|(active, steered)| active.settle(*steered));
        }
    }

    /// Makes the caretaker see at once that it is to end.
    pub fn end(&self, ended: &AtomicBool) {
        // Under the lock: the caretaker looks at `ended` under it before it waits.
        let _state = self.lock();
        ended.store(true, SeqCst);
        self.bell.notify_all();
    }

    /// The caretaker's work, until it is to end.
    pub fn care(&self, ended: &AtomicBool) {
        let mut leaving: Vec<Leaving> = Vec::new();
        let mut ticked = Instant::now();
        while !ended.load(SeqCst) {
            let batch = self.wait_for_work(&leaving, ended);
            if self.changed.swap(false, SeqCst) || ticked.elapsed() >= TICK {
                ticked = Instant::now();
                self.lock().tick();
            }
            if !batch.is_empty() {
                // The kernel has let go of the rules; once the rings have passed this moment, no frame names their slots.
                let posts = posts(&self.lock());
                if Fleet::settle(&posts) {
                    let state = self.lock();
                    leaving.extend(batch.into_iter().map(|active| ask_to_forget(&state, active)));
                }
            }
            leaving.retain_mut(|rule| {
                while rule.missing > 0 && rule.answer.try_recv().is_ok() {
                    rule.missing -= 1;
                }
                if rule.missing == 0 {
                    self.lock().bury(&rule.active);
                }
                rule.missing > 0
            });
        }
    }

    /// Waits until rules have been retired that are not leaving yet, or until it is time to look around; those rules.
    fn wait_for_work(&self, leaving: &[Leaving], ended: &AtomicBool) -> Vec<Arc<Active>> {
        // Those that are leaving answer soon, but for an egress that is stalled.
        let patience = if leaving.is_empty() { TICK } else { SOON };
        let nothing_new = |state: &mut State| {
            state.retiring.len() == leaving.len() && !ended.load(SeqCst) && !self.changed.load(SeqCst)
        };
        let (state, _) =
            self.bell.wait_timeout_while(self.lock(), patience, nothing_new).unwrap_or_else(PoisonError::into_inner);
        let known = |active: &Arc<Active>| leaving.iter().any(|other| Arc::ptr_eq(&other.active, active));
        state.retiring.iter().filter(|active| !known(active)).cloned().collect()
    }
}

fn posts(state: &State) -> Vec<crate::forward::mailbox::Post> {
    state.fleet.as_ref().map(Fleet::posts).unwrap_or_default()
}

fn ask_to_forget(state: &State, active: Arc<Active>) -> Leaving {
    let (done, answer) = answers();
    let handles = state.fleet.as_ref().map(|fleet| fleet.handles.as_slice()).unwrap_or_default();
    for handle in handles {
        handle.post.send(Command::Remove { slot: active.value.slot, done: done.clone() });
    }
    Leaving { active, answer, missing: handles.len() }
}

impl State {
    /// Keeps what a forgotten rule has counted, and frees its slot.
    fn bury(&mut self, active: &Arc<Active>) {
        let slot = active.value.slot;
        active.settle(self.steered(active));
        let reading = active.read(|| self.program.count(slot));
        self.gone.add(&reading);
        if let Some(live) = self.live.get_mut(&active.rule.name)
            && live.lineage == active.lineage
        {
            // Replaced, not deleted: the rule goes on counting under its name.
            let outputs = match &live.active {
                Some(now) => now.rule.outputs.clone(),
                None => active.rule.outputs.clone(),
            };
            let mut carried =
                super::active::Reading { outputs: vec![Default::default(); outputs.len()], ..Default::default() };
            carried.carry(&outputs, &live.carried, &live.carried_outputs);
            carried.carry(&outputs, &reading, &active.rule.outputs);
            (live.carried, live.carried_outputs) = (carried, outputs);
        }
        self.retiring.retain(|other| !Arc::ptr_eq(other, active));
        match self.program.clear_count(slot) {
            Ok(()) => self.slots.put(slot),
            // The slot is lost, which costs one rule of the quarantine's room.
            Err(error) => log::error!("{}: clearing its counters: {error}", active.rule.name),
        }
    }
}
