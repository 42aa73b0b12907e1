//! How the control side changes a worker: messages in order, applied between two batches.
//!
//! A worker looks into its mailbox *after* it has taken packets from a ring and before it handles them. So a rule that was
//! installed before the kernel's map named it is known by the time its first packet is handled, with no answer awaited. It applies
//! all that the mailbox holds at that moment, and that is bounded: thousands of changes cost the packets between them little.

use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
    sync::{
        Arc,
        mpsc::{Receiver, Sender, SyncSender, sync_channel},
    },
};

use super::{
    capture::{Followed, Tap},
    counters::RuleCounters,
    plan::EgressFacts,
    rule::{Compiled, InterfaceId},
    sources::Sources,
};
use crate::{
    rules::rule::Match,
    xsk::{frame::Pool, port::Port, umem::Memory},
};

/// Commands that a mailbox holds, which is all that a worker applies between two batches; more of them wait at the control side.
pub const HOLDS: usize = 256;

/// An interface and new sockets of it.
#[derive(Debug)]
pub struct Attach {
    /// The interface's number.
    pub id: InterfaceId,
    /// Its index.
    pub ifindex: u32,
    /// What outputs need to know.
    pub facts: EgressFacts,
    /// Whether its frames may carry partial checksums.
    pub partial_checksums: bool,
    /// Frames that each socket of it keeps for receiving, those attached before included.
    pub fill: u32,
    /// Sockets not attached before, each with its queue.
    pub ports: Vec<(u32, Port)>,
    /// Told when their fill rings are full.
    pub done: Sender<()>,
}

/// One change.
#[derive(Debug)]
pub enum Command {
    /// This UMEM is the worker's from now on, with all of its frames.
    Memory {
        /// The UMEM, of a free number.
        memory: Arc<Memory>,
        /// Its frames.
        pool: Pool,
    },
    /// No socket uses this UMEM any more: forget it.
    Forget {
        /// Its number.
        number: usize,
        /// Told when nothing of it is reached any more.
        done: Sender<()>,
    },
    /// These sockets are the worker's from now on.
    Attach(Attach),
    /// An interface is given up: its sockets come back, to be closed, once what they have received is forwarded.
    Detach {
        /// The interface's number.
        id: InterfaceId,
        /// Told then.
        done: Sender<Vec<Port>>,
    },
    /// The sockets that came back are closed: the frames in their rings are the worker's again.
    Reclaim {
        /// The interface's number.
        id: InterfaceId,
        /// Told when they are.
        done: Sender<()>,
    },
    /// What had one number has the other from now on, all at once.
    Renumber {
        /// From which number to which; none of the latter is anybody's who keeps it.
        moves: Vec<(InterfaceId, InterfaceId)>,
        /// Told then.
        done: Sender<()>,
    },
    /// An interface's facts are these from now on.
    Update {
        /// The interface's number.
        id: InterfaceId,
        /// What outputs need to know.
        facts: EgressFacts,
    },
    /// Some of an interface's outputs send from these addresses from now on.
    Sources {
        /// The interface's number.
        id: InterfaceId,
        /// The addresses.
        sources: Sources,
    },
    /// This rule has this slot, which is free.
    Install {
        /// The slot.
        slot: u32,
        /// The rule as it was typed, for the worker's own lookup.
        matcher: Match,
        /// The rule as it is used.
        rule: Compiled,
        /// This worker's counters of it.
        counters: Arc<RuleCounters>,
    },
    /// No packet of this slot is in an RX ring any more: forget it, once nothing of it is under way.
    Remove {
        /// The slot.
        slot: u32,
        /// Told when it is forgotten.
        done: Sender<()>,
    },
    /// A capture begins: what is counted from now on goes to this tap.
    Capture {
        /// The tap.
        tap: Tap,
        /// Told then.
        done: Sender<()>,
    },
    /// The rule of this slot is one of the capture's.
    Follow {
        /// The capture.
        capture: u64,
        /// The slot.
        slot: u32,
        /// What is wanted of the rule.
        followed: Arc<Followed>,
    },
    /// A capture ends, once what is in hand is sent.
    EndCapture {
        /// The capture.
        capture: u64,
        /// Told then: nothing goes to its tap any more.
        done: Sender<()>,
    },
    /// Says when every packet that was in an RX ring at this moment has been handled.
    Barrier {
        /// Told then.
        done: Sender<()>,
    },
    /// Handle what has been received, wait a moment for what is under way, and end.
    Stop,
}

/// The control side's end.
#[derive(Clone, Debug)]
pub struct Post {
    sender: SyncSender<Command>,
    wake: Arc<OwnedFd>,
}

/// The worker's end.
#[derive(Debug)]
pub struct Mailbox {
    receiver: Receiver<Command>,
    wake: Arc<OwnedFd>,
}

/// A mailbox and the post that fills it.
pub fn mailbox() -> io::Result<(Post, Mailbox)> {
    // SAFETY: takes two integers.
    let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is fresh, and nobody else's.
    let wake = Arc::new(unsafe { OwnedFd::from_raw_fd(fd) });
    let (sender, receiver) = sync_channel(HOLDS);
    Ok((Post { sender, wake: wake.clone() }, Mailbox { receiver, wake }))
}

impl Post {
    /// Sends a command and wakes the worker; waits while the mailbox is full. A worker that has ended takes no more: its ports are
    /// closed, its rules gone.
    pub fn send(&self, command: Command) {
        if self.sender.send(command).is_ok() {
            let one = 1u64.to_ne_bytes();
            // SAFETY: eight bytes of ours. It fails only where the counter is at its end, and then the worker is awake.
            unsafe { libc::write(self.wake.as_raw_fd(), one.as_ptr().cast(), one.len()) };
        }
    }
}

impl Mailbox {
    /// The next command, if there is one.
    #[inline]
    pub fn next(&self) -> Option<Command> {
        self.receiver.try_recv().ok()
    }

    /// Readable when a command may be there.
    pub fn fd(&self) -> RawFd {
        self.wake.as_raw_fd()
    }

    /// Makes the descriptor unreadable until the next command.
    pub fn clear(&self) {
        let mut count = [0u8; 8];
        // SAFETY: eight bytes of ours. Where nothing is there it says EAGAIN, as meant.
        unsafe { libc::read(self.wake.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
    }
}
