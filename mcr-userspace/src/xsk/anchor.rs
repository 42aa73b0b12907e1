//! A home for a UMEM that outlives every interface.
//!
//! Sockets share a UMEM through the descriptor of the first one bound to it; when that one's interface is deleted, the kernel
//! refuses every later share with EBADF. So in copy mode the first socket is bound to the loopback interface of a network
//! namespace of its own, which has no name and ends with the last socket in it, SIGKILL included.

use std::{io, thread};

use anyhow::Context;

use super::{
    frame::Pool,
    port::{Bind, Port, Quota},
    umem::Memory,
};
use crate::kernel::version;

/// A UMEM, its pool, and the socket that holds it.
pub struct Anchored {
    /// The UMEM.
    pub memory: Memory,
    /// All of its frames.
    pub pool: Pool,
    /// Not used to receive or send; kept as long as sockets are to be bound.
    pub anchor: Port,
}

/// Makes a UMEM in copy mode and anchors it.
pub fn anchored(number: u8, frames: u32, frame_size: u32) -> anyhow::Result<Anchored> {
    let made = thread::scope(|scope| {
        scope
            .spawn(|| {
                // The thread leaves for a namespace of its own, makes its sockets there, and ends.
                // SAFETY: takes one integer and concerns this thread alone.
                if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
                    return Err(anyhow::Error::from(io::Error::last_os_error())
                        .context("a network namespace for the UMEM needs root, or the capability CAP_SYS_ADMIN"));
                }
                let chained = version::has_chains().then(|| anchor(number, frames, frame_size, Bind::CopyChains));
                match chained {
                    Some(Ok(anchored)) => Ok(anchored),
                    // A UMEM that has seen a refusal can be bound no more.
                    _ => anchor(number, frames, frame_size, Bind::Copy),
                }
            })
            .join()
    });
    made.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn anchor(number: u8, frames: u32, frame_size: u32, bind: Bind) -> anyhow::Result<Anchored> {
    let (mut memory, pool) = Memory::new(number, frames, frame_size)?;
    let anchor = Port::open(&memory, "lo", 0, bind, Quota { fill: 0, send: 0 }).context("anchoring the UMEM")?;
    if bind == Bind::CopyChains {
        memory.take_chains();
    }
    Ok(Anchored { memory, pool, anchor })
}
