//! The receiving side: reads all sockets until the end that was asked for, and adds up.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use anyhow::{Context, Result};
use socket2::Socket;

use super::{
    account::Account,
    batch::{self, RecvBatch},
    clock,
    iface::Iface,
    live::{Counts, Live},
    socket::{self, Poller},
    summary::{Latency, RecvStream, RecvSummary},
};

/// Receive buffers: this much over all sockets, each within the bounds below.
const BUFFERS: usize = 512 << 20;
const MIN_BUFFER: usize = 4 << 20;
const MAX_BUFFER: usize = 64 << 20;
/// Nothing waits longer than this, so ends and signals are noticed in time.
const TICK: Duration = Duration::from_millis(50);
/// Before its first packet a receiver waits at least this long: its sender may still have to be started.
const FIRST_PACKET_NS: u64 = 30_000_000_000;
/// Quiet time that ends a run of which only the count was given, or loss would make it last for ever.
const COUNT_IDLE_NS: u64 = 10_000_000_000;
/// After it has read all there was, it sleeps without being woken: a wake-up for each packet costs the sender's core as much as
/// sending it. At least this long; the buffers hold it (1,000 packets at 1,000,000 a second).
const NAP_NS: u64 = 1_000_000;
/// And at most this long, where packets come slowly. Arrivals are stamped by the kernel, so no latency is added.
const LONGEST_NAP_NS: u64 = 16_000_000;
/// After the last expected packet it listens on this long for duplicates.
const LINGER_NS: u64 = 200_000_000;

/// What to receive; whichever end comes first ends it.
pub struct Plan {
    /// Where the groups are joined.
    pub iface: Iface,
    /// Group and port of each stream.
    pub targets: Vec<SocketAddrV4>,
    /// The only source that is joined (SSM); any without.
    pub source: Option<Ipv4Addr>,
    /// Whether a line each second tells what comes.
    pub live: bool,
    /// End this long after the joins.
    pub seconds: Option<f64>,
    /// Packets that will be sent over all streams: end when all came.
    pub count: Option<u64>,
    /// End after this many milliseconds without a packet, counted from the first one.
    pub idle_ms: Option<u64>,
}

/// Joins, calls `ready`, receives until an end is reached or `stop` is set.
///
/// # Errors
/// When a join or the reading itself fails. Packets that lack are no error here, but in the summary.
pub fn run(plan: &Plan, stop: &AtomicBool, ready: impl FnOnce()) -> Result<RecvSummary> {
    let n = plan.targets.len();
    socket::allow_files(n as u64 + 32)?;
    let buffer = (BUFFERS / n).clamp(MIN_BUFFER, MAX_BUFFER);
    let sockets: Vec<Socket> = plan
        .targets
        .iter()
        .map(|target| socket::receiver(&plan.iface, *target, plan.source, buffer))
        .collect::<Result<_>>()?;
    let bad_before = checksum_errors();
    let mut account = Account::new(n);
    ready();
    receive(plan, &sockets, &mut account, stop).context("cannot receive")?;
    let mut dropped = 0;
    for socket in &sockets {
        dropped += u64::from(socket::dropped(socket).context("cannot read a socket's drops")?);
    }
    Ok(summary(plan, &account, dropped, checksum_errors().saturating_sub(bad_before)))
}

fn receive(plan: &Plan, sockets: &[Socket], account: &mut Account, stop: &AtomicBool) -> std::io::Result<()> {
    let mut batch = RecvBatch::new(plan.iface.mtu.clamp(1500, 65_535));
    let mut ends = Ends::new(plan, clock::now_ns());
    let mut nap = Nap(NAP_NS);
    let mut live = Live::new(["received", "lost"], plan.live);
    let mut goes_on = |account: &Account| {
        let now = clock::now_ns();
        if live.is_due(now) {
            live.say(now, counts(account));
        }
        !stop.load(Relaxed) && !ends.reached(account, now)
    };
    if let [socket] = sockets {
        // one system call a batch: block in recvmmsg itself
        socket.set_read_timeout(Some(TICK))?;
        while goes_on(account) {
            let n = batch.receive(socket, true)?;
            take(account, &batch, 0, n);
            if n > 0 && n < batch::RECEIVE {
                nap.after(n);
            }
        }
        return Ok(());
    }
    let mut poller = Poller::new(sockets)?;
    while goes_on(account) {
        let (mut most, mut all) = (0, true);
        for position in poller.wait(TICK)? {
            // one batch each, so that no stream starves another; what is left is reported again
            let n = batch.receive(&sockets[position], false)?;
            take(account, &batch, position, n);
            most = most.max(n);
            all &= n < batch::RECEIVE;
        }
        if most > 0 && all {
            nap.after(most);
        }
    }
    Ok(())
}

fn counts(account: &Account) -> Counts {
    Counts { packets: account.unique(), bytes: account.bytes(), faults: account.lost(None).total }
}

fn take(account: &mut Account, batch: &RecvBatch, position: usize, n: usize) {
    for slot in 0..n {
        let arrived = batch.arrived_ns(slot).unwrap_or_else(clock::stamp_ns);
        account.take(position, batch.payload(slot), arrived);
    }
}

/// How long to sleep next, in nanoseconds: such that a socket's next batch is neither tiny nor full.
struct Nap(u64);

impl Nap {
    /// Sleeps, after a round in which no socket had more than `packets`.
    fn after(&mut self, packets: usize) {
        if packets < batch::RECEIVE / 4 {
            self.0 = (self.0 * 2).min(LONGEST_NAP_NS);
        } else if packets > batch::RECEIVE / 2 {
            self.0 = NAP_NS;
        }
        clock::sleep_until(clock::now_ns() + self.0);
    }
}

/// When to stop, in CLOCK_MONOTONIC nanoseconds.
struct Ends {
    /// Packets of ours when last looked, and when there were more than before.
    progress: (u64, u64),
    deadline: Option<u64>,
    count: Option<u64>,
    idle: Option<u64>,
    complete_at: Option<u64>,
}

impl Ends {
    fn new(plan: &Plan, ready: u64) -> Self {
        let count_alone = plan.seconds.is_none().then_some(COUNT_IDLE_NS);
        Self {
            progress: (0, ready),
            deadline: plan.seconds.map(|s| ready.saturating_add((s * 1e9) as u64)),
            count: plan.count,
            idle: plan.idle_ms.map(|ms| ms.saturating_mul(1_000_000)).or(count_alone),
            complete_at: None,
        }
    }

    fn reached(&mut self, account: &Account, now: u64) -> bool {
        if self.deadline.is_some_and(|at| now >= at) {
            return true;
        }
        if self.count.is_some_and(|count| account.unique() >= count) {
            return now - *self.complete_at.get_or_insert(now) >= LINGER_NS;
        }
        let Some(idle) = self.idle else { return false };
        if account.accepted() != self.progress.0 {
            self.progress = (account.accepted(), now);
        }
        now - self.progress.1 >= if self.progress.0 > 0 { idle } else { idle.max(FIRST_PACKET_NS) }
    }
}

/// `InCsumErrors` of UDP in this network namespace; 0 where /proc does not tell.
fn checksum_errors() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/net/snmp").unwrap_or_default();
    let mut lines = text.lines().filter(|line| line.starts_with("Udp:"));
    let (names, values) = (lines.next().unwrap_or(""), lines.next().unwrap_or(""));
    let found = names.split(' ').zip(values.split(' ')).find(|(name, _)| *name == "InCsumErrors");
    found.and_then(|(_, value)| value.parse().ok()).unwrap_or(0)
}

fn summary(plan: &Plan, account: &Account, receiver_dropped: u64, checksum_errors: u64) -> RecvSummary {
    let lost = account.lost(plan.count);
    let seconds = account.arrivals().map_or(0.0, |(first, last)| (last - first) as f64 / 1e9);
    RecvSummary {
        packets: account.unique(),
        seconds,
        rate_pps: if seconds > 0.0 { account.unique() as f64 / seconds } else { 0.0 },
        lost: lost.total,
        duplicated: account.trackers().map(|t| t.duplicated()).sum(),
        reordered: account.trackers().map(|t| t.reordered()).sum(),
        foreign: account.foreign(),
        receiver_dropped,
        checksum_errors,
        lost_between: account
            .gaps()
            .filter(|_| lost.total > 0)
            .map(|(first, last)| (first as f64 / 1e9, last as f64 / 1e9)),
        latency_us: account.latency().map(Latency::from),
        streams: (plan.targets.iter().zip(account.trackers()).zip(lost.streams).enumerate())
            .map(|(stream, ((target, tracker), lost))| RecvStream {
                stream,
                group: *target.ip(),
                port: target.port(),
                packets: tracker.unique(),
                lost,
                duplicated: tracker.duplicated(),
                reordered: tracker.reordered(),
            })
            .collect(),
    }
}
