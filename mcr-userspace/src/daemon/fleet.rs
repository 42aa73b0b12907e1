//! The workers: made with the first interface, as many as were fixed at start.

use std::{
    io,
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
    fit::Plan,
    run::give_memory_back,
    sockets::Promise,
    stock::Stock,
};
use crate::{
    config::Profile,
    forward::{
        counters::WorkerCounters,
        mailbox::{Command, Post, mailbox},
        worker::Worker,
    },
    kernel::grace,
    xsk::port::Port,
};

/// How long a worker may take to answer: only one that the scheduler starves for this long does not.
const PATIENCE: Duration = Duration::from_secs(2);

/// The workers' nice value.
const NICE: libc::c_int = -20;

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
    /// The CPU it is bound to.
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
}

impl Fleet {
    /// Starts the workers, without memory and sockets.
    pub fn start(plan: Plan) -> anyhow::Result<Self> {
        let handles = (0..plan.workers).map(|id| start_worker(id, &plan)).collect::<anyhow::Result<_>>()?;
        Ok(Self { handles, stocks: Vec::new(), plan, known: None, enough: 0 })
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
                give_memory_back();
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

fn start_worker(id: u32, plan: &Plan) -> anyhow::Result<Handle> {
    let counters = Arc::new(WorkerCounters::default());
    let (post, mailbox) = mailbox().context("making a worker's mailbox")?;
    let worker = Worker::new(id, counters.clone(), mailbox);
    let profile = plan.profile;
    let cpu = (profile == Profile::LowLatency).then(|| cpu_for(id)).flatten();
    let thread = thread::Builder::new().name(format!("mcr-worker-{id}")).spawn(move || {
        if let Some(cpu) = cpu
            && let Err(error) = bind_to_cpu(cpu)
        {
            log::warn!("worker {id} stays unbound: CPU {cpu}: {error}");
        }
        let _alarm = Alarm(id);
        prefer();
        worker.run(profile)
    })?;
    Ok(Handle { post, counters, cpu, thread: Some(thread) })
}

/// CPUs that this process may run on.
pub fn allowed_cpus() -> Vec<u32> {
    // SAFETY: all zero is an empty set, and the kernel fills at most its size.
    let set = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set);
        set
    };
    // SAFETY: the indices are within the set.
    (0..libc::CPU_SETSIZE as u32).filter(|&cpu| unsafe { libc::CPU_ISSET(cpu as usize, &set) }).collect()
}

/// A spinning worker's CPU: from the last one down, since the first ones serve most interrupts.
fn cpu_for(id: u32) -> Option<u32> {
    let cpus = allowed_cpus();
    cpus.len().checked_sub(1 + id as usize).map(|at| cpus[at])
}

/// Lets the calling worker run before other programs: what it does not fetch in time is lost, what they do is only late.
fn prefer() {
    // SAFETY: takes integers; 0 is the calling thread.
    if unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) } != 0 {
        log::debug!("nice {NICE} for a worker: {}", io::Error::last_os_error());
    }
}

fn bind_to_cpu(cpu: u32) -> io::Result<()> {
    // SAFETY: all zero is an empty set; the index comes from such a set.
    let result = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu as usize, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set)
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
