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

use crate::{
    config::Profile,
    forward::{
        counters::WorkerCounters,
        mailbox::{Command, Post, mailbox},
        worker::Worker,
    },
    kernel::grace,
    xsk::{anchor::anchored, port::Port, umem::Memory},
};

/// How long a worker may take to answer: only one that the scheduler starves for this long does not.
const PATIENCE: Duration = Duration::from_secs(2);

/// Frames that a worker holds in its hands: its largest batch, and copies of it.
pub const IN_HAND: u32 = 1024;

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

/// How a fleet is made.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Workers.
    pub workers: u32,
    /// Frames of each.
    pub frames: u32,
    /// Bytes of a frame.
    pub frame_size: u32,
    /// Whether the sockets will be zero-copy.
    pub zero_copy: bool,
    /// How workers wait.
    pub profile: Profile,
}

/// One worker, seen from the control side.
#[derive(Debug)]
pub struct Handle {
    /// Its mailbox.
    pub post: Post,
    /// Its UMEM.
    pub memory: Arc<Memory>,
    /// Its counters.
    pub counters: Arc<WorkerCounters>,
    /// The CPU it is bound to.
    pub cpu: Option<u32>,
    /// Frames that no socket has been promised.
    pub unpromised: u32,
    /// Ingress queues that it serves.
    pub rx_queues: std::collections::BTreeSet<u32>,
    /// Sockets that it has.
    pub sockets: u32,
    thread: Option<JoinHandle<Vec<Port>>>,
    _anchor: Option<Port>,
}

/// All workers.
#[derive(Debug)]
pub struct Fleet {
    /// Each worker, by its number.
    pub handles: Vec<Handle>,
    /// How it was made.
    pub plan: Plan,
}

impl Fleet {
    /// Starts the workers, without sockets.
    pub fn start(plan: Plan) -> anyhow::Result<Self> {
        let handles = (0..plan.workers).map(|id| start_worker(id, &plan)).collect::<anyhow::Result<_>>()?;
        Ok(Self { handles, plan })
    }

    /// Waits until every packet that the kernel has steered by now, and not lost, has been handled; whether that was so in time.
    pub fn settle(posts: &[Post]) -> bool {
        grace::wait_for_programs();
        let (done, answers) = channel();
        for post in posts {
            post.send(Command::Barrier { done: done.clone() });
        }
        drop(done);
        wait_for(&answers, posts.len())
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

/// Waits for `count` answers; says so where one does not come in time.
pub fn wait_for(answers: &Receiver<()>, count: usize) -> bool {
    let all = (0..count).all(|_| answers.recv_timeout(PATIENCE).is_ok());
    if !all {
        log::warn!("a worker did not answer within {} s", PATIENCE.as_secs());
    }
    all
}

/// A channel whose sender is cloned for each who answers.
pub fn answers() -> (Sender<()>, Receiver<()>) {
    channel()
}

fn start_worker(id: u32, plan: &Plan) -> anyhow::Result<Handle> {
    let (memory, pool, anchor) = match plan.zero_copy {
        // The first user interface holds the UMEM: a zero-copy socket can only share one that began so.
        true => {
            let (memory, pool) = Memory::new(plan.frames, plan.frame_size)?;
            (memory, pool, None)
        }
        false => {
            let made = anchored(plan.frames, plan.frame_size)?;
            (made.memory, made.pool, Some(made.anchor))
        }
    };
    let (memory, counters) = (Arc::new(memory), Arc::new(WorkerCounters::default()));
    let (post, mailbox) = mailbox().context("making a worker's mailbox")?;
    let worker = Worker::new(id, memory.clone(), pool, counters.clone(), mailbox);
    let profile = plan.profile;
    let cpu = (profile == Profile::LowLatency).then(|| cpu_for(id)).flatten();
    let thread = thread::Builder::new().name(format!("mcr-worker-{id}")).spawn(move || {
        if let Some(cpu) = cpu
            && let Err(error) = bind_to_cpu(cpu)
        {
            log::warn!("worker {id} stays unbound: CPU {cpu}: {error}");
        }
        let _alarm = Alarm(id);
        worker.run(profile)
    })?;
    Ok(Handle {
        post,
        memory,
        counters,
        cpu,
        unpromised: plan.frames.saturating_sub(IN_HAND),
        rx_queues: Default::default(),
        sockets: 0,
        thread: Some(thread),
        _anchor: anchor,
    })
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
