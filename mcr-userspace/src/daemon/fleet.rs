//! The workers: made with the first interface, as many as were fixed at start.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
        mpsc::{Receiver, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::Context;

use super::{
    budget::{Budget, Known},
    cpus::{Cpus, Seats},
    fit::Plan,
    sockets::Promise,
    stock::Stock,
};
use crate::{
    config::{CpuReserve, Profile},
    forward::{
        counters::WorkerCounters,
        mailbox::{Command, Post, mailbox},
        worker::Worker,
    },
    kernel::{grace, sched},
    xsk::port::Port,
};

/// How long a worker may take to answer: only one that the scheduler starves for this long does not.
const PATIENCE: Duration = Duration::from_secs(2);

/// The nice value of a worker that sleeps in between.
const FIRST: i32 = -20;

/// Ends the daemon when a worker panics: it could not keep running, and says so with its exit code.
struct Alarm(u32);

/// Set when a worker has ended in a panic.
pub static FAILED: AtomicBool = AtomicBool::new(false);

impl Drop for Alarm {
    fn drop(&mut self) {
        if thread::panicking() {
            log::error!("worker {} ended in a panic: mcrd stops; please report the message above", self.0);
            FAILED.store(true, SeqCst);
            // The main thread waits for signals.
            if let Err(error) = signal_hook::low_level::raise(signal_hook::consts::SIGTERM) {
                log::error!("SIGTERM to self: {error}");
            }
        }
    }
}

/// One worker, seen from the control side.
#[derive(Debug)]
pub struct Handle {
    /// Its mailbox.
    pub post: Post,
    /// Its counters.
    pub counters: Arc<WorkerCounters>,
    /// The CPU it is bound to, and spins on; `None`: it waits as in `efficient`.
    pub cpu: Option<u32>,
    thread: Option<JoinHandle<Vec<Port>>>,
}

/// All workers.
#[derive(Debug)]
pub struct Fleet {
    /// Each worker, by its number.
    pub handles: Vec<Handle>,
    /// Their memory, by number.
    stocks: Vec<Option<Stock>>,
    /// How it was made.
    pub plan: Plan,
    /// What is known of interfaces while the daemon starts; later each gets a part of what is left.
    pub known: Option<Known>,
    /// The limit that is enough for all interfaces that were known when the daemon started.
    pub enough: u32,
    /// Why not all workers spin that should, in one line.
    pub warning: Option<String>,
}

impl Fleet {
    /// Starts the workers, without memory and sockets.
    pub fn start(plan: Plan) -> anyhow::Result<Self> {
        let cpus = Cpus::ask().context("asking which CPUs mcrd may run on")?;
        let Seats { spinning, rest, warning } = cpus.seats(plan.profile, plan.workers);
        if !spinning.is_empty() {
            // A spinning worker's CPU is no place for a thread that others wait for.
            sched::bind_all(&rest).with_context(|| format!("binding mcrd to CPUs {rest:?}"))?;
        }
        let mut fleet = Self { handles: Vec::new(), stocks: Vec::new(), plan, known: None, enough: 0, warning };
        for id in 0..plan.workers {
            fleet.handles.push(start_worker(id, spinning.get(id as usize).copied(), plan.reserve)?);
        }
        log::info!(
            "workers: {}, of which {} spin; {} of each one's CPU is left to others that want it",
            plan.workers,
            fleet.spinning(),
            plan.reserve
        );
        fleet.warning.iter().for_each(|warning| log::warn!("{warning}"));
        Ok(fleet)
    }

    /// How many workers spin.
    pub fn spinning(&self) -> usize {
        self.handles.iter().filter(|handle| handle.cpu.is_some()).count()
    }

    /// Waits until every packet that the kernel has steered by now, and not lost, has been handled; whether that was so in time.
    pub fn settle(posts: &[Post]) -> bool {
        grace::wait_for_programs();
        ask(posts, |done| Command::Barrier { done }).len() == posts.len()
    }

    /// Gives each worker a command, and waits for their answers; those that came.
    pub fn ask<T>(&self, command: impl Fn(Sender<T>) -> Command) -> Vec<T> {
        ask(self.handles.iter().map(|handle| &handle.post), command)
    }

    /// The frames that each worker has and may have.
    pub fn budget(&self) -> Budget {
        let used = self.stocks.iter().flatten().map(Stock::units).fold(0, u32::saturating_add);
        Budget { limit: self.plan.frames_limit, used }
    }

    /// The stock of this number.
    pub fn stock(&self, number: usize) -> Option<&Stock> {
        self.stocks.get(number)?.as_ref()
    }

    /// The stock of this number.
    pub fn stock_mut(&mut self, number: usize) -> Option<&mut Stock> {
        self.stocks.get_mut(number)?.as_mut()
    }

    /// The newest stock for sockets of this kind of which each worker's part has so many frames left.
    pub fn stock_with(&self, zero_copy: bool, frame_size: u32, needs: &[u32]) -> Option<usize> {
        let fits = |stock: &Stock| stock.takes(zero_copy, frame_size) && stock.has(needs);
        self.stocks.iter().rposition(|stock| stock.as_ref().is_some_and(fits))
    }

    /// Why an interface of this kind and with frames of this size shares no stock that there is; `None` where there is none.
    pub fn why_another(&self, zero_copy: bool, frame_size: u32) -> Option<&'static str> {
        let alike: Vec<&Stock> = self.stocks.iter().flatten().filter(|stock| stock.zero_copy == zero_copy).collect();
        if alike.is_empty() {
            let none_alike = "none may be both zero-copy and copied";
            return self.stocks.iter().any(Option::is_some).then_some(none_alike);
        }
        Some(if alike.iter().any(|stock| stock.takes(zero_copy, frame_size)) {
            "those that there are have no room left"
        } else if alike.iter().all(|stock| stock.frame_size != frame_size) {
            "they are of another size"
        } else {
            "the interface that held the others' is gone"
        })
    }

    /// The number for a new stock.
    pub fn next_stock(&self) -> usize {
        self.stocks.iter().position(Option::is_none).unwrap_or(self.stocks.len())
    }

    /// Gives each worker its part of a new stock, which has this number.
    pub fn add_stock(&mut self, number: usize, mut stock: Stock) {
        for (handle, share) in self.handles.iter().zip(&mut stock.shares) {
            if let Some(pool) = share.pool.take() {
                handle.post.send(Command::Memory { memory: share.memory.clone(), pool });
            }
        }
        match self.stocks.get_mut(number) {
            Some(free) => *free = Some(stock),
            None => self.stocks.push(Some(stock)),
        }
    }

    /// Sockets of interface `ifindex` are closed, and their frames are back: they may be promised to others.
    pub fn take_back(&mut self, ifindex: u32, promises: &[Promise]) {
        for promise in promises {
            let Some(stock) = self.stock_mut(promise.stock) else { continue };
            let share = &mut stock.shares[promise.worker];
            share.unpromised += promise.rx + promise.tx;
            share.released(ifindex, promise.sockets);
            // The first socket held it.
            stock.is_open &= !(stock.zero_copy && share.is_unused());
        }
        self.drop_unused();
    }

    /// Gives the memory back in which no interface has a socket any more.
    fn drop_unused(&mut self) {
        for number in 0..self.stocks.len() {
            if self.stock(number).is_none_or(|stock| !stock.is_unused()) {
                continue;
            }
            let forgotten = self.ask(|done| Command::Forget { number, done });
            // A worker that did not answer may still reach into it.
            if forgotten.len() == self.handles.len() {
                self.stocks[number] = None;
                // What describes the frames takes memory too, at the workers.
                crate::memory::give_back();
            }
        }
    }

    /// Whether an interface may be released without taking the memory of others along.
    pub fn may_release(&self, ifindex: u32) -> bool {
        self.stocks.iter().flatten().all(|stock| stock.may_release(ifindex))
    }

    /// Frames of each worker.
    pub fn frames(&self) -> u64 {
        self.stocks.iter().flatten().map(|stock| u64::from(stock.frames)).sum()
    }

    /// Every worker's mailbox.
    pub fn posts(&self) -> Vec<Post> {
        self.handles.iter().map(|handle| handle.post.clone()).collect()
    }

    /// Lets every worker handle what it has received, and waits for their end; the sockets, to be closed after the program is detached.
    pub fn stop(&mut self) -> Vec<Port> {
        for handle in &self.handles {
            handle.post.send(Command::Stop);
        }
        let threads = self.handles.iter_mut().filter_map(|handle| handle.thread.take());
        // A panic has been said by the thread itself.
        threads.filter_map(|thread| thread.join().ok()).flatten().collect()
    }
}

/// As [`Fleet::ask`], by their mailboxes.
fn ask<'a, T>(posts: impl IntoIterator<Item = &'a Post>, command: impl Fn(Sender<T>) -> Command) -> Vec<T> {
    let (done, answers) = answers();
    let asked = posts.into_iter().map(|post| post.send(command(done.clone()))).count();
    drop(done);
    collect(&answers, asked)
}

/// Waits for `count` answers; says so where one does not come in time, and returns those that came.
fn collect<T>(answers: &Receiver<T>, count: usize) -> Vec<T> {
    let all: Vec<T> = (0..count).map_while(|_| answers.recv_timeout(PATIENCE).ok()).collect();
    if all.len() < count {
        log::warn!("a worker did not answer within {} s", PATIENCE.as_secs());
    }
    all
}

/// Waits for `count` answers; whether all came in time.
pub fn wait_for(answers: &Receiver<()>, count: usize) -> bool {
    collect(answers, count).len() == count
}

/// A channel whose sender is cloned for each who answers.
pub fn answers<T>() -> (Sender<T>, Receiver<T>) {
    channel()
}

/// Starts worker `id`, which spins on `cpu`, or waits as in `efficient` where there is none.
fn start_worker(id: u32, cpu: Option<u32>, reserve: CpuReserve) -> anyhow::Result<Handle> {
    let counters = Arc::new(WorkerCounters::default());
    let (post, mailbox) = mailbox().context("making a worker's mailbox")?;
    let worker = Worker::new(id, counters.clone(), mailbox);
    let (tell, told) = answers();
    let thread = thread::Builder::new().name(format!("mcr-worker-{id}")).spawn(move || {
        let _alarm = Alarm(id);
        let cpu = cpu.filter(|cpu| is_bound(*cpu));
        let (profile, nice) = match cpu {
            Some(_) => (Profile::LowLatency, sched::nice_that_leaves(reserve.share())),
            None => (Profile::Efficient, FIRST),
        };
        prefer(nice);
        // Whoever started it waits.
        let _ = tell.send(cpu);
        worker.run(profile, reserve.share())
    })?;
    let cpu = told.recv().context("a worker ended at its start")?;
    Ok(Handle { post, counters, cpu, thread: Some(thread) })
}

/// Binds the calling worker to a CPU; whether it is then.
fn is_bound(cpu: u32) -> bool {
    sched::bind(&[cpu])
        .inspect_err(|error| log::warn!("a worker does not spin: binding it to CPU {cpu}: {error}"))
        .is_ok()
}

/// Lets the calling worker run before other programs: what it does not fetch in time is lost, what they do is only late.
fn prefer(nice: i32) {
    // Whoever starts mcrd with a lower one wants that.
    let set = sched::nice().and_then(|own| if nice < own { sched::set_nice(nice) } else { Ok(()) });
    if let Err(error) = set {
        log::warn!("a worker does not run before other programs: nice {nice}: {error}; give mcrd CAP_SYS_NICE");
    }
}
