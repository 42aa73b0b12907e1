//! Rules that are gone: their packets are waited for, their counters kept, and then their slots are free.

use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
        mpsc::Receiver,
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    active::Active,
    fleet::{Fleet, answers},
    health::Health,
    journal::Journal,
    state::State,
    turn::Turn,
};
use crate::forward::mailbox::{Command, Post};

/// How often interfaces, rules that wait and counters are looked after, should the kernel tell of no change.
const TICK: Duration = Duration::from_millis(500);
/// How often workers are asked whether they have forgotten a rule.
const SOON: Duration = Duration::from_millis(5);
/// Rules that workers are asked to forget while the state is locked.
const AT_ONCE: usize = 1024;
/// How long a change waits for slots of rules that it replaces. Only an egress that is stalled takes longer.
const FORGET_PATIENCE: Duration = Duration::from_secs(1);

/// The daemon's state, and what its caretaker waits for.
pub struct Shared {
    state: Mutex<State>,
    /// Rung when there is something to retire or to look at, and at the end.
    bell: Condvar,
    /// Whether interfaces have changed since they were last looked at.
    changed: AtomicBool,
    /// Taken by whoever reads the daemon's file to apply it, or writes it. Never waited for with the state locked.
    pub file: Turn,
    /// What has happened lately; read without the state's lock.
    pub journal: Arc<Journal>,
    /// Whether threads live; read without the state's lock.
    pub health: Health,
}

/// A rule that is out of the kernel's map and that workers are to forget.
#[derive(Debug)]
pub struct Leaving {
    /// The rule.
    pub active: Arc<Active>,
    /// The workers' answers, once they have been asked.
    asked: Option<Answers>,
}

/// Answers of workers that were asked to forget a rule.
#[derive(Debug)]
struct Answers {
    receiver: Receiver<()>,
    missing: usize,
}

impl Leaving {
    /// Whether every worker has forgotten it.
    fn is_forgotten(&mut self) -> bool {
        let Some(answers) = &mut self.asked else { return false };
        while answers.missing > 0 && answers.receiver.try_recv().is_ok() {
            answers.missing -= 1;
        }
        answers.missing == 0
    }
}

impl Shared {
    /// Shares a state.
    pub fn new(state: State) -> Self {
        let journal = state.journal.clone();
        Self {
            state: Mutex::new(state),
            bell: Condvar::new(),
            changed: AtomicBool::new(false),
            file: Turn::default(),
            journal,
            health: Health::default(),
        }
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
        let mut ticked = Instant::now();
        let _caring = self.health.care();
        while !ended.load(SeqCst) {
            let posts = self.wait_for_work(ended);
            self.health.cares();
            let has_news = self.changed.swap(false, SeqCst);
            if has_news || ticked.elapsed() >= TICK {
                ticked = Instant::now();
                self.lock().tick(has_news);
            }
            if let Some(posts) = posts
                && Fleet::settle(&posts)
            {
                // The kernel has let go of the rules, and the rings have passed that moment: no frame names their slots.
                while self.lock().ask_to_forget(AT_ONCE) {}
            }
            if self.lock().bury_forgotten() {
                self.lock().hurry();
                self.changed.store(true, SeqCst);
            }
        }
    }

    /// Waits until rules have been retired, or until it is time to look around; the workers' mailboxes where there are such rules.
    fn wait_for_work(&self, ended: &AtomicBool) -> Option<Vec<Post>> {
        let mut state = self.lock();
        // Those that are leaving answer soon, but for an egress that is stalled.
        let patience = if state.leaving.is_empty() { TICK } else { SOON };
        let nothing_new =
            |state: &mut State| state.retiring.is_empty() && !ended.load(SeqCst) && !self.changed.load(SeqCst);
        self.health.meet_workers(&state);
        (state, _) = self.bell.wait_timeout_while(state, patience, nothing_new).unwrap_or_else(PoisonError::into_inner);
        state.begin_leaving().then(|| posts(&state))
    }
}

/// The workers' mailboxes.
pub fn posts(state: &State) -> Vec<Post> {
    state.fleet.as_ref().map(Fleet::posts).unwrap_or_default()
}

impl State {
    /// Takes up rules that were retired since the last time; whether there are any that workers have not been asked to forget.
    fn begin_leaving(&mut self) -> bool {
        let retired = self.retiring.drain(..).map(|active| Leaving { active, asked: None });
        self.leaving.extend(retired);
        self.leaving.iter().any(|leaving| leaving.asked.is_none())
    }

    /// Asks workers to forget at most so many rules, of which no packet waits in a ring any more; whether there are more.
    fn ask_to_forget(&mut self, most: usize) -> bool {
        let handles = self.fleet.as_ref().map(|fleet| fleet.handles.as_slice()).unwrap_or_default();
        let mut unasked = self.leaving.iter_mut().filter(|leaving| leaving.asked.is_none());
        for leaving in unasked.by_ref().take(most) {
            let (done, receiver) = answers();
            for handle in handles {
                handle.post.send(Command::Remove { slot: leaving.active.value.slot, done: done.clone() });
            }
            leaving.asked = Some(Answers { receiver, missing: handles.len() });
        }
        unasked.next().is_some()
    }

    /// Frees the slots of rules that every worker has forgotten; whether a rule waits for a slot.
    fn bury_forgotten(&mut self) -> bool {
        let forgotten: Vec<Leaving> = self.leaving.extract_if(.., Leaving::is_forgotten).collect();
        forgotten.iter().for_each(|leaving| self.bury(&leaving.active));
        !forgotten.is_empty() && std::mem::take(&mut self.slots_are_short)
    }

    /// Waits for retired rules, as long as that is bounded, so that their slots can be used again.
    pub fn free_slots(&mut self) {
        if !self.begin_leaving() || !Fleet::settle(&posts(self)) {
            return;
        }
        while self.ask_to_forget(AT_ONCE) {}
        let deadline = Instant::now() + FORGET_PATIENCE;
        while self.slots.left() == 0 && Instant::now() < deadline {
            thread::sleep(SOON / 10);
            self.bury_forgotten();
        }
    }

    /// Keeps what a forgotten rule has counted, and frees its slot.
    fn bury(&mut self, active: &Active) {
        let slot = active.value.slot;
        active.settle(self.steered(active));
        let reading = active.read(|| self.program.count(slot));
        self.gone.add(&reading);
        if let Some(live) = self.successor(active) {
            // Replaced, or deleted by a change that may be taken back: the rule goes on counting under its name.
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
        match self.program.clear_count(slot) {
            Ok(()) => self.slots.put(slot),
            // The slot is lost, which costs one rule of the quarantine's room.
            Err(error) => log::error!("{}: clearing its counters: {error}", active.rule.name),
        }
    }
}
