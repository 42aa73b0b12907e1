//! The sending side: takes packets from the schedule, stamps them, hands them to the kernel.

use std::{
    hash::{BuildHasher, RandomState},
    io,
    net::{Ipv4Addr, SocketAddrV4},
    ops::Range,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread::sleep,
    time::Duration,
};

use anyhow::{Result, bail};
use socket2::{SockAddr, Socket};

use super::{
    batch::SendBatch,
    clock,
    iface::Iface,
    live::{Counts, Live},
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
    /// Destination of each stream; packets go round robin over them, but for their order within a burst.
    pub targets: Vec<SocketAddrV4>,
    /// How many, and when.
    pub pace: Pace,
    /// Stop at the schedule's end (and `GRACE_NS`) even if packets are left: the user gave a time, not a count.
    pub timed: bool,
    /// Bytes of the Ethernet frame without FCS: at least 60.
    pub frame_size: usize,
    /// IPv4 TTL.
    pub ttl: u8,
    /// IPv4 DSCP, 0 to 63.
    pub dscp: u8,
    /// Whether a line each second tells what is sent.
    pub live: bool,
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
        bail!("interface '{name}' has no IPv4 address to send from; give it one, or use --source");
    }
    plan.iface.wait_for_carrier(Duration::from_secs(3))?;
    let socket = socket::sender(&plan.iface, plan.source, plan.ttl, plan.dscp)?;
    let batch = SendBatch::new(plan.frame_size - OVERHEAD);
    let chunk = if plan.pace.rate() < BATCH_RATE { 1 } else { batch.most() as u64 };
    if chunk > 1 {
        socket::cut(&socket, plan.frame_size - OVERHEAD)?;
    }
    let mut sender = Sender {
        socket,
        batch,
        targets: plan.targets.iter().map(|target| SockAddr::from(*target)).collect(),
        run: RandomState::new().hash_one(std::process::id()) as u32,
        chunk,
        sent: vec![0; plan.targets.len()],
        errors: 0,
        last_error: None,
        live: Live::new(["sent", "refused"], plan.live),
        frame_size: plan.frame_size as u64,
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
    /// Destination of each stream.
    targets: Vec<SockAddr>,
    run: u32,
    /// Packets of one system call, which carry one time stamp.
    chunk: u64,
    /// Packets that the kernel took, by stream.
    sent: Vec<u64>,
    errors: u64,
    last_error: Option<io::Error>,
    live: Live,
    frame_size: u64,
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
            self.burst(next..burst_end);
            next = burst_end;
        }
        self.sleep_until(start.saturating_add(end));
    }

    /// Sends these packets of the schedule, stream by stream: packet p is number p / streams of stream p % streams.
    fn burst(&mut self, packets: Range<u64>) {
        let streams = self.sent.len() as u64;
        // The first number at or after packet `p` that stream `i` has.
        let number = |p: u64, i: u64| (p + streams - 1 - i) / streams;
        for stream in 0..streams {
            let (mut next, end) = (number(packets.start, stream), number(packets.end, stream));
            while next < end && !self.stop.load(Relaxed) {
                let n = (end - next).min(self.chunk);
                self.send(stream as u16, next, n);
                next += n;
            }
        }
    }

    /// Sends packets `first` to `first + n - 1` of a stream, `n` at most what one call can send.
    fn send(&mut self, stream: u16, first: u64, n: u64) {
        let (sent_ns, now) = (clock::stamp_ns(), clock::now_ns());
        for slot in 0..n {
            self.batch.set(slot as usize, Header { stream, run: self.run, seq: first + slot, sent_ns });
        }
        while !self.stop.load(Relaxed) {
            match self.batch.send(&self.socket, &self.targets[usize::from(stream)], n as usize) {
                Ok(()) => {
                    self.sent[usize::from(stream)] += n;
                    return;
                }
                Err(e) if self.retry(&e, now) => {}
                // Before Linux 6.12 only an interface that completes checksums gets packets that the kernel cuts.
                Err(e) if e.raw_os_error() == Some(libc::EIO) && n > 1 && socket::cut(&self.socket, 0).is_ok() => {
                    self.chunk = 1;
                    return (first..first + n).for_each(|number| self.send(stream, number, 1));
                }
                Err(e) => {
                    self.errors += n;
                    self.last_error = Some(e);
                    return;
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
    fn sleep_until(&mut self, at_ns: u64) -> bool {
        // a signal between the test and the sleep would be noticed late, so sleep in pieces
        const PIECE_NS: u64 = 100_000_000;
        loop {
            let now = clock::now_ns();
            if self.live.is_due(now) {
                let packets = self.sent.iter().sum();
                self.live.say(now, Counts { packets, bytes: packets * self.frame_size, faults: self.errors });
            }
            if self.stop.load(Relaxed) || now >= at_ns {
                return !self.stop.load(Relaxed);
            }
            clock::sleep_until(at_ns.min(now + PIECE_NS));
        }
    }
}
