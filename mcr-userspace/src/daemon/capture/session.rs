//! A capture under way: copies out of the workers' rings, as pcapng into a connection. The connection's own thread does it, so a client
//! that reads slowly delays nobody else; what finds no room in the rings meanwhile is lost to the capture, and counted.

use std::{
    collections::HashMap,
    io::{self, Write},
    os::unix::net::UnixStream,
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rustix::{
    io::Errno,
    net::{RecvFlags, recv},
};

use super::book::{Book, Entry};
use crate::{
    control::protocol::CaptureSpec,
    daemon::retire::Shared,
    forward::capture::{Copies, Head, Points, Seen},
    pcapng::{self, Inbound},
};

/// How long the rings are left alone once they are empty: workers call nobody.
const PERIOD: Duration = Duration::from_millis(10);
/// Bytes that are written at a time.
const PIECE: usize = 256 << 10;

/// A capture's reading end.
#[derive(Debug)]
pub struct Session {
    copies: Vec<Copies>,
    /// The first copy of each of them.
    heads: Vec<Option<Head>>,
    book: Arc<Book>,
    points: Points,
    rules: Vec<Known>,
    blocks: Blocks,
    snaplen: u32,
    /// Packets that it may still take.
    left: u64,
    until: Option<Instant>,
    /// Nanoseconds after 1970.
    began: u64,
    /// What is not written yet.
    buffer: Vec<u8>,
}

/// The interface blocks that have been written, by name.
#[derive(Debug, Default)]
struct Blocks {
    numbers: HashMap<String, u32>,
    /// Packets of each.
    captured: Vec<u64>,
}

/// A rule whose blocks are written.
#[derive(Debug)]
struct Known {
    entry: Arc<Entry>,
    comment: Vec<u8>,
    received: Option<u32>,
    dropped: Option<u32>,
    outputs: Vec<KnownOutput>,
}

#[derive(Debug)]
struct KnownOutput {
    comment: Vec<u8>,
    sent: Option<u32>,
    dropped: Option<u32>,
}

impl Shared {
    /// Writes the capture of this number until it or the connection ends.
    pub fn stream_capture(&self, id: u64, to: &UnixStream) -> io::Result<()> {
        let Some(mut session) = self.take_session(id) else { return Ok(()) };
        // Whoever looks at what comes takes as long as he likes.
        let outcome = to.set_write_timeout(None).and_then(|()| session.run(to));
        self.end_capture(id, outcome.is_ok());
        let outcome = outcome.and_then(|()| session.finish(to));
        let (captured, lost) = session.sums();
        let why = outcome.as_ref().err().map_or(String::new(), |error| format!(": {error}"));
        log::info!("capture {id} ended{why}; {captured} packets, {lost} lost by the capture");
        outcome
    }
}

impl Session {
    /// A session that has written nothing.
    pub fn new(spec: &CaptureSpec, snaplen: u32, points: Points, book: Arc<Book>, copies: Vec<Copies>) -> Self {
        let until = spec.seconds.and_then(|seconds| Instant::now().checked_add(Duration::from_secs(seconds)));
        let mut buffer = Vec::with_capacity(2 * PIECE);
        pcapng::section(&mut buffer, concat!("mcrd ", env!("CARGO_PKG_VERSION")));
        Self {
            heads: copies.iter().map(|_| None).collect(),
            copies,
            book,
            points,
            rules: Vec::new(),
            blocks: Blocks::default(),
            snaplen,
            left: spec.count.unwrap_or(u64::MAX),
            until,
            began: now(),
            buffer,
        }
    }

    /// Writes what comes, until the client has closed its side or enough has come.
    fn run(&mut self, to: &UnixStream) -> io::Result<()> {
        loop {
            let found = self.drain();
            self.write(to)?;
            let is_late = self.until.is_some_and(|until| Instant::now() >= until);
            if self.left == 0 || is_late || is_closed(to)? {
                return Ok(());
            }
            if !found {
                thread::sleep(PERIOD);
            }
        }
    }

    /// Writes what is left and the statistics, once no worker captures any more.
    fn finish(&mut self, to: &UnixStream) -> io::Result<()> {
        while self.drain() {
            self.write(to)?;
        }
        let ended = now();
        let lost = self.lost();
        for (number, (captured, lost)) in self.blocks.captured.iter().zip(lost).enumerate() {
            let times = (self.began, ended);
            pcapng::statistics(&mut self.buffer, number as u32, times, captured + lost, lost);
        }
        self.write(to)
    }

    fn write(&mut self, mut to: &UnixStream) -> io::Result<()> {
        to.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    /// Takes copies out of the rings, a piece at most, the oldest first; whether there were any.
    fn drain(&mut self) -> bool {
        self.learn();
        let mut found = false;
        self.heads.iter_mut().zip(&mut self.copies).for_each(|(head, copies)| *head = copies.peek());
        while self.left > 0 && self.buffer.len() < PIECE {
            let heads = self.heads.iter().enumerate();
            let oldest = heads.filter_map(|(ring, head)| Some((ring, (*head)?))).min_by_key(|(_, head)| head.time);
            let Some((ring, head)) = oldest else { break };
            if head.rule as usize >= self.rules.len() {
                self.learn();
            }
            self.take(ring, &head);
            self.heads[ring] = self.copies[ring].peek();
            self.left -= 1;
            found = true;
        }
        found
    }

    /// Writes one packet.
    fn take(&mut self, ring: usize, head: &Head) {
        let Self { copies, rules, blocks, buffer, .. } = self;
        let place = rules.get(head.rule as usize).and_then(|rule| rule.place(head.seen));
        copies[ring].take(head, |data| {
            // A worker copies nothing but what has a place.
            let Some((block, way, comments)) = place else { return };
            blocks.captured[block as usize] += 1;
            let reason = match head.seen {
                Seen::In | Seen::Out(_) => Vec::new(),
                Seen::Dropped(reason) => dropped(reason.name()),
                Seen::NotSent(_, reason) => dropped(reason.name()),
            };
            let [rule, output] = comments;
            pcapng::packet(buffer, block, head.time, head.original, data, way, &[rule, output, &reason]);
        });
    }

    /// Writes the interface blocks of rules that are new.
    fn learn(&mut self) {
        for entry in self.book.since(self.rules.len()) {
            let Self { blocks, buffer, snaplen, points, .. } = self;
            let mut block = |wanted: bool, name: String| wanted.then(|| blocks.number(name, *snaplen, buffer));
            let received = block(points.received, format!("{} in", entry.ingress));
            let dropped = block(points.dropped, format!("{} dropped", entry.ingress));
            let mut outputs = Vec::new();
            for (interface, label) in &entry.outputs {
                outputs.push(KnownOutput {
                    comment: pcapng::comment(&format!("output {label}")),
                    sent: block(points.sent, format!("{interface} out {}/{label}", entry.name)),
                    dropped: block(points.dropped, format!("{interface} dropped {}/{label}", entry.name)),
                });
            }
            let comment = pcapng::comment(&format!("rule {}", entry.name));
            self.rules.push(Known { entry, comment, received, dropped, outputs });
        }
    }

    /// What the capture has lost, for each block.
    fn lost(&self) -> Vec<u64> {
        let mut lost = vec![0; self.blocks.captured.len()];
        let mut add = |block: Option<u32>, count: u64| {
            if let Some(block) = block {
                lost[block as usize] += count;
            }
        };
        for rule in &self.rules {
            for followed in &rule.entry.followed {
                add(rule.received, followed.lost_in.get());
                add(rule.dropped, followed.lost_dropped.get());
                for (output, (sent, dropped)) in rule.outputs.iter().zip(followed.lost_outputs.iter()) {
                    add(output.sent, sent.get());
                    add(output.dropped, dropped.get());
                }
            }
        }
        lost
    }

    /// Packets captured and lost.
    fn sums(&self) -> (u64, u64) {
        (self.blocks.captured.iter().sum(), self.lost().iter().sum())
    }
}

impl Blocks {
    /// The number of the block of this name, which is written where it is new.
    fn number(&mut self, name: String, snaplen: u32, buffer: &mut Vec<u8>) -> u32 {
        let next = self.captured.len() as u32;
        if let Some(number) = self.numbers.get(&name) {
            return *number;
        }
        pcapng::interface(buffer, &name, snaplen);
        self.captured.push(0);
        self.numbers.insert(name, next);
        next
    }
}

impl Known {
    /// The block of a packet of this rule, which way it goes, and the comments that name rule and output.
    fn place(&self, seen: Seen) -> Option<(u32, Inbound, [&[u8]; 2])> {
        let output = |number: u16| self.outputs.get(usize::from(number));
        let none: &[u8] = &[];
        Some(match seen {
            Seen::In => (self.received?, Inbound::Yes, [&self.comment, none]),
            Seen::Dropped(_) => (self.dropped?, Inbound::Yes, [&self.comment, none]),
            Seen::Out(number) => (output(number)?.sent?, Inbound::No, [&self.comment, &output(number)?.comment]),
            Seen::NotSent(number, _) => {
                (output(number)?.dropped?, Inbound::No, [&self.comment, &output(number)?.comment])
            }
        })
    }
}

fn dropped(reason: &str) -> Vec<u8> {
    pcapng::comment(&format!("dropped {reason}"))
}

/// Whether the client has closed its side. What it says meanwhile is not listened to.
fn is_closed(client: &UnixStream) -> io::Result<bool> {
    let mut ignored = [0u8; 4096];
    match recv(client, &mut ignored[..], RecvFlags::DONTWAIT) {
        Ok((_, n)) => Ok(n == 0),
        Err(Errno::AGAIN | Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64
}
