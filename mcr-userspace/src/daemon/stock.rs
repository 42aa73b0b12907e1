//! Memory for frames: a UMEM at each worker for the interfaces that can share one.

use std::sync::Arc;

use super::fit::{IN_HAND, Plan};
use crate::xsk::{anchor::anchored, frame::Pool, port::Port, umem::Memory};

/// UMEMs of one number, one at each worker. A packet passes between their interfaces in the frame that it came in.
#[derive(Debug)]
pub struct Stock {
    /// Whether they are for zero-copy or for copies: the kernel lets no UMEM be both.
    pub zero_copy: bool,
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
    /// Sockets bound to it by interfaces.
    pub sockets: u32,
    _anchor: Option<Port>,
}

impl Stock {
    /// Whether none uses it and none can.
    pub fn is_spent(&self) -> bool {
        !self.is_open && self.shares.iter().all(|share| share.sockets == 0)
    }

    /// New UMEMs. Those for copies hold on to an interface of their own; a zero-copy one is held by the socket that is bound first.
    pub fn new(number: u8, zero_copy: bool, plan: &Plan) -> anyhow::Result<Self> {
        let share = |_| {
            let (memory, pool, anchor) = if zero_copy {
                let (memory, pool) = Memory::new(number, plan.frames, plan.frame_size)?;
                (memory, pool, None)
            } else {
                let made = anchored(number, plan.frames, plan.frame_size)?;
                (made.memory, made.pool, Some(made.anchor))
            };
            Ok(Share {
                memory: memory.into(),
                pool: Some(pool),
                unpromised: plan.frames.saturating_sub(IN_HAND),
                sockets: 0,
                _anchor: anchor,
            })
        };
        let shares = (0..plan.workers).map(share).collect::<anyhow::Result<_>>()?;
        Ok(Self { zero_copy, is_open: true, shares })
    }
}
