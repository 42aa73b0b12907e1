//! Memory for frames: a UMEM at each worker for the interfaces that share one.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    budget::{IN_HAND, units},
    fit::Plan,
};
use crate::xsk::{anchor::anchored, frame::Pool, port::Port, umem::Memory};

/// UMEMs of one number, one at each worker. A packet passes between their interfaces in the frame that it came in.
#[derive(Debug)]
pub struct Stock {
    /// Whether they are for zero-copy or for copies: the kernel lets no UMEM be both.
    pub zero_copy: bool,
    /// Bytes of a frame.
    pub frame_size: u32,
    /// Frames of each UMEM.
    pub frames: u32,
    /// Whether the kernel still lets sockets join: not once the interface is gone whose socket holds it.
    pub is_open: bool,
    /// Each worker's.
    pub shares: Vec<Share>,
}

/// One worker's part of a stock.
#[derive(Debug)]
pub struct Share {
    /// The UMEM.
    pub memory: Arc<Memory>,
    /// Its frames, until the worker has them.
    pub pool: Option<Pool>,
    /// Frames that no socket has been promised.
    pub unpromised: u32,
    /// Sockets bound to it, by the index of their interface.
    sockets: BTreeMap<u32, u32>,
    /// The index of the interface that was bound first: under zero-copy its socket holds the UMEM.
    holder: Option<u32>,
    _anchor: Option<Port>,
}

impl Share {
    /// Whether no socket is bound to it.
    pub fn is_unused(&self) -> bool {
        self.sockets.is_empty()
    }

    /// So many more sockets of interface `ifindex` are bound to it.
    pub fn bound(&mut self, ifindex: u32, sockets: u32) {
        if sockets > 0 {
            self.holder.get_or_insert(ifindex);
            *self.sockets.entry(ifindex).or_default() += sockets;
        }
    }

    /// So many sockets of interface `ifindex` are closed.
    pub fn released(&mut self, ifindex: u32, sockets: u32) {
        if let Some(left) = self.sockets.get_mut(&ifindex) {
            *left = left.saturating_sub(sockets);
        }
        self.sockets.retain(|_, left| *left > 0);
    }

    /// Whether interface `ifindex` holds it while others use it.
    fn is_held_for_others(&self, ifindex: u32) -> bool {
        self.holder == Some(ifindex) && self.sockets.keys().any(|other| *other != ifindex)
    }
}

impl Stock {
    /// New UMEMs of so many frames. Those for copies hold on to an interface of their own; a zero-copy one is held by the socket that
    /// is bound first.
    pub fn new(number: u8, zero_copy: bool, frames: u32, frame_size: u32, plan: &Plan) -> anyhow::Result<Self> {
        let share = |_| {
            let (memory, pool, anchor) = if zero_copy {
                let (memory, pool) = Memory::new(number, frames, frame_size)?;
                (memory, pool, None)
            } else {
                let made = anchored(number, frames, frame_size)?;
                (made.memory, made.pool, Some(made.anchor))
            };
            Ok(Share {
                memory: memory.into(),
                pool: Some(pool),
                unpromised: frames.saturating_sub(IN_HAND),
                sockets: BTreeMap::new(),
                holder: None,
                _anchor: anchor,
            })
        };
        let shares = (0..plan.workers).map(share).collect::<anyhow::Result<_>>()?;
        Ok(Self { zero_copy, frame_size, frames, is_open: true, shares })
    }

    /// Whether sockets of this kind may join.
    pub fn takes(&self, zero_copy: bool, frame_size: u32) -> bool {
        self.is_open && self.zero_copy == zero_copy && self.frame_size == frame_size
    }

    /// Whether each worker's part has so many frames that no socket was promised.
    pub fn has(&self, needs: &[u32]) -> bool {
        self.shares.iter().zip(needs).all(|(share, need)| share.unpromised >= *need)
    }

    /// Whether no socket is bound to it at any worker.
    pub fn is_unused(&self) -> bool {
        self.shares.iter().all(Share::is_unused)
    }

    /// Whether an interface may be released without taking the memory of others along.
    pub fn may_release(&self, ifindex: u32) -> bool {
        !self.zero_copy || !self.shares.iter().any(|share| share.is_held_for_others(ifindex))
    }

    /// Its frames at one worker in units of 2,048 bytes.
    pub fn units(&self) -> u32 {
        units(self.frames, self.frame_size)
    }
}
