//! A worker: one thread, one UMEM, its share of every ingress queue.

use std::{
    collections::BTreeMap,
    sync::{Arc, mpsc::Sender},
    time::{Duration, Instant},
};

use mcr_common::{
    counter::{OutputDrop, RuleDrop},
    parse::{Parsed, parse},
};

use super::{
    counters::WorkerCounters,
    egress::{Desk, Egress, Flight, Flights},
    mailbox::{Attach, Command, Mailbox},
    plan::{Rewrite, plan},
    rewrite::rewrite,
    rule::InterfaceId,
    table::Table,
    validate::{complete_checksum, end_of_packet},
    wait::{Wait, Waiter, sleep},
};
use crate::{
    config::Profile,
    xsk::{
        frame::{Frame, Pool},
        port::{Link, Port},
        umem::Memory,
    },
};

/// Frames lined up for an egress before they are sent, however large the batch that came in.
const EGRESS_BATCH: usize = 256;
/// How often an interface that is down is asked again.
const PROBE_EVERY: Duration = Duration::from_millis(10);
/// How long the end waits for frames under way.
const DRAIN_PATIENCE: Duration = Duration::from_millis(500);

/// A socket and where it is.
#[derive(Debug)]
struct Bound {
    port: Port,
    interface: InterfaceId,
    queue: u32,
    /// Packets received over it, to tell when those of a moment have been.
    received: u64,
}

/// An interface of the worker's.
#[derive(Debug)]
struct Interface {
    ifindex: u32,
    partial_checksums: bool,
    egress: Option<Egress>,
}

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
    memory: Arc<Memory>,
    pool: Pool,
    flights: Flights,
    table: Table,
    bound: Vec<Bound>,
    interfaces: BTreeMap<InterfaceId, Interface>,
    counters: Arc<WorkerCounters>,
    mailbox: Mailbox,
    barriers: Vec<Barrier>,
    stopping: bool,
    batch: Vec<Frame>,
}

impl Worker {
    /// A worker with a fresh UMEM and no sockets.
    pub fn new(id: u32, memory: Arc<Memory>, pool: Pool, counters: Arc<WorkerCounters>, mailbox: Mailbox) -> Self {
        let flights = vec![Flight::default(); memory.frames() as usize].into();
        counters.frames_free.set(pool.len() as u64);
        Self {
            id,
            memory,
            pool,
            flights,
            table: Table::default(),
            bound: Vec::new(),
            interfaces: BTreeMap::new(),
            counters,
            mailbox,
            barriers: Vec::new(),
            stopping: false,
            batch: Vec::new(),
        }
    }

    /// Runs until it is stopped. Its sockets come back: they are to be closed once the program is detached.
    pub fn run(mut self, profile: Profile) -> Vec<Port> {
        let mut waiter = Waiter::new(profile);
        let mut set = Vec::new();
        let mut probed = Instant::now();
        loop {
            let handled = self.round();
            if self.stopping && handled == 0 {
                break;
            }
            let down = self.interfaces.values().filter_map(|i| i.egress.as_ref()).any(|e| e.link == Link::Down);
            if down && probed.elapsed() >= PROBE_EVERY {
                probed = Instant::now();
                self.probe();
            }
            if waiter.after(handled) == Wait::Sleep {
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
                sleep(fds.chain([self.mailbox.fd()]), &mut set, timeout);
                self.mailbox.clear();
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
            let bound = &mut self.bound[at];
            let n = bound.port.receive(&mut batch);
            if n == 0 {
                bound.port.refill(&mut self.pool);
                continue;
            }
            bound.received += n as u64;
            let interface = bound.interface;
            handled += n;
            self.counters.rx_packets.add(n as u64);
            // After the packets were taken: see `mailbox`.
            self.read_mail();
            for frame in batch.drain(..) {
                self.forward(interface, frame);
            }
            self.bound[at].port.refill(&mut self.pool);
        }
        self.batch = batch;
        self.read_mail();
        self.flush();
        self.answer_barriers();
        self.counters.frames_free.set(self.pool.len() as u64);
        handled
    }

    /// One received packet, to all of its outputs.
    fn forward(&mut self, interface: InterfaceId, mut frame: Frame) {
        let Some(Interface { ifindex, partial_checksums, .. }) = self.interfaces.get(&interface) else {
            return self.pool.put(frame);
        };
        let (ifindex, partial_checksums) = (*ifindex, *partial_checksums);
        let hint = frame.take_slot(&self.memory);
        let datagram = match parse(frame.bytes(&self.memory)) {
            Parsed::Datagram(datagram) => Some(datagram),
            Parsed::Fragment(_) | Parsed::Other => None,
        };
        // The kernel's word where it came along; its lookup, repeated here, where the driver carries no metadata.
        let slot = hint.or_else(|| self.table.find(ifindex, datagram.as_ref()?));
        let entry = slot.and_then(|slot| self.table.get(slot).map(|entry| (slot, entry)));
        let Some((slot, rule, counters)) =
            entry.map(|(slot, entry)| (slot, entry.rule.clone(), entry.counters.clone()))
        else {
            self.counters.orphans.add(1);
            return self.pool.put(frame);
        };
        // What the kernel counted for this slot has arrived, whatever becomes of it here.
        counters.received.add(1);
        let Some(datagram) = datagram.filter(|datagram| rule.covers(ifindex, datagram)) else {
            counters.dropped[RuleDrop::RuleGone as usize].add(1);
            return self.pool.put(frame);
        };
        let Some(end) = end_of_packet(frame.bytes(&self.memory), &datagram) else {
            counters.dropped[RuleDrop::Malformed as usize].add(1);
            return self.pool.put(frame);
        };
        frame.set_len(&self.memory, end);
        if partial_checksums {
            complete_checksum(frame.bytes(&self.memory), &datagram);
        }

        // Each output but the last that sends gets a copy; that one gets the frame itself.
        let mut held: Option<(u16, InterfaceId, Rewrite)> = None;
        for (number, target) in rule.targets.iter().enumerate() {
            let output = &counters.outputs[number];
            output.offered.add(1);
            let egress = self.interfaces.get(&target.egress).and_then(|interface| interface.egress.as_ref());
            let planned = match egress {
                Some(egress) if egress.link == Link::Up => {
                    plan(frame.bytes(&self.memory), &datagram, target, &egress.facts)
                }
                _ => Err(OutputDrop::LinkDown),
            };
            match planned {
                Err(reason) => output.dropped[reason as usize].add(1),
                Ok(new) => {
                    if let Some((earlier, egress, new)) = held.replace((number as u16, target.egress, new)) {
                        match self.pool.take() {
                            Some(mut copy) => {
                                copy.copy_from(&self.memory, frame.bytes(&self.memory));
                                self.send(copy, slot, earlier, egress, &datagram, &new);
                            }
                            None => counters.outputs[usize::from(earlier)].dropped[OutputDrop::NoFrame as usize].add(1),
                        }
                    }
                }
            }
        }
        match held {
            Some((number, egress, new)) => self.send(frame, slot, number, egress, &datagram, &new),
            None => self.pool.put(frame),
        }
    }

    /// Rewrites a frame and lines it up.
    #[inline]
    fn send(
        &mut self,
        mut frame: Frame,
        slot: u32,
        output: u16,
        egress: InterfaceId,
        datagram: &mcr_common::flow::Datagram,
        new: &Rewrite,
    ) {
        let length = frame.len();
        let length = rewrite(frame.buffer(&self.memory), length, datagram, new);
        frame.set_len(&self.memory, length);
        let Self { memory, pool, flights, table, bound, interfaces, counters, .. } = self;
        let desk = &mut Desk { memory, pool, flights, table, counters };
        let Some(egress) = interfaces.get_mut(&egress).and_then(|interface| interface.egress.as_mut()) else {
            return desk.pool.put(frame);
        };
        egress.push(desk, frame, slot, output);
        if egress.pending() >= EGRESS_BATCH {
            egress.flush(&mut bound[egress.port].port, desk);
        }
    }

    /// Sends what is lined up, takes in what is done.
    fn flush(&mut self) {
        let Self { memory, pool, flights, table, bound, interfaces, counters, .. } = self;
        let desk = &mut Desk { memory, pool, flights, table, counters };
        for egress in interfaces.values_mut().filter_map(|interface| interface.egress.as_mut()) {
            let port = &mut bound[egress.port].port;
            if egress.pending() > 0 {
                egress.flush(port, desk);
            } else if port.sending() > 0 && egress.link == Link::Up {
                egress.kick(port, desk);
            }
            if port.sending() > 0 {
                egress.reap(port, desk);
            }
        }
    }

    /// Asks the interfaces that are down whether they still are.
    fn probe(&mut self) {
        for egress in self.interfaces.values_mut().filter_map(|interface| interface.egress.as_mut()) {
            if egress.link == Link::Down {
                egress.link = self.bound[egress.port].port.probe();
            }
        }
    }

    /// Applies the commands that have come.
    #[inline]
    fn read_mail(&mut self) {
        while let Some(command) = self.mailbox.next() {
            self.apply(command);
        }
    }

    fn apply(&mut self, command: Command) {
        match command {
            Command::Attach(attach) => self.attach(attach),
            Command::Update { id, facts } => {
                if let Some(egress) = self.interfaces.get_mut(&id).and_then(|interface| interface.egress.as_mut()) {
                    egress.facts = facts;
                }
            }
            Command::Install { slot, matcher, rule, counters } => {
                self.table.install(slot, rule.ifindex(), matcher, rule, counters);
            }
            Command::Remove { slot, done } => self.table.remove(slot, done),
            Command::Barrier { done } => {
                let until =
                    self.bound.iter_mut().map(|bound| bound.received + u64::from(bound.port.waiting())).collect();
                self.barriers.push(Barrier { until, done });
            }
            Command::Stop => self.stopping = true,
        }
    }

    fn attach(&mut self, Attach { id, ifindex, facts, partial_checksums, fill, ports, done }: Attach) {
        for bound in self.bound.iter_mut().filter(|bound| bound.interface == id) {
            bound.port.raise_fill(fill);
        }
        for (queue, mut port) in ports {
            port.refill(&mut self.pool);
            self.bound.push(Bound { port, interface: id, queue, received: 0 });
        }
        let own = self.bound.iter().position(|bound| bound.interface == id && bound.queue == self.id);
        let interface = self.interfaces.entry(id).or_insert(Interface { ifindex, partial_checksums, egress: None });
        // An egress that is there has frames lined up.
        if interface.egress.is_none() {
            interface.egress = own.map(|port| Egress::new(facts, port));
        }
        // Whoever waited may have given up.
        let _ = done.send(());
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
        let Self { memory, pool, flights, table, counters, .. } = self;
        Desk { memory, pool, flights, table, counters }.abandon();
        self.counters.frames_free.set(self.pool.len() as u64);
        let in_rings: u32 = self.bound.iter().map(|bound| bound.port.frames()).sum();
        let (found, total) = (self.pool.len() as u32 + in_rings, self.memory.frames());
        if found != total {
            log::error!("worker {}: {found} of {total} frames are accounted for; please report this", self.id);
        }
    }
}
