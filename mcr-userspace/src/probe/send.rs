//! The sending side: takes packets from the schedule, stamps them, hands them to the kernel.

use std::{
    hash::{BuildHasher, RandomState},
    io,
    net::{Ipv4Addr, SocketAddrV4},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread::sleep,
    time::Duration,
};

use anyhow::{Result, bail};
use socket2::Socket;

use super::{
    batch::{self, SendBatch},
    clock,
    iface::Iface,
    pace::Pace,
    payload::{Header, OVERHEAD},
    socket,
    summary::{SendStream, SendSummary},
};

/// After the schedule's end a sender that fell behind goes on catching up for this long, if it was given a time.
const GRACE_NS: u64 = 1_000_000_000;
/// A packet that the kernel has no room for is tried again for this long.
const RETRY_NS: u64 = 1_000_000_000;

/// Below this rate each packet has a system call, and so a time stamp, of its own: exact, and cheap enough.
const BATCH_RATE: u64 = 50_000;

/// What to send.
pub struct Plan {
    /// Out of which interface.
    pub iface: Iface,
    /// Source address; the interface's own without.
    pub source: Option<Ipv4Addr>,
    /// Destination of each stream; packets go round robin over them.
    pub targets: Vec<SocketAddrV4>,
    /// How many, and when.
    pub pace: Pace,
    /// Stop at the schedule's end (and `GRACE_NS`) even if packets are left: the user gave a time, not a count.
    pub timed: bool,
    /// Bytes of the Ethernet frame without FCS: at least 60.
    pub frame_size: usize,
    /// IPv4 TTL.
    pub ttl: u8,
}

/// Sends all of it, or until `stop` is set.
///
/// # Errors
/// When the interface cannot carry it. A packet that is refused later is counted instead.
pub fn run(plan: &Plan, stop: &AtomicBool) -> Result<SendSummary> {
    let Iface { name, mtu, address, .. } = &plan.iface;
    if plan.frame_size > mtu + 14 {
        bail!(
            "--size {}: interface '{name}' has MTU {mtu}, which makes {} the largest frame",
            plan.frame_size,
            mtu + 14
        );
    }
    if address.is_none() && plan.source.is_none() {
        bail!("interface '{name}' has no IPv4 address to send from; give it one, or use --source-ip");
    }
    plan.iface.wait_for_carrier(Duration::from_secs(3))?;
    let mut sender = Sender {
        socket: socket::sender(&plan.iface, plan.source, plan.ttl)?,
        batch: SendBatch::new(plan.frame_size - OVERHEAD, &plan.targets),
        run: RandomState::new().hash_one(std::process::id()) as u32,
        chunk: if plan.pace.rate() < BATCH_RATE { 1 } else { batch::SEND as u64 },
        sent: vec![0; plan.targets.len()],
        errors: 0,
        last_error: None,
        stop,
    };
    let start = clock::now_ns();
    sender.follow(&plan.pace, start, plan.timed);
    let seconds = (clock::now_ns() - start) as f64 / 1e9;
    Ok(summary(plan, sender, seconds))
}

fn summary(plan: &Plan, sender: Sender<'_>, seconds: f64) -> SendSummary {
    let packets = sender.sent.iter().sum();
    SendSummary {
        packets,
        seconds,
        rate_pps: if seconds > 0.0 { packets as f64 / seconds } else { 0.0 },
        errors: sender.errors,
        streams: (plan.targets.iter().zip(sender.sent).enumerate())
            .map(|(stream, (target, packets))| SendStream { stream, group: *target.ip(), port: target.port(), packets })
            .collect(),
        last_error: sender.last_error.map(|e| e.to_string()),
        planned: plan.pace.total(),
    }
}

struct Sender<'a> {
    socket: Socket,
    batch: SendBatch,
    run: u32,
    /// Packets of one system call, which carry one time stamp.
    chunk: u64,
    /// Packets that the kernel took, by stream.
    sent: Vec<u64>,
    errors: u64,
    last_error: Option<io::Error>,
    stop: &'a AtomicBool,
}

impl Sender<'_> {
    /// Sends burst after burst; returns at the end of the schedule, so that rate is packets / time.
    fn follow(&mut self, pace: &Pace, start: u64, timed: bool) {
        let end = pace.due_ns(pace.total());
        let limit = if timed { end.saturating_add(GRACE_NS) } else { u64::MAX };
        let (mut next, mut previous) = (0, None);
        while next < pace.total() && self.sleep_until(start.saturating_add(pace.start_ns(next, previous))) {
            let now = clock::now_ns() - start;
            if now >= limit {
                return;
            }
            previous = Some(now);
            let burst_end = next + pace.burst(next);
            while next < burst_end && !self.stop.load(Relaxed) {
                let n = (burst_end - next).min(self.chunk);
                self.send(next, n as usize);
                next += n;
            }
        }
        self.sleep_until(start.saturating_add(end));
    }

    /// Sends packets `first` to `first + n - 1` of the schedule, `n` at most [`batch::SEND`].
    fn send(&mut self, first: u64, n: usize) {
        let streams = self.sent.len() as u64;
        let (sent_ns, now) = (clock::stamp_ns(), clock::now_ns());
        for slot in 0..n {
            let packet = first + slot as u64;
            let stream = (packet % streams) as u16;
            self.batch.set(slot, Header { stream, run: self.run, seq: packet / streams, sent_ns });
        }
        let mut slot = 0;
        while slot < n && !self.stop.load(Relaxed) {
            match self.batch.send(&self.socket, slot, n) {
                Ok(taken) => {
                    for packet in first + slot as u64..first + (slot + taken) as u64 {
                        self.sent[(packet % streams) as usize] += 1;
                    }
                    slot += taken;
                }
                Err(e) if self.retry(&e, now) => {}
                Err(e) => {
                    self.errors += 1;
                    self.last_error = Some(e);
                    slot += 1;
                }
            }
        }
    }

    /// Whether the error says "not now" and a packet first tried at `since` may still be tried; waits if so.
    fn retry(&self, error: &io::Error, since: u64) -> bool {
        let in_time = clock::now_ns() - since < RETRY_NS;
        match error.raw_os_error() {
            Some(libc::EINTR) => true,
            Some(libc::EAGAIN) if in_time => {
                socket::wait_writable(&self.socket, Duration::from_millis(10));
                true
            }
            Some(libc::ENOBUFS) if in_time => {
                sleep(Duration::from_micros(50));
                true
            }
            _ => false,
        }
    }

    /// False when stopped before the time came.
    fn sleep_until(&self, at_ns: u64) -> bool {
        // a signal between the test and the sleep would be noticed late, so sleep in pieces
        const PIECE_NS: u64 = 100_000_000;
        loop {
            let now = clock::now_ns();
            if self.stop.load(Relaxed) || now >= at_ns {
                return !self.stop.load(Relaxed);
            }
            clock::sleep_until(at_ns.min(now + PIECE_NS));
        }
    }
}
