//! A worker: one thread, UMEMs of its own, its share of every ingress queue.

use std::{
    sync::{Arc, mpsc::Sender},
    time::{Duration, Instant},
};

use super::{
    capture::Taps,
    counters::WorkerCounters,
    depth::Depth,
    desk::Desk,
    egress::Egress,
    mailbox::{Attach, Command, HOLDS, Mailbox},
    passage::{self, Bound, Ingress, Interface, Outlets},
    rule::InterfaceId,
    store::Stores,
    table::Table,
    wait::{self, Wait, Waiter},
};
use crate::{
    config::Profile,
    xsk::{
        frame::Frame,
        port::{Link, Port},
    },
};

/// How often an interface that is down is asked again.
const PROBE_EVERY: Duration = Duration::from_millis(10);
/// Packets whose memory is fetched ahead together: each is a few cache lines, and no more than these are on their way at once.
const AHEAD: usize = 16;
/// So many packets take a while. Where there are fewer, they are sent before anything else is done.
const MANY: usize = 64;
/// How long the end waits for frames under way.
const DRAIN_PATIENCE: Duration = Duration::from_millis(500);

/// A request to say when what waited has been handled.
#[derive(Debug)]
struct Barrier {
    /// For each socket, the count of packets to reach.
    until: Vec<u64>,
    done: Sender<()>,
}

/// Everything that a worker's thread owns.
pub struct Worker {
    /// Number of the worker, and of the egress queue that it sends on.
    id: u32,
    stores: Stores,
    table: Table,
    bound: Vec<Bound>,
    /// By number.
    interfaces: Vec<Option<Interface>>,
    counters: Arc<WorkerCounters>,
    mailbox: Mailbox,
    barriers: Vec<Barrier>,
    /// What has to wait until no packet is in hand: it changes what sockets and interfaces there are.
    deferred: Vec<Command>,
    /// Sockets that were given back, until their frames are: interface, UMEM and number of each.
    closing: Vec<(InterfaceId, u8, u16)>,
    /// Captures under way; `None`, so that a packet costs one test more, while there are none.
    taps: Option<Box<Taps>>,
    stopping: bool,
    batch: Vec<Frame>,
}

impl Worker {
    /// A worker with no memory and no sockets: both come by mail.
    pub fn new(id: u32, counters: Arc<WorkerCounters>, mailbox: Mailbox) -> Self {
        Self {
            id,
            stores: Stores::default(),
            table: Table::default(),
            bound: Vec::new(),
            interfaces: Vec::new(),
            counters,
            mailbox,
            barriers: Vec::new(),
            deferred: Vec::new(),
            closing: Vec::new(),
            taps: None,
            stopping: false,
            batch: Vec::new(),
        }
    }

    /// Runs until it is stopped, as [`Waiter`] says between batches. Its sockets come back: they are to be closed once the program is detached.
    pub fn run(mut self, profile: Profile, reserve: f64) -> Vec<Port> {
        wait::be_exact();
        let mut waiter = Waiter::new(profile, reserve, Instant::now());
        let mut set = Vec::new();
        let mut probed = Instant::now();
        loop {
            let handled = self.round();
            if self.stopping && handled == 0 {
                break;
            }
            let down = egresses(&mut self.interfaces).any(|egress| egress.link == Link::Down);
            if down && probed.elapsed() >= PROBE_EVERY {
                probed = Instant::now();
                self.probe();
            }
            let wait = waiter.after(handled, Instant::now);
            if let Wait::Nap(time) = wait {
                let began = Instant::now();
                wait::nap(time);
                waiter.napped(time, began.elapsed());
            } else if let Wait::GiveWay(time) = wait {
                wait::nap(time);
            } else if wait == Wait::Sleep {
                let sending = self.bound.iter().any(|bound| bound.port.sending() > 0);
                let timeout = if sending {
                    1
                } else if down {
                    PROBE_EVERY.as_millis() as i32
                } else {
                    -1
                };
                // A socket with something to send is left out: poll would send it, and keep what the kernel says to itself.
                let fds = self.bound.iter().filter(|bound| bound.port.sending() == 0).map(|bound| bound.port.fd());
                wait::sleep([self.mailbox.fd()].into_iter().chain(fds), &mut set, timeout);
                if set.first().is_some_and(|mailbox| mailbox.revents != 0) {
                    self.mailbox.clear();
                }
            }
        }
        self.drain();
        self.bound.into_iter().map(|bound| bound.port).collect()
    }

    /// Each ring once; the packets handled.
    fn round(&mut self) -> usize {
        let mut handled = 0;
        let mut batch = std::mem::take(&mut self.batch);
        for at in 0..self.bound.len() {
            let n = self.receive(at, &mut batch);
            if n == 0 {
                self.bound[at].port.poll_driver();
                continue;
            }
            let interface = self.bound[at].interface;
            handled += n;
            if n >= MANY || self.bound[at].depth.is_cut() {
                // The kernel is not to run out of frames meanwhile.
                self.bound[at].refill(&mut self.stores);
            }
            // After the packets were taken: see `mailbox`.
            self.read_mail();
            self.forward(interface, &mut batch);
        }
        self.batch = batch;
        self.flush();
        for bound in &mut self.bound {
            let waiting = bound.port.waiting();
            bound.depth.measure(bound.received, waiting, Instant::now);
            bound.refill(&mut self.stores);
        }
        self.read_mail();
        self.catch_up();
        self.table.sweep();
        self.answer_barriers();
        self.counters.frames_free.set(self.stores.free());
        handled
    }

    /// Takes packets from socket number `at`; how many.
    #[inline]
    fn receive(&mut self, at: usize, batch: &mut Vec<Frame>) -> usize {
        let bound = &mut self.bound[at];
        let n = bound.port.receive(batch);
        bound.received += n as u64;
        self.counters.rx_packets.add(n as u64);
        n
    }

    /// What came in on an interface, to all of its outputs.
    fn forward(&mut self, interface: usize, batch: &mut Vec<Frame>) {
        let Self { stores, table, bound, interfaces, counters, taps, .. } = self;
        let desk = &mut Desk { stores, table, counters, taps: taps.as_deref_mut() };
        let Some(Some(Interface { ingress, .. })) = interfaces.get(interface) else {
            return batch.drain(..).for_each(|frame| desk.stores.put(frame));
        };
        let ingress: Ingress = *ingress;
        let outlets = &mut Outlets { interfaces, bound };
        desk.tick();
        let mut frames = batch.drain(..);
        loop {
            let ahead = frames.as_slice().len().min(AHEAD);
            if ahead == 0 {
                break;
            }
            passage::fetch(desk, &frames.as_slice()[..ahead]);
            for _ in 0..ahead {
                // A merged packet may have taken some.
                let Some(frame) = frames.next() else { break };
                passage::forward(desk, outlets, ingress, frame, &mut frames);
            }
        }
    }

    /// Sends what is lined up, takes in what is done.
    fn flush(&mut self) {
        let Self { stores, table, bound, interfaces, counters, taps, .. } = self;
        let desk = &mut Desk { stores, table, counters, taps: taps.as_deref_mut() };
        for egress in egresses(interfaces) {
            egress.flush(&mut bound[egress.port].port, desk);
        }
    }

    /// Asks the interfaces that are down whether they still are.
    fn probe(&mut self) {
        for egress in egresses(&mut self.interfaces) {
            if egress.link == Link::Down {
                egress.link = self.bound[egress.port].port.probe();
            }
        }
    }

    /// Applies the commands that have come, as many as the mailbox holds: while others follow, packets go on.
    #[inline]
    fn read_mail(&mut self) {
        for _ in 0..HOLDS {
            let Some(command) = self.mailbox.next() else { break };
            self.apply(command);
        }
    }

    fn apply(&mut self, command: Command) {
        match command {
            Command::Memory { memory, pool } => self.stores.add(memory, pool),
            Command::Forget { number, done } => {
                self.stores.forget(number);
                // Whoever waited may have given up.
                let _ = done.send(());
            }
            Command::Attach(attach) => self.attach(attach),
            Command::Update { id, facts } => {
                if let Some(Some(Interface { egress: Some(egress), .. })) = self.interfaces.get_mut(id) {
                    egress.learn(facts);
                }
            }
            Command::Sources { id, sources } => {
                if let Some(Some(Interface { egress: Some(egress), .. })) = self.interfaces.get_mut(id) {
                    egress.facts.sources = sources;
                }
            }
            Command::Install { slot, matcher, rule, counters } => {
                if let Some(taps) = &mut self.taps {
                    taps.forget(slot);
                }
                self.table.install(slot, matcher, rule, counters);
            }
            Command::Remove { slot, done } => self.table.remove(slot, done),
            Command::Barrier { done } => {
                let until =
                    self.bound.iter_mut().map(|bound| bound.received + u64::from(bound.port.waiting())).collect();
                self.barriers.push(Barrier { until, done });
            }
            Command::Capture { tap, done } => {
                self.taps.get_or_insert_default().add(tap);
                // Whoever waited may have given up.
                let _ = done.send(());
            }
            Command::Follow { capture, slot, followed } => {
                if let Some(taps) = &mut self.taps {
                    taps.follow(capture, slot, followed);
                }
            }
            Command::Detach { .. }
            | Command::Reclaim { .. }
            | Command::Renumber { .. }
            | Command::EndCapture { .. } => self.deferred.push(command),
            Command::Stop => self.stopping = true,
        }
    }

    fn attach(&mut self, Attach { id, ifindex, facts, partial_checksums, fill, ports, done }: Attach) {
        for bound in self.bound.iter_mut().filter(|bound| bound.interface == id) {
            bound.port.raise_fill(fill);
        }
        for (queue, mut port) in ports {
            port.set_number(self.free_number());
            let mut bound = Bound { port, interface: id, queue, received: 0, depth: Depth::default() };
            bound.refill(&mut self.stores);
            self.bound.push(bound);
        }
        let own = self.bound.iter().position(|bound| bound.interface == id && bound.queue == self.id);
        let ingress = Ingress { ifindex, partial_checksums };
        let interface = place(&mut self.interfaces, id).get_or_insert(Interface { ingress, egress: None });
        match &mut interface.egress {
            // It has frames lined up.
            Some(egress) => egress.learn(facts),
            none => *none = own.map(|port| Egress::new(facts, port)),
        }
        // Whoever waited may have given up.
        let _ = done.send(());
    }

    /// A number that none of the sockets has.
    fn free_number(&self) -> u16 {
        let bound = self.bound.iter().map(|bound| bound.port.number());
        let taken: Vec<u16> = bound.chain(self.closing.iter().map(|(.., number)| *number)).collect();
        (0..=u16::MAX).find(|number| !taken.contains(number)).unwrap_or_default()
    }

    /// Does what had to wait until no packet was in hand.
    fn catch_up(&mut self) {
        for command in std::mem::take(&mut self.deferred) {
            match command {
                // Whoever waited may have given up.
                Command::Detach { id, done } => drop(done.send(self.detach(id))),
                Command::Reclaim { id, done } => {
                    self.reclaim(id);
                    let _ = done.send(());
                }
                Command::Renumber { moves, done } => {
                    self.renumber(&moves);
                    let _ = done.send(());
                }
                Command::EndCapture { capture, done } => {
                    if self.taps.as_mut().is_some_and(|taps| !taps.end(capture)) {
                        self.taps = None;
                    }
                    let _ = done.send(());
                }
                other => self.apply(other),
            }
        }
    }

    /// Lets go of an interface. What it has received is still forwarded; what is in its rings is the kernel's until they are closed.
    fn detach(&mut self, id: InterfaceId) -> Vec<Port> {
        let mut batch = std::mem::take(&mut self.batch);
        for at in 0..self.bound.len() {
            while self.bound[at].interface == id && self.receive(at, &mut batch) > 0 {
                self.forward(id, &mut batch);
            }
        }
        self.batch = batch;
        let Self { stores, table, bound, interfaces, counters, taps, .. } = self;
        let desk = &mut Desk { stores, table, counters, taps: taps.as_deref_mut() };
        if let Some(Interface { egress: Some(mut egress), .. }) = interfaces.get_mut(id).and_then(Option::take) {
            egress.close(&mut bound[egress.port].port, desk);
        }
        let mut ports = Vec::new();
        for at in (0..self.bound.len()).rev() {
            if self.bound[at].interface != id {
                continue;
            }
            let Bound { port, .. } = self.bound.remove(at);
            self.barriers.iter_mut().filter(|barrier| at < barrier.until.len()).for_each(|barrier| {
                barrier.until.remove(at);
            });
            egresses(&mut self.interfaces).filter(|egress| egress.port > at).for_each(|egress| egress.port -= 1);
            self.closing.push((id, port.memory(), port.number()));
            ports.push(port);
        }
        ports
    }

    /// Takes back what was in the rings of an interface's sockets, which are closed.
    fn reclaim(&mut self, id: InterfaceId) {
        let Self { stores, table, counters, closing, taps, .. } = self;
        let desk = &mut Desk { stores, table, counters, taps: taps.as_deref_mut() };
        closing.retain(|(interface, memory, number)| {
            if *interface == id {
                desk.reclaim(*memory, *number);
            }
            *interface != id
        });
    }

    /// Gives interfaces other numbers.
    fn renumber(&mut self, moves: &[(InterfaceId, InterfaceId)]) {
        let taken: Vec<Option<Interface>> =
            moves.iter().map(|(from, _)| self.interfaces.get_mut(*from).and_then(Option::take)).collect();
        for bound in &mut self.bound {
            if let Some((_, to)) = moves.iter().find(|(from, _)| *from == bound.interface) {
                bound.interface = *to;
            }
        }
        for ((_, to), interface) in moves.iter().zip(taken) {
            *place(&mut self.interfaces, *to) = interface;
        }
    }

    /// Tells those whose packets have all been handled.
    fn answer_barriers(&mut self) {
        let bound = &self.bound;
        self.barriers.retain(|barrier| {
            let reached = barrier.until.iter().zip(bound).all(|(until, bound)| bound.received >= *until);
            if reached {
                // Whoever waited may have given up.
                let _ = barrier.done.send(());
            }
            !reached
        });
    }

    /// At the end: waits for what is under way, counts what never comes back, and checks that no frame was lost.
    fn drain(&mut self) {
        let deadline = Instant::now() + DRAIN_PATIENCE;
        while self.bound.iter().any(|bound| bound.port.sending() > 0) && Instant::now() < deadline {
            self.flush();
            std::thread::sleep(Duration::from_micros(200));
        }
        let Self { stores, table, interfaces, counters, taps, .. } = self;
        let desk = &mut Desk { stores, table, counters, taps: taps.as_deref_mut() };
        egresses(interfaces).for_each(|egress| egress.abandon(desk));
        desk.abandon();
        self.counters.frames_free.set(self.stores.free());
        let in_rings: u32 = self.bound.iter().map(|bound| bound.port.frames()).sum();
        let (found, total) = (self.stores.free() + u64::from(in_rings), self.stores.frames());
        if found != total {
            log::error!("worker {}: {found} of {total} frames are accounted for; please report this", self.id);
        }
    }
}

/// The place of interface `id`.
fn place(interfaces: &mut Vec<Option<Interface>>, id: InterfaceId) -> &mut Option<Interface> {
    if interfaces.len() <= id {
        interfaces.resize_with(id + 1, || None);
    }
    &mut interfaces[id]
}

/// The egresses of all interfaces that have one.
fn egresses(interfaces: &mut [Option<Interface>]) -> impl Iterator<Item = &mut Egress> {
    interfaces.iter_mut().flatten().filter_map(|interface| interface.egress.as_mut())
}
